"""A short fuzz run of the real models; `make fuzz` is the long one."""

from collections import defaultdict

import pytest
from rich.console import Console

from tests.fuzz.campaign import Campaign
from tests.fuzz.inputs import mutated, stream
from tests.fuzz.models import MAX_PIXELS, write_models
from tests.fuzz.report import save, show

COUNT = 700
# Where images keep their shape: fewer and smaller ones, since each goes through the network alone.
SHAPES = {
    "keep-ratio": {"short_side": 64, "long_side": 160},
    "sliding-window": {"short_side": 64, "long_side": 160, "window": (64, 64), "stride": (48, 48)},
}
FEW = 104  # no bombs: they are decoded as in any export


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from serving import export

    with pytest.MonkeyPatch.context() as patch:
        # What an export checks in a process of its own is the business of serving's tests.
        patch.setattr(export, "expected_answers", lambda *arguments: {})
        patch.setattr(export, "check_in_fresh_process", lambda *arguments: defaultdict(dict))
        return write_models(tmp_path_factory.mktemp("fuzz"))


def test_no_file_crashes_or_hangs_a_session_or_is_read_otherwise_than_by_pillow(models, tmp_path):
    pixels_model, export = models
    report = Campaign(pixels_model, export, MAX_PIXELS).run(stream(1, COUNT))
    show(report, Console(width=150))
    save(report, tmp_path)
    assert sum(report.inputs.values()) == COUNT
    assert report.failures == []
    assert [found.group for found in report.unexplained] == [], f"examples: {tmp_path}"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["keep-ratio", "sliding-window"])
def test_the_same_where_images_keep_their_shape(policy, tmp_path, monkeypatch):
    from tf_segformer.resizing import Resizing

    monkeypatch.setattr("tests.fuzz.campaign.WARM", 1)
    monkeypatch.setattr("tests.fuzz.campaign.BOMBED", 2)
    resizing = Resizing(policy, **SHAPES[policy])
    models = write_models(tmp_path, 1 << 16, resizing=resizing)
    campaign = Campaign(*models, 1 << 16, signatures=["serving_default"], may_be_unfit=True)
    report = campaign.run(mutated(2, number) for number in range(FEW))
    show(report, Console(width=150))
    assert sum(report.inputs.values()) == FEW
    assert report.failures == []
    assert [found.group for found in report.unexplained] == []
