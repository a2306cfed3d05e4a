"""The comparator: two results of one lane in, a verdict with every number behind it out.

A comparison lists the levels that it requires. What is required and is not there is a failure, as
are a value that is not finite, a tap that only one side has, and a comparison of nothing: a green
verdict always means that numbers were compared and that all of them passed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from parity.gradient_rows import gradient_rows
from parity.label_statistics import label_errors
from parity.results import Result, require_same_input
from parity.row import Row
from parity.statistics import ShapesDifferError, array_errors, largest_error
from parity.taps import match_taps
from parity.threads import in_threads
from parity.thresholds import Thresholds
from parity.tolerances import (
    LOGITS_FLOAT32_MULTIPLE,
    LOGITS_NOISE_MULTIPLE,
    NoiseFloors,
    ToleranceError,
    noise_gate,
    scale_gate,
)

Level = Literal[
    "decoded", "pixels", "taps", "logits", "labels/logit_size", "labels/original_size", "gradients"
]
LEVELS: tuple[Level, ...] = (
    "decoded",
    "pixels",
    "taps",
    "logits",
    "labels/logit_size",
    "labels/original_size",
    "gradients",
)
# Decoding, preprocessing and the label map at the photograph's size are integer and float32 code on both
# sides: their place is the float32 lane.
LANE_LEVELS: dict[str, tuple[Level, ...]] = {
    "float32": LEVELS,
    "float64": ("taps", "logits", "labels/logit_size", "gradients"),
}
# A bilinear sample in float32 is three interpolations of two roundings each.
RESIZE_ROUNDINGS = 6 * 2.0**-24


@dataclass(frozen=True)
class Lane:
    """The comparison of two results of one dtype.

    Attributes:
        dtype: ``float32`` or ``float64``; ``any`` for named arrays.
        reference: name of the reference's runner.
        candidate: name of the candidate's runner.
        levels: what was required.
        rows: what was compared, taps in forward order.
        left_out: taps of the reference that were not required, because the candidate's runner declares
            that it has none of them.
    """

    dtype: str
    reference: str
    candidate: str
    levels: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[Row, ...]:
        """The rows that failed, in the order of the forward pass."""
        return tuple(row for row in self.rows if not row.passed)

    @property
    def equal(self) -> bool:
        """Whether something was compared and all of it passed."""
        return bool(self.rows) and not self.failures

    def nearest(self, level: str, count: int) -> tuple[Row, ...]:
        """The rows of one level that are nearest to their gates, or furthest beyond them."""
        return tuple(sorted(self.of_level(level), key=lambda row: row.ratio, reverse=True)[:count])

    def of_level(self, level: str) -> tuple[Row, ...]:
        """The rows of one level."""
        return tuple(row for row in self.rows if row.level == level)


def compare_lane(
    reference: Result,
    candidate: Result,
    *,
    levels: Sequence[str],
    floors: NoiseFloors | None = None,
    required_taps: Sequence[str] | None = None,
    exact: Result | None = None,
    thresholds: Thresholds | None = None,
) -> Lane:
    """Compare two results of one dtype, level by level.

    Args:
        reference: what counts as true.
        candidate: what is judged.
        levels: levels that must be there on both sides; an empty list is a failure.
        floors: noise floors of the taps, needed in float32 where taps are compared.
        required_taps: names that must be there, in forward order; by default what the reference's
            config says. Other taps of the reference are left out, and listed; the candidate may have
            no others.
        exact: the reference's result in float64, needed in float32 where gradients are compared.
        thresholds: a project's own gates; the harness's by default.

    Returns:
        The lane with one row per tensor and label map.

    Raises:
        ResultError: the results belong to different inputs, weights or dtypes.
        ToleranceError: float32 taps without noise floors, or float32 gradients without exact ones.
        ValueError: an unknown level.
    """
    unknown = [level for level in levels if level not in LEVELS]
    if unknown:
        raise ValueError(f"unknown levels {unknown}; known are {list(LEVELS)}")
    require_same_input(reference.manifest, candidate.manifest)
    dtype = reference.manifest.dtype
    gates = thresholds or Thresholds()
    rows: list[Row] = []
    left_out: tuple[str, ...] = ()
    if "decoded" in levels:
        rows.append(_array_row("decoded", "decoded", reference, candidate, 0.0))
    if "pixels" in levels:
        rows.append(_array_row("pixels", "pixels", reference, candidate, gates.pixels))
    if "taps" in levels:
        expected = reference.manifest.expected_taps
        names = expected if required_taps is None else required_taps
        left_out = tuple(name for name in expected if name not in names)
        rows += _tap_rows(reference, candidate, names, left_out, floors, gates)
    multiple = gates.logits_float32 if dtype == "float32" else gates.float64
    logits = _array_row("logits", "logits", reference, candidate, multiple)
    if dtype == "float32" and floors is not None:
        logits = _or_own_noise(logits, reference, floors)
    if "logits" in levels:
        rows.append(logits)
    for level in ("labels/logit_size", "labels/original_size"):
        if level in levels:
            rows.append(_label_row(level, reference, candidate, logits))
    if "gradients" in levels:
        rows += gradient_rows(reference, candidate, exact, gates)
    if not rows:
        rows.append(Row("none", "nothing", False, "nothing was compared: no level was required"))
    return Lane(
        dtype, reference.manifest.runner, candidate.manifest.runner, tuple(levels), tuple(rows), left_out
    )


def measure_noise(float32: Result, float64: Result, *, source: str = "this run") -> NoiseFloors:
    """The noise floor of every tap: the reference in float32 against itself in float64.

    Args:
        float32: the reference's result in float32.
        float64: the reference's result in float64, of the same pixels and weights.
        source: said in reports.

    Raises:
        ToleranceError: the two have different taps, none, or values that are not finite.
    """
    names = float64.tap_names
    if not names or set(names) != set(float32.tap_names):
        raise ToleranceError(
            f"no noise floor: the reference gave {len(float32.tap_names)} taps in float32 and "
            f"{len(names)} in float64; both need the same, at least one"
        )
    measured = in_threads(lambda name: largest_error(float64.tap(name), float32.tap(name)), names)
    taps: dict[str, float] = {}
    for name, error in zip(names, measured, strict=True):
        if error is None:
            raise ToleranceError(f"no noise floor: the reference's tap {name} is not finite")
        taps[name] = error
    return NoiseFloors(taps, source, float32.manifest.input_sha256, float32.manifest.checkpoint_sha256)


def tie_margin(error: float, scale: float, *, resized: bool) -> float:
    """How close two classes of the reference must be for either to be right.

    Args:
        error: largest error of a logit.
        scale: largest absolute logit of the reference.
        resized: whether the labels are of resized logits, which both sides round on their own.
    """
    return 2.0 * (error + RESIZE_ROUNDINGS * scale if resized else error)


def _tap_rows(
    reference: Result,
    candidate: Result,
    required: Sequence[str],
    left_out: Sequence[str],
    floors: NoiseFloors | None,
    gates: Thresholds,
) -> Iterable[Row]:
    if reference.manifest.dtype == "float32" and floors is None:
        raise ToleranceError("float32 taps are judged by measured noise floors: none were given")
    asked = [name for name in reference.tap_names if name not in left_out]
    sets = match_taps(required, asked, candidate.tap_names)
    if not sets.common:
        yield Row("taps", "taps", False, "no tap was compared: the two sides have none in common")
    judged = in_threads(
        lambda name: judge("taps", name, reference.tap(name), candidate.tap(name), gates, floors), sets.common
    )
    found = dict(zip(sets.common, judged, strict=True))
    missing: dict[str, list[str]] = {}
    for side, name in sets.missing:
        missing.setdefault(name, []).append(side)
    for name in required:
        if name in missing:
            yield Row("taps", name, False, f"missing tap: not in the {' nor the '.join(missing[name])}")
            continue
        yield found[name]
    for side, name in sets.extra:
        yield Row("taps", name, False, f"extra tap: only the {side} has it, nobody asked for it")


def _array_row(level: str, name: str, reference: Result, candidate: Result, multiple: float) -> Row:
    lacking = [result.manifest.runner for result in (reference, candidate) if name not in result.arrays]
    if lacking:
        return Row(level, name, False, f"{name} missing from {' and '.join(lacking)}")
    return judge(level, name, reference.arrays[name], candidate.arrays[name], multiple)


def _or_own_noise(logits: Row, reference: Result, floors: NoiseFloors) -> Row:
    """Hold float32 logits against the reference's own noise where that is beyond what is promised."""
    last = reference.manifest.expected_taps[-1:]  # the classifier, whose outputs are the logits
    noise = max((floors.taps.get(name, 0.0) for name in last), default=0.0)
    if logits.errors is None or logits.gate is None:
        return logits
    gate = noise_gate(noise, logits.errors.scale, LOGITS_NOISE_MULTIPLE)
    return logits if gate.limit <= logits.gate.limit else Row.judged("logits", "logits", logits.errors, gate)


