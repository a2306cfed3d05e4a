"""Who can be compared, and what each can give.

A runner runs one framework and saves what it produced. It declares its levels and taps here: what a
comparison requires and the runner does not declare is an error before anything is run, and what it declares
and then does not give is a failure, never a skipped check. The frameworks are imported inside the runners
only, so that comparing saved results needs neither of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parity.compare import LANE_LEVELS
from parity.keras_runners import run_keras, run_keras_eagerly, run_keras_folded, run_keras_replay
from parity.reference_runner import run_reference
from parity.results import Result
from parity.running import HarnessError, Request, Say
from parity.saved_model_runners import SIGNATURES, run_loaded_saved_model, run_saved_model
from parity.taps import stage_taps

Taps = Callable[[Sequence[str]], tuple[str, ...]]


def _no_taps(names: Sequence[str]) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Runner:
    """One way of computing a result.

    Attributes:
        run: from a request, an output folder and the reference's result (None for the reference itself).
        levels: dtype → the levels that it can give.
        taps: from all taps of a network, in forward order, to those that it can give.
        exported: whether it runs an export, which `Request.saved_model` names.
    """

    run: Callable[[Request, Path, Result | None, Say], Result]
    levels: Mapping[str, tuple[str, ...]]
    taps: Taps = tuple
    exported: bool = False


# What cannot be trained gives no gradients.
_FOLDED = {dtype: tuple(x for x in levels if x != "gradients") for dtype, levels in LANE_LEVELS.items()}
_EXPORTED = {"float32": tuple(SIGNATURES)}
RUNNERS: dict[str, Runner] = {
    "torch_ref": Runner(run_reference, LANE_LEVELS),
    "tf_segformer": Runner(run_keras, LANE_LEVELS),
    "tf_segformer/eager": Runner(run_keras_eagerly, LANE_LEVELS),
    "tf_segformer/folded": Runner(run_keras_folded, _FOLDED, stage_taps),
    "tf_segformer/replay": Runner(run_keras_replay, {"float32": ("taps",), "float64": ("taps",)}),
    "saved_model": Runner(run_saved_model, _EXPORTED, _no_taps, exported=True),
    "saved_model/loaded": Runner(run_loaded_saved_model, _EXPORTED, _no_taps, exported=True),
}
# Levels that a network of that task has not.
NOT_OF_TASK = {"classification": ("labels/original_size",)}
# What `parity run` can hold against the reference.
CANDIDATES = tuple(name for name in RUNNERS if name not in ("torch_ref", "tf_segformer/replay"))


def require_levels(name: str, dtype: str, levels: Sequence[str]) -> None:
    """Refuse what a runner has not declared.

    Raises:
        HarnessError: naming the level and those that it has.
    """
    declared = RUNNERS[name].levels.get(dtype, ())
    for level in levels:
        if level not in declared:
            has = f"it has {', '.join(declared)}" if declared else f"it gives nothing in {dtype}"
            raise HarnessError(f"the runner {name} has no level {level} in {dtype}; {has}")


def taps_of(name: str, all_taps: Sequence[str]) -> tuple[str, ...]:
    """The taps of a network that a runner declares; all, of a runner that is not known here."""
    runner = RUNNERS.get(name)
    return tuple(all_taps) if runner is None else runner.taps(all_taps)
