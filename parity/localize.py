"""Where a difference begins: the first failing tap in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Sequence

from parity.compare import Lane, Row


def first_failing_tap(lane: Lane) -> Row | None:
    """The first failing tap in forward order, or None if all taps pass."""
    return next((row for row in lane.of_level("taps") if not row.passed), None)


def localize(lanes: Sequence[Lane]) -> str:
    """Say in a sentence where the difference begins.

    The float64 lane is asked first: there a tap fails only if its formula or its weights are
    wrong, while a float32 tap can also fail by rounding.

    Args:
        lanes: the lanes of one run.
    """
    asked = sorted(
        (lane for lane in lanes if lane.of_level("taps")), key=lambda lane: lane.dtype != "float64"
    )
    if not asked:
        return "No taps were compared, so a difference cannot be localised."
    for lane in asked:
        row = first_failing_tap(lane)
        if row is None:
            continue
        taps = lane.of_level("taps")
        before = taps.index(row)
        start = f"First failing tap ({lane.dtype}): {row.name}"
        if row.errors is None or row.gate is None:
            return f"{start}: {row.note}."
        return (
            f"{start}, off by {row.errors.max_abs:.3g} at {list(row.errors.worst_index)}, "
            f"{row.ratio:.3g} × its gate; the {before} taps before it pass."
        )
    failing = [f"{row.name} ({lane.dtype})" for lane in lanes for row in lane.failures]
    if not failing:
        return "Every tap passes."
    return f"Every tap passes; what fails is {', '.join(dict.fromkeys(failing))}."
