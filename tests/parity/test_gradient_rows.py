"""The level "gradients": its gates, and what must be there."""

import numpy as np
import pytest

from parity.compare import compare_lane
from parity.results import GRADIENT_PREFIX
from parity.thresholds import Thresholds
from parity.tolerances import ToleranceError
from tests.parity.synthetic import PARAMETERS, result

WEIGHT, _, KEY_BIAS, KEY_WEIGHT = PARAMETERS


def compare(reference, candidate, exact=None, **options):
    exact = exact or result("float64")
    return compare_lane(reference, candidate, levels=("gradients",), exact=exact, **options)


def spoiled(dtype, change, name=WEIGHT):
    made = result(dtype, "tf_segformer")
    made.arrays[GRADIENT_PREFIX + name] = change(made.arrays[GRADIENT_PREFIX + name])
    return made


def scale_of(name):
    return np.abs(result("float64").arrays[GRADIENT_PREFIX + name]).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_steps_are_equal(dtype):
    lane = compare(result(dtype), result(dtype, "tf_segformer"))
    assert lane.equal
    assert [row.name for row in lane.rows] == ["loss", *PARAMETERS]


@pytest.mark.parametrize(
    ("dtype", "change"),
    [
        ("float64", lambda x: x * (1 + 1e-8)),
        ("float32", lambda x: x * np.float32(1.01)),
        *(
            (dtype, change)
            for dtype in ("float32", "float64")
            for change in (
                lambda x: -x,
                lambda x: np.zeros_like(x),
                lambda x: x[::-1],
                lambda x: np.where(x == x.max(), np.nan, x),
                lambda x: x.T,
            )
        ),
    ],
)
def test_a_wrong_gradient_fails_by_far(dtype, change):
    """Planted: a factor, the sign, none at all, another order, NaN, another shape."""
    (row,) = compare(result(dtype), spoiled(dtype, change)).failures
    assert row.name == WEIGHT
    assert row.ratio >= 10
    assert row.errors is None or row.errors.finite or "not finite" in row.note


@pytest.mark.parametrize(("dtype", "multiple"), [("float32", 1e-4), ("float64", 1e-10)])
@pytest.mark.parametrize(("part", "passes"), [(0.8, True), (1.3, False)])
def test_the_gate_is_a_share_of_the_parameter_s_scale(dtype, multiple, part, passes):
    def moved(gradient):
        gradient = gradient.copy()
        gradient[1, 2] += part * multiple * scale_of(WEIGHT)
        return gradient

    lane = compare(result(dtype), spoiled(dtype, moved))
    assert lane.equal is passes
    (row,) = [row for row in lane.rows if row.name == WEIGHT]
    assert row.ratio == pytest.approx(part, rel=0.05)
    assert row.gate.unit == "scale"


def test_where_the_reference_itself_is_far_off_its_distance_is_the_unit():
    reference, noise = result(), 1e-3 * scale_of(WEIGHT)
    reference.arrays[GRADIENT_PREFIX + WEIGHT][0, 0] += np.float32(noise)
    for part, passes in ((6.0, True), (9.0, False)):

        def moved(gradient, part=part):
            gradient = gradient.copy()
            gradient[1, 2] += np.float32(part * noise)
            return gradient

        lane = compare(reference, spoiled("float32", moved))
        assert lane.equal is passes
        (row,) = [row for row in lane.rows if row.name == WEIGHT]
        assert row.gate.unit == "noise"
        assert row.gate.unit_value == pytest.approx(noise, rel=1e-2)


def test_a_gradient_that_is_zero_by_design_is_held_against_its_weight():
    def other_rounding(gradient):
        return gradient * 3 + 1e-17

    assert compare(result("float64"), spoiled("float64", other_rounding, KEY_BIAS)).equal
    wrong = spoiled("float64", lambda x: x + 1e-8 * scale_of(KEY_WEIGHT), KEY_BIAS)
    (row,) = compare(result("float64"), wrong).failures
    assert row.name == KEY_BIAS


@pytest.mark.parametrize("side", ["reference", "candidate", "exact"])
def test_a_missing_gradient_fails(side):
    sides = {"reference": result(), "candidate": result(), "exact": result("float64")}
    del sides[side].arrays[GRADIENT_PREFIX + WEIGHT]
    (row,) = compare(**sides).failures
    assert row.name == WEIGHT and "missing gradient: not in the" in row.note


def test_one_that_nobody_asked_for_fails():
    candidate = result()
    candidate.arrays[GRADIENT_PREFIX + "surprise"] = np.zeros(3, np.float32)
    (row,) = compare(result(), candidate).failures
    assert "only the candidate has it" in row.note


def test_a_reference_without_a_step_fails():
    reference = result(expected_gradients=())
    for name in PARAMETERS:
        del reference.arrays[GRADIENT_PREFIX + name]
    lane = compare(reference, result())
    assert any("no gradient was compared" in row.note for row in lane.failures)


def test_the_loss_is_compared():
    candidate = result("float64", "tf_segformer")
    candidate.arrays["loss"] = candidate.arrays["loss"] * (1 + 1e-9)
    (row,) = compare(result("float64"), candidate).failures
    assert row.name == "loss" and row.ratio >= 10
    del candidate.arrays["loss"]
    (row,) = compare(result("float64"), candidate).failures
    assert "loss missing from tf_segformer" in row.note


def test_float32_needs_the_float64_gradients():
    with pytest.raises(ToleranceError, match="judged by the float64 reference"):
        compare_lane(result(), result(), levels=("gradients",))
    exact = result("float64")
    reference = result()
    reference.arrays[GRADIENT_PREFIX + WEIGHT][0, 0] = np.nan
    with pytest.raises(ToleranceError, match="reference's is not finite"):
        compare(reference, result(), exact)


def test_a_project_s_own_gates():
    candidate = spoiled("float32", lambda x: x * np.float32(1.001))
    assert not compare(result(), candidate).equal
    assert compare(result(), candidate, thresholds=Thresholds(gradients_float32=1e-2)).equal
