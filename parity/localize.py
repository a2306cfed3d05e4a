"""Where a difference begins, and whether it is made there or was carried in.

The first failing tap in the order of the forward pass says where a difference is first seen. It is a
fault of that layer if the layer, given the reference's own input, still gives something else; if it
does not, the difference came with its input, grown over layers that each stay within their gates.
"""

from __future__ import annotations

from collections.abc import Sequence

from parity.compare import Lane
from parity.row import Row

# How many layers that are wrong by themselves a sentence names.
NAMED = 5


def first_failing_tap(lane: Lane) -> Row | None:
    """The first failing tap in forward order, or None if all taps pass."""
    return next((row for row in lane.of_level("taps") if not row.passed), None)


def first_failing_lane(lanes: Sequence[Lane]) -> Lane | None:
    """The lane to look at: the first in which a tap fails, float64 before float32.

    In float64 a tap fails only if its formula or its weights are wrong, while a float32 tap can also
    fail by rounding.
    """
    asked = sorted(lanes, key=lambda lane: lane.dtype != "float64")
    return next((lane for lane in asked if first_failing_tap(lane) is not None), None)


def localize(lanes: Sequence[Lane]) -> str:
    """Say in a sentence where the difference begins.

    Args:
        lanes: the lanes of one run.
    """
    if not any(lane.of_level("taps") for lane in lanes):
        if lanes and all(lane.equal for lane in lanes):
            return "All that was compared passes; no taps were."
        return f"{_failing(lanes)} No taps were compared, so the difference cannot be localised.".lstrip()
    lane = first_failing_lane(lanes)
    row = first_failing_tap(lane) if lane is not None else None
    if lane is None or row is None:
        return f"Every tap passes. {_failing(lanes)}".rstrip()
    before = lane.of_level("taps").index(row)
    start = f"First failing tap ({lane.dtype}): {row.name}"
    if row.errors is None or row.gate is None:
        return f"{start}: {row.note}."
    return (
        f"{start}, off by {row.errors.max_abs:.3g} at {list(row.errors.worst_index)}, "
        f"{row.ratio:.3g} × its gate; of the taps before it all {before} pass."
    )


def _failing(lanes: Sequence[Lane]) -> str:
    """What fails, in a sentence; empty if nothing does."""
    names = list(dict.fromkeys(f"{row.name} ({lane.dtype})" for lane in lanes for row in lane.failures))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"What fails: {', '.join(names[:NAMED])}{more}." if names else ""


def explain_replay(lane: Lane, replayed: Lane) -> str:
    """Say whether the first failing tap is wrong by itself.

    Args:
        lane: the comparison in which a tap failed.
        replayed: the reference's taps against those that each layer gave for the reference's own input.
    """
    row = first_failing_tap(lane)
    if row is None:
        return "Every tap passes, so there is nothing to replay."
    alone = next(each for each in replayed.of_level("taps") if each.name == row.name)
    wrong = [each.name for each in replayed.of_level("taps") if not each.passed]
    if alone.passed:
        drift = (
            f"Accumulated drift: on the reference's own input {row.name} is within its gate "
            f"({alone.ratio:.3g} × it), so the difference came with its input."
        )
        return f"{drift} {_also('Wrong by themselves are', wrong)}".rstrip()
    others = [name for name in wrong if name != row.name]
    return (
        f"Local fault: on the reference's own input {row.name} is still off, {alone.ratio:.3g} × its gate. "
        "Look at its weights and its formula. "
        + (_also("So are", others) or "Every other layer is right by itself.")
    )


def _also(start: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{start} {', '.join(names[:NAMED])}{more}."