def judge(
    level: str,
    name: str,
    reference: np.ndarray,
    candidate: np.ndarray,
    gates: float | Thresholds,
    floors: NoiseFloors | None = None,
) -> Row:
    """Measure one pair of arrays and hold it against its gate.

    Args:
        level: of the row.
        name: of the row.
        reference: what counts as true.
        candidate: what is judged.
        gates: a multiple of the scale; or the thresholds, for a tap.
        floors: noise floors of the taps, in float32.
    """
    if reference.dtype != candidate.dtype:
        note = f"dtypes differ: reference {reference.dtype}, candidate {candidate.dtype}"
        return Row(level, name, False, note)
    try:
        errors = array_errors(reference, candidate)
        if isinstance(gates, float):
            gate = scale_gate(gates, errors.scale)
        elif reference.dtype == np.float32 and floors is not None:
            gate = floors.gate(name, errors.scale, gates.taps_float32)
        else:
            gate = scale_gate(gates.float64, errors.scale)
    except (ShapesDifferError, ToleranceError, ValueError) as error:
        return Row(level, name, False, str(error))
    return Row.judged(level, name, errors, gate)


def _label_row(level: str, reference: Result, candidate: Result, logits: Row) -> Row:
    """Compare label maps; ties are judged by the measured error of the logits."""
    lacking = [result.manifest.runner for result in (reference, candidate) if level not in result.arrays]
    if "logits" not in reference.arrays:
        lacking.append(f"{reference.manifest.runner} (logits, to tell ties)")
    if lacking:
        return Row(level, level, False, f"{level} missing from {' and '.join(lacking)}")
    values = reference.arrays["logits"]
    scale = float(np.abs(values).max(initial=0.0))
    if logits.errors is not None and logits.errors.finite:
        error, source = logits.errors.max_abs, ""
    elif "logits" not in candidate.arrays and np.isfinite(scale):
        # A served model may give label maps only; its logits then count as off by their gate.
        error = LOGITS_FLOAT32_MULTIPLE * scale
        source = "no logits from the candidate: ties by their gate"
    else:
        return Row(level, level, False, "no measured error of the logits to tell ties by")
    margin = tie_margin(error, scale, resized=level == "labels/original_size")
    try:
        labels = label_errors(reference.arrays[level], candidate.arrays[level], values, margin)
    except (ShapesDifferError, ValueError) as problem:
        return Row(level, level, False, str(problem))
    if labels.unexplained:
        source = f"{labels.unexplained} pixels disagree and are no ties"
    return Row(level, level, labels.unexplained == 0, source, labels=labels)
