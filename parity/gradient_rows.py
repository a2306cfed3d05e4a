"""The level "gradients": loss and every parameter's gradient of one training step.

A parameter's error is its largest, and its scale the largest gradient in float64; of the parameters whose
gradient is zero by design, which have none but rounding, the scale is that of the weight beside them.

A float32 gradient is a sum over positions whose terms cancel, in some parameters nearly all of them: there
the reference itself is off by 1e-4 of the scale. So the candidate is held against the float64 gradients: by
1e-4 of the scale, or, where the reference itself is further off than an eighth of that, by eight times the
reference's own distance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.gradients import zero_by_design
from parity.results import GRADIENT_PREFIX, Result
from parity.row import Row
from parity.statistics import ShapesDifferError, array_errors, largest_error
from parity.thresholds import Thresholds
from parity.tolerances import GRADIENTS_NOISE_MULTIPLE, Gate, ToleranceError, scale_gate

LEVEL = "gradients"
# Of the loss. That of one class transformers computes in float32 whatever the model.
LOSS_MULTIPLE = {"float32": 1e-6, "float64": 1e-12}


def gradient_rows(
    reference: Result, candidate: Result, exact: Result | None, thresholds: Thresholds
) -> Iterator[Row]:
    """Compare loss and gradients, one row a parameter in the reference's order.

    Args:
        reference: what counts as true.
        candidate: what is judged.
        exact: the reference in float64, with a training step; needed in float32.
        thresholds: the gates.

    Raises:
        ToleranceError: float32 gradients without the float64 reference's.
    """
    dtype = reference.manifest.dtype
    if dtype == "float32" and exact is None:
        raise ToleranceError(
            "float32 gradients are judged by the float64 reference's: none were given (--noise-from)"
        )
    yield _loss_row(reference, candidate)
    required = reference.manifest.expected_gradients
    if not required:
        yield Row(LEVEL, LEVEL, False, f"no gradient was compared: {reference.manifest.runner} made no step")
    sides = {"reference": reference, "candidate": candidate}
    if dtype == "float32" and exact is not None:
        sides["float64 reference"] = exact
    have = {side: set(result.gradient_names) for side, result in sides.items()}
    common = [name for name in required if all(name in names for names in have.values())]
    multiple = thresholds.gradients_float32 if dtype == "float32" else thresholds.gradients_float64
    truth = exact if dtype == "float32" and exact is not None else reference
    scales, noises = _scales_and_noises(reference, truth, common)
    for name in required:
        lacking = [side for side, names in have.items() if name not in names]
        if lacking:
            yield Row(LEVEL, name, False, f"missing gradient: not in the {' nor the '.join(lacking)}")
            continue
        gate = scale_gate(multiple, scales[name])
        noise = Gate(GRADIENTS_NOISE_MULTIPLE, "noise", noises[name])
        yield _row(name, truth, candidate, dtype, max(gate, noise, key=lambda each: each.limit))
    for side, names in have.items():
        for name in sorted(names - set(required)):
            yield Row(LEVEL, name, False, f"extra gradient: only the {side} has it, nobody asked for it")


def _row(name: str, exact: Result, candidate: Result, dtype: str, gate: Gate) -> Row:
    truth, found = exact.arrays[GRADIENT_PREFIX + name], candidate.arrays[GRADIENT_PREFIX + name]
    if found.dtype != dtype:
        return Row(LEVEL, name, False, f"dtypes differ: the lane is {dtype}, the candidate {found.dtype}")
    try:
        errors = array_errors(truth, found)
    except (ShapesDifferError, ValueError) as error:
        return Row(LEVEL, name, False, str(error))
    return Row.judged(LEVEL, name, errors, gate)


def _scales_and_noises(
    reference: Result, exact: Result, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, float]]:
    """The scale of every parameter, and the reference's distance from the exact gradients.

    Raises:
        ToleranceError: a gradient of the reference is not finite, or of another shape.
    """
    largest, noises = {}, {}
    for name in names:
        truth = exact.arrays[GRADIENT_PREFIX + name]
        try:
            noise = largest_error(truth, reference.arrays[GRADIENT_PREFIX + name])
        except ValueError as error:
            raise ToleranceError(f"no gate for the gradient {name}: {error}") from error
        if noise is None:
            raise ToleranceError(f"no gate for the gradient {name}: the reference's is not finite")
        largest[name], noises[name] = float(np.abs(truth).max()), noise
    zero = zero_by_design(names)
    scales = {
        name: largest.get(name.removesuffix("bias") + "weight", value) if name in zero else value
        for name, value in largest.items()
    }
    return scales, noises


def _loss_row(reference: Result, candidate: Result) -> Row:
    sides = [result for result in (reference, candidate) if "loss" not in result.arrays]
    if sides:
        lacking = " and ".join(each.manifest.runner for each in sides)
        return Row(LEVEL, "loss", False, f"loss missing from {lacking}")
    binary = "logits" in reference.arrays and reference.arrays["logits"].shape[-1] == 1
    multiple = LOSS_MULTIPLE["float32" if binary else reference.manifest.dtype]
    try:
        errors = array_errors(reference.arrays["loss"], candidate.arrays["loss"])
    except (ShapesDifferError, ValueError) as error:
        return Row(LEVEL, "loss", False, str(error))
    return Row.judged(LEVEL, "loss", errors, scale_gate(multiple, errors.scale))
