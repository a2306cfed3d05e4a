import copy
import io
import json

import numpy as np
import pytest
from rich.console import Console

from parity.compare import LANE_LEVELS, compare_lane
from parity.outputs import json_text, write_text
from parity.pipeline import Run
from parity.report import print_run, report_dict, schema
from parity.terminal import PIPED_WIDTH
from tests.parity.schema_check import violations
from tests.parity.synthetic import TAPS, floors, result


def made_run(spoil=None):
    lanes, manifests = [], []
    for dtype in ("float32", "float64"):
        reference, candidate = result(dtype), result(dtype, "tf_segformer")
        if spoil:
            spoil(candidate)
        manifests += [reference.manifest, candidate.manifest]
        lanes.append(
            compare_lane(
                reference,
                candidate,
                levels=LANE_LEVELS[dtype],
                floors=floors(),
                exact=result("float64"),
            )
        )
    return Run(tuple(lanes), tuple(manifests), floors=floors())


def as_report(run, exit_code=0, error=None):
    return report_dict(
        model="m", image="i.png", run=run, exit_code=exit_code, error=error, created="2026-11-23"
    )


def printed(run, **options):
    text = io.StringIO()
    print_run(run, Console(file=text, width=PIPED_WIDTH), **options)
    return text.getvalue()


def shift(candidate):
    candidate.tap(TAPS[6])[0, 1, 2, 3] += 0.5


def with_nan(candidate):
    candidate.arrays["logits"][:] = np.nan


def without_tap(candidate):
    del candidate.arrays[f"taps/{TAPS[6]}"]


@pytest.mark.parametrize("spoil", [None, shift, with_nan, without_tap])
def test_reports_fit_the_schema(spoil, tmp_path):
    run = made_run(spoil)
    path = tmp_path / "new" / "report.json"
    write_text(path, json_text(as_report(run, exit_code=0 if run.equal else 1)))
    report = json.loads(path.read_text())
    assert violations(report, schema()) == []
    assert report["verdict"] == ("equal" if spoil is None else "different")


def test_the_report_of_a_breakdown_fits_the_schema():
    report = as_report(None, exit_code=3, error="no model")
    assert violations(report, schema()) == []
    assert (report["verdict"], report["error"]) == ("error", "no model")


def test_the_schema_check_can_fail():
    report = as_report(made_run())
    for change in (
        lambda r: r.pop("verdict"),
        lambda r: r.update(surprise=1),
        lambda r: r.update(version=1),
        lambda r: r["lanes"][0]["rows"][0].update(passed="yes"),
        lambda r: r["lanes"][0]["rows"][1]["gate"].pop("limit"),
        lambda r: r["lanes"][0].update(rows=[]),
    ):
        broken = copy.deepcopy(report)
        change(broken)
        assert violations(broken, schema())


def test_the_report_has_every_number():
    report = as_report(made_run(shift), exit_code=1)
    (row,) = [r for r in report["lanes"][0]["rows"] if not r["passed"]]
    assert row["name"] == TAPS[6]
    assert row["errors"]["worst_index"] == [0, 1, 2, 3]
    assert row["errors"]["absolute"]["max"] == pytest.approx(0.5)
    assert row["gate"]["limit"] < row["errors"]["absolute"]["max"]
    assert row["gate"]["required_multiple"] > row["gate"]["multiple"]
    assert row["error_over_gate"] > 10
    assert TAPS[6] in report["first_difference"]


def test_the_table_of_an_equal_run():
    text = printed(made_run())
    assert "EQUAL" in text
    assert "DIFFERENT" not in text
    for word in ("max error", "mean", "scale", "required", "gate", "agreement", "logits"):
        assert word in text
    assert "all of them pass" in text


def test_the_table_of_a_different_run_names_the_place_and_both_values():
    text = printed(made_run(shift))
    assert "DIFFERENT" in text
    assert f"First failing tap (float64): {TAPS[6]}" in text
    assert "worst at [0, 1, 2, 3]: reference" in text


def test_all_taps_are_shown_when_asked_for():
    text = printed(made_run(), all_taps=True)
    assert all(name in text for name in TAPS)
    assert "more taps" not in text


def test_failing_taps_that_are_not_shown_are_counted():
    def spoil(candidate):
        for name in TAPS:
            candidate.tap(name)[:] += 0.5

    assert f"{len(TAPS) - 6} of them fail too" in printed(made_run(spoil))
