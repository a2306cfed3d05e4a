"""A short fuzz run of the real models; `make fuzz` is the long one."""

import pytest
from rich.console import Console

from tests.fuzz.campaign import Campaign
from tests.fuzz.inputs import stream
from tests.fuzz.models import MAX_PIXELS, write_models
from tests.fuzz.report import save, show

COUNT = 1000


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_models(tmp_path_factory.mktemp("fuzz"))


def test_no_file_crashes_or_hangs_a_session_or_is_read_otherwise_than_by_pillow(models, tmp_path):
    pixels_model, export = models
    report = Campaign(pixels_model, export, MAX_PIXELS).run(stream(1, COUNT))
    show(report, Console(width=150))
    save(report, tmp_path)
    assert sum(report.inputs.values()) == COUNT
    assert report.failures == []
    assert [found.group for found in report.unexplained] == [], f"examples: {tmp_path}"
