"""Each planted fault is caught by name, by at least ten times the gate, and the replay finds its layer."""

import numpy as np
import pytest

from parity.fault_list import FAULTS
from parity.faults import MARGIN, Bench, write_tiny_checkpoint
from parity.localize import explain_replay
from parity.planting import weights

NETWORK = [fault for fault in FAULTS if fault.in_network]


def name_of(fault):
    return fault.name


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


@pytest.mark.parametrize("fault", FAULTS, ids=name_of)
def test_a_fault_is_caught_by_name_in_one_lane_and_mislocated_in_none(outcomes, fault):
    seen = [outcomes[fault.name, dtype] for dtype in ("float64", "float32")]
    assert any(outcome.caught for outcome in seen), seen
    assert not any(outcome.misleads for outcome in seen), seen


@pytest.mark.parametrize("fault", NETWORK, ids=name_of)
def test_a_fault_in_the_network_is_caught_by_the_float64_lane(outcomes, fault):
    outcome = outcomes[fault.name, "float64"]
    assert outcome.place == fault.place
    assert outcome.ratio >= MARGIN


@pytest.mark.parametrize("fault", NETWORK, ids=name_of)
def test_the_replay_names_the_layer_and_calls_the_fault_local(bench, fault):
    with fault.plant(bench.models["float64"]):
        lane, replayed = bench.lane("float64"), bench.replay("float64")
    assert replayed.failures[0].name == fault.place
    explained = explain_replay(lane, replayed)
    assert explained.startswith(f"Local fault: on the reference's own input {fault.place} is still off")


def test_one_wrong_weight_leaves_every_other_layer_right_by_itself(bench):
    fault = next(fault for fault in NETWORK if fault.name == "a bias forgotten")
    with fault.plant(bench.models["float64"]):
        lane, replayed = bench.lane("float64"), bench.replay("float64")
    assert [row.name for row in replayed.failures] == [fault.place]
    assert len(lane.failures) > 10  # in the whole network it spreads
    assert "Every other layer is right by itself." in explain_replay(lane, replayed)


def test_a_fault_that_the_logits_would_let_through_at_a_loose_gate(outcomes):
    outcome = outcomes["LayerNorm epsilon 1e-6", "float32"]
    assert outcome.logits_error_over_scale < 1e-4
    assert outcome.place


def test_a_flipped_bit_needs_the_float64_lane(outcomes):
    name = "the lowest bit of one weight flipped"
    assert outcomes[name, "float64"].caught
    assert not outcomes[name, "float32"].place


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_fault_stays_behind(bench, outcomes, dtype):
    assert bench.lane(dtype).equal
    assert bench.replay(dtype).equal


def test_there_are_enough_faults_and_each_has_a_name():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 25


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
    fault = next(fault for fault in NETWORK if fault.name == "square dense kernel transposed")
    before = [variable.numpy() for variable in model.variables]
    with fault.plant(model):
        changed = sum(not np.array_equal(v.numpy(), b) for v, b in zip(model.variables, before, strict=True))
    assert changed == 1
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
