"""Issue 2: each planted fault is caught by name, by at least ten times the gate."""

import numpy as np
import pytest

from parity.faults import FAULTS, MARGIN, Bench, write_tiny_checkpoint
from parity.planting import weights


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(write_tiny_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint"))


@pytest.fixture(scope="module")
def outcomes(bench):
    return {
        (fault.name, dtype): bench.outcome(fault, dtype)
        for fault in FAULTS
        for dtype in ("float64", "float32")
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_caught_by_name_in_the_float64_lane(outcomes, fault):
    outcome = outcomes[fault.name, "float64"]
    assert outcome.tap == fault.tap
    assert outcome.ratio >= MARGIN


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_never_mislocated_in_the_float32_lane(outcomes, fault):
    outcome = outcomes[fault.name, "float32"]
    assert outcome.tap in (fault.tap, ""), outcome


def test_a_fault_that_the_logits_would_let_through_at_a_loose_gate(outcomes):
    outcome = outcomes["LayerNorm epsilon 1e-6", "float32"]
    assert outcome.logits_error_over_scale < 1e-4
    assert outcome.tap


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_fault_stays_behind(bench, outcomes, dtype):
    assert bench.lane(dtype).equal


def test_faults_are_of_different_names():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


def test_one_variable_is_meant():
    class Variable:
        path = "a/block.0.0/kernel"

    class Model:
        variables = [Variable(), Variable()]  # noqa: RUF012

    with pytest.raises(LookupError, match="2 variables end in"):
        weights(Model(), "kernel")
    with pytest.raises(LookupError, match="0 variables end in"):
        weights(Model(), "bias")


def test_planting_changes_the_weights_only_inside_the_block(bench):
    model = bench.models["float64"]
    fault = FAULTS[0]
    before = [variable.numpy() for variable in model.variables]
    with fault.plant(model):
        changed = sum(not np.array_equal(v.numpy(), b) for v, b in zip(model.variables, before, strict=True))
    assert changed == 1
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
