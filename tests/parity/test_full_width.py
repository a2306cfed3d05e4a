"""The README's table, asserted: every published variant at full width, both lanes, against PyTorch."""

import pytest

from parity.images import write_test_image
from parity.table import DEFAULT_CASES, parse_cases, run_cases

GATES = {"float32": 2e-6, "float64": 1e-12}  # of the largest absolute reference logit

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", parse_cases(DEFAULT_CASES), ids=lambda case: f"{case.variant}@{case.size}")
def test_a_variant_equals_pytorch(case, tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # as users run it, in processes of their own
    picture = write_test_image(tmp_path / "picture.png")
    ((_, run),) = run_cases([case], picture, tmp_path, say=print)
    assert run.equal, run.first_difference
    assert {lane.dtype for lane in run.lanes} == GATES.keys()
    for lane in run.lanes:
        (logits,) = lane.of_level("logits")
        assert logits.errors.error_over_scale <= GATES[lane.dtype]
        assert len(lane.of_level("taps")) > 100
