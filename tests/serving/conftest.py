"""One small checkpoint and one export of it, shared by the tests of this folder."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.made_once import made_once

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Not square, so that a swapped height and width shows; small, so that an export takes seconds.
HEIGHT, WIDTH = 64, 96
LICENCE = "Weights for tests only."


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """The tiny segmentation checkpoint with a small input size and a licence."""
    return made_once(tmp_path_factory, "serving-checkpoint", write_checkpoint)


def write_checkpoint(folder):
    shutil.copyfile(FIXTURES / "segmentation_tiny" / "config.json", folder / "config.json")
    weights = load_file(FIXTURES / "segmentation_tiny" / "model.safetensors")
    random = np.random.default_rng(0)
    for name, weight in weights.items():  # as initialised, one class would win everywhere
        if name.startswith("decode_head") and weight.dtype == np.float32:
            weights[name] = weight + random.normal(0, 0.3, weight.shape).astype(np.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    processing = {"size": {"height": HEIGHT, "width": WIDTH}, "do_reduce_labels": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processing))
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: for-tests\n---\n# Tiny\n")
    (folder / "LICENSE").write_text(LICENCE)


@pytest.fixture(scope="session")
def version_dir(checkpoint, tmp_path_factory) -> Path:
    """The checkpoint, exported by the public function; 1 is the version's number."""
    from serving.export import export_saved_model

    models = made_once(
        tmp_path_factory,
        "serving-models",
        lambda folder: export_saved_model(checkpoint, folder / "tiny", batch_sizes=(1, 3)),
    )
    return models / "tiny" / "1"


@pytest.fixture(scope="session")
def served(version_dir):
    """The export in a TF1 Session, as a server runs it."""
    from serving.session_check import ServedModel

    with ServedModel(version_dir) as model:
        yield model


@pytest.fixture
def open_session(served, monkeypatch):
    """Whoever opens the export gets the session that is open: each would optimise every graph again."""
    from serving import session_check

    def opened(version_dir, threads=0):
        assert Path(version_dir).resolve() == served.path.resolve()
        return nullcontext(served)

    monkeypatch.setattr(session_check, "ServedModel", opened)


@pytest.fixture(scope="session")
def keras_model(checkpoint):
    """The same checkpoint as a Keras model."""
    from tf_segformer import TFSegformerForSemanticSegmentation

    return TFSegformerForSemanticSegmentation.from_pretrained(checkpoint, data_format="channels_last")
