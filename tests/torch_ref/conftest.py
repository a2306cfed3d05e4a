from pathlib import Path

import pytest

from torch_ref import Reference, write_seeded_checkpoint

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return FIXTURES


@pytest.fixture(scope="session")
def photo() -> Path:
    return FIXTURES / "photos" / "china.jpg"


@pytest.fixture(scope="session")
def seeded_b0(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seeded_checkpoint(tmp_path_factory.mktemp("seeded") / "b0", "b0")


@pytest.fixture(scope="session")
def reference_b0(seeded_b0: Path) -> Reference:
    return Reference.from_pretrained(seeded_b0)
