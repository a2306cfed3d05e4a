"""Every fault that a fuzz run is there to find is planted in a stand-in for the models, and found."""

import functools
import json
from pathlib import Path

import pytest
from rich.console import Console

from tests.fuzz import campaign, report
from tests.fuzz.campaign import FUZZED_IN_A_BATCH, Campaign
from tests.fuzz.inputs import Input, mutated
from tests.fuzz.served_checks import BATCH
from tests.fuzz.session import SessionDiedError, SessionProcess

CHECKER = Path(__file__).with_name("faulty_session_check.py")
MAX_PIXELS = 1 << 20


def session(model, runs=1, patience=20.0, **options):
    return SessionProcess(Path(model), runs, patience=patience, checker=CHECKER, **options)


@pytest.fixture(autouse=True)
def few_batches(monkeypatch):
    """Memory is judged after few batches, and no bomb is waited for."""
    monkeypatch.setattr(campaign, "WARM", 1)
    monkeypatch.setattr(campaign, "BOMBED", 2)


def run(pixels_fault="none", export_fault="none", count=200, **options):
    inputs = (mutated(0, number) for number in range(count))
    make = functools.partial(session, **options)
    return Campaign(Path(pixels_fault), Path(export_fault), MAX_PIXELS, session=make).run(inputs)


def test_without_a_fault_nothing_is_found(tmp_path):
    found = run()
    assert found.failures == []
    assert found.differences == []
    assert found.passed
    assert sum(found.inputs.values()) == 200
    assert found.batches == -(-200 // FUZZED_IN_A_BATCH)
    assert found.good_compared == found.batches * BATCH - 200
    report.show(found, Console(width=120))
    report.save(found, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["failures"] == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("leaks between items", "got other ['mask_png_bytes']"),
        ("gives a refused file a mask", "refused, but with mask_png_bytes"),
        ("accepts everything", "where the decoders alone say (False, (0, 0))"),
        ("fails the batch", "the batch failed"),
        ("crashes", "It crashed (exit code 3"),
    ],
)
def test_a_fault_of_the_export_is_found(fault, message, tmp_path):
    found = run(export_fault=fault, count=120)
    assert not found.passed
    assert any(message in failure for failure in found.failures), found.failures
    assert found.suspects
    report.save(found, tmp_path)
    assert len(list(tmp_path.glob("failed-*"))) == len(found.suspects)


def test_a_hang_is_found():
    found = run(export_fault="hangs", count=10, patience=2.0)
    assert any("It hung: no answer for 2 s" in failure for failure in found.failures)


def test_growing_memory_is_found(monkeypatch):
    monkeypatch.setattr(campaign, "GROWTH_LIMIT", 50 << 20)
    found = run(export_fault="grows", count=400)
    assert any("memory rose by" in failure for failure in found.failures)


def test_a_process_beyond_its_memory_is_stopped():
    with pytest.raises(SessionDiedError, match="too large"), session("none", memory_limit=1) as process:
        process.run("pixels", [b""])


@pytest.mark.parametrize(("fault", "what"), [("other pixels", "other pixels"), ("refuses", "only Pillow")])
def test_a_fault_of_the_decoders_is_found(fault, what):
    found = run(pixels_fault=fault, count=60)
    assert found.unexplained
    assert all(what in one.what for one in found.unexplained)


def test_a_file_that_only_the_graph_reads_is_found(monkeypatch):
    """Pillow refuses it, since it has too many pixels for this run."""
    data = mutated(0, 0).data
    monkeypatch.setattr(campaign, "open_with_pillow", lambda file, _: campaign_reference(file))
    good = Input("good", "PNG", "x", "intact", data)
    found = Campaign(Path("none"), Path("none"), MAX_PIXELS, session=session).run([good] * 120)
    assert {one.what for one in found.unexplained} <= {"only the graph reads it"}


def campaign_reference(file):
    from tests.fuzz.pillow_reference import Reference

    return Reference(None, "refused", "PNG")
