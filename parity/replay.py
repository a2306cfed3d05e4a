"""Finding a fault: compare every tap, then try the layers one by one on the reference's own input."""

from __future__ import annotations

from pathlib import Path

from parity.compare import compare_lane
from parity.localize import explain_replay, first_failing_lane
from parity.pipeline import Run, Settings, run_parity
from parity.processes import record
from parity.results import load_result
from parity.running import Request, Say
from parity.thresholds import Thresholds


def find_fault(
    model: str,
    image: Path,
    work: Path,
    dtypes: tuple[str, ...],
    *,
    size: int | None = None,
    isolate: bool = True,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
    say: Say,
) -> tuple[Run, str]:
    """Compare every tap, and replay the first that fails on the reference's own input.

    Args:
        model: checkpoint folder or hub id.
        image: image file.
        work: folder for the recorded results.
        dtypes: lanes to run.
        size: height and width of the preprocessed image; None for the checkpoint's own.
        isolate: each runner in its own process.
        thresholds: the gates.
        say: told about each step.

    Returns:
        The run, and in a few sentences where a difference begins and whether it is made there.

    Raises:
        HarnessError: a runner failed.
    """
    settings = Settings(dtypes=dtypes, levels=("taps",), isolate=isolate, keep=True, thresholds=thresholds)
    run = run_parity(model, image, work, settings, size=size, say=say)
    lane = first_failing_lane(run.lanes)
    if lane is None:
        return run, run.first_difference
    reference = work / f"reference-{lane.dtype}"
    request = Request(model, image, lane.dtype, ("taps",), size)
    output = work / f"replay-{lane.dtype}"
    replay = record("tf_segformer/replay", request, output, given=reference, isolate=isolate, say=say)
    say(f"comparing layer by layer, {lane.dtype}")
    expected = load_result(reference)
    replayed = compare_lane(expected, replay, levels=("taps",), floors=run.floors, thresholds=thresholds)
    return run, f"{run.first_difference}\n{explain_replay(lane, replayed)}"
