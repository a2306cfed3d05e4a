"""One whole run: reference and candidate on the same pixels, in one lane or both, compared.

For every dtype: the reference, then the candidate on the reference's pixels, each in its own
process; then the comparison, reading both results from disk tensor by tensor.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

from parity.compare import LANE_LEVELS, Lane, compare_lane, measure_noise
from parity.evidence import Evidence, gather
from parity.localize import localize
from parity.processes import record
from parity.results import Manifest, Result, load_result
from parity.runners import NOT_OF_TASK, RUNNERS, taps_of
from parity.running import HarnessError, Request, Say
from parity.thresholds import Thresholds
from parity.tolerances import NoiseFloors


@dataclass(frozen=True)
class Run:
    """What a run found.

    Attributes:
        lanes: one comparison per dtype and candidate.
        manifests: circumstances of every result that was made.
        evidence: what a report with pictures shows, one a lane, if it was asked for.
        thresholds: the gates.
        floors: the float32 taps' noise floors; None without such taps.
    """

    lanes: tuple[Lane, ...]
    manifests: tuple[Manifest, ...]
    evidence: tuple[Evidence, ...] = ()
    thresholds: Thresholds = field(default_factory=Thresholds)
    floors: NoiseFloors | None = None

    @property
    def noise_source(self) -> str:
        """Where the float32 taps' noise floors came from; empty without such taps."""
        return "" if self.floors is None else self.floors.source

    @property
    def equal(self) -> bool:
        """Whether something was compared and everything passed."""
        return bool(self.lanes) and all(lane.equal for lane in self.lanes)

    @property
    def first_difference(self) -> str:
        """Where the difference begins, in a sentence."""
        if self.lanes and all(lane.dtype == "any" for lane in self.lanes):
            failing = [row.name for lane in self.lanes for row in lane.failures]
            return f"What fails: {', '.join(failing)}." if failing else "Every array passes."
        return localize(self.lanes)


@dataclass(frozen=True)
class Settings:
    """How to run.

    Attributes:
        dtypes: lanes to run, ``float32`` and ``float64``.
        levels: levels to compare, which must be there; None for all that a lane and the network have.
        without: levels to leave out.
        floors: frozen noise floors of the float32 taps; None measures them.
        isolate: each runner in its own process.
        keep: leave the recorded results in the work folder.
        pictures: gather what a report with pictures shows.
        thresholds: a project's own gates.
        candidates: runners to hold against the reference.
    """

    dtypes: tuple[str, ...] = ("float32", "float64")
    levels: tuple[str, ...] | None = None
    floors: NoiseFloors | None = None
    isolate: bool = True
    keep: bool = False
    pictures: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)
    candidates: tuple[str, ...] = ("tf_segformer",)
    without: tuple[str, ...] = ()

    def levels_of(self, dtype: str) -> tuple[str, ...]:
        """The levels that are compared in one lane."""
        wanted = LANE_LEVELS[dtype] if self.levels is None else self.levels
        return tuple(x for x in LANE_LEVELS[dtype] if x in wanted and x not in self.without)

    def candidates_of(self, dtype: str) -> tuple[str, ...]:
        """The candidates that run in one lane."""
        return tuple(name for name in self.candidates if dtype in RUNNERS[name].levels)


def run_parity(
    model: str,
    image: Path,
    work: Path,
    settings: Settings,
    *,
    size: int | None = None,
    saved_model: Path | None = None,
    say: Say,
) -> Run:
    """Run the reference and the candidates, and compare them.

    Args:
        model: checkpoint folder or hub id.
        image: image file.
        work: folder for the recorded results.
        settings: lanes, levels, tolerances.
        size: height and width of the preprocessed image; None for the checkpoint's own.
        saved_model: an export, for candidates that run one.
        say: told about each step.

    Raises:
        HarnessError: a runner failed.
        ToleranceError: noise floors are missing or belong to another run.
        ResultError: recorded results do not belong together.
    """
    _require_candidates(settings, saved_model)
    base = Request(model, image, "float32", (), size, None)
    lanes: list[Lane] = []
    manifests: list[Manifest] = []
    evidence: list[Evidence] = []
    wanted = set(settings.levels_of("float32")) if "float32" in settings.dtypes else set()
    measures = "taps" in wanted and settings.floors is None
    # The float64 reference also serves the float32 lane: for the taps' noise floors and the exact gradients.
    extra = tuple(x for x in ("taps", "gradients") if x in wanted and (x != "taps" or measures))
    references: dict[str, Path] = {}
    for dtype in ("float32", "float64"):
        levels = settings.levels_of(dtype) if dtype in settings.dtypes else ()
        if dtype == "float64":
            levels += tuple(x for x in extra if x not in levels)
        if dtype in settings.dtypes or levels:
            references[dtype] = work / f"reference-{dtype}"
            request = replace(base, dtype=dtype, levels=levels)
            result = record("torch_ref", request, references[dtype], isolate=settings.isolate, say=say)
            manifests.append(result.manifest)
    exact = load_result(references["float64"]) if "float64" in references else None

    floors = settings.floors if "taps" in wanted else None
    if measures and exact is not None:
        say("measuring the noise floor of every tap")
        floors = measure_noise(load_result(references["float32"]), exact)
    elif floors is not None:
        _require_floors_fit(floors, load_result(references["float32"]).manifest)

    for dtype in (d for d in ("float32", "float64") if d in settings.dtypes):
        reference = load_result(references[dtype])
        for name in settings.candidates_of(dtype):
            levels = _levels(name, reference, settings)
            export = saved_model if RUNNERS[name].exported else None
            request = replace(base, dtype=dtype, levels=levels, saved_model=export)
            output = work / f"{_FOLDERS.get(name, name.replace('/', '-'))}-{dtype}"
            given = references[dtype]
            candidate = record(name, request, output, given=given, isolate=settings.isolate, say=say)
            manifests.append(candidate.manifest)
            say(f"comparing {name}, {dtype}")
            lane = compare_lane(
                reference,
                candidate,
                levels=levels,
                floors=floors,
                required_taps=taps_of(name, reference.manifest.expected_taps),
                exact=exact,
                thresholds=settings.thresholds,
            )
            missed = tuple(x for x in settings.levels_of(dtype) if x not in levels)
            lane = replace(lane, left_out=missed + lane.left_out)
            lanes.append(lane)
            if settings.pictures:
                evidence.append(gather(reference, candidate, lane))
            if not settings.keep:
                shutil.rmtree(output)
        if not settings.keep:
            shutil.rmtree(references.pop(dtype))
    for folder in () if settings.keep else references.values():
        shutil.rmtree(folder)
    return Run(tuple(lanes), tuple(manifests), tuple(evidence), settings.thresholds, floors)


# What the folders of results were called when there was one candidate.
_FOLDERS = {"tf_segformer": "keras", "saved_model": "saved-model"}


def _require_candidates(settings: Settings, saved_model: Path | None) -> None:
    """Refuse candidates that could not be compared, before anything is run.

    Raises:
        HarnessError: there is none, one needs an export, or one has no lane of this run.
    """
    if not settings.candidates:
        raise HarnessError("nothing to compare: no candidate was named")
    for name in settings.candidates:
        if RUNNERS[name].exported and saved_model is None:
            raise HarnessError(f"the runner {name} needs --saved-model, a version directory")
        if not any(name in settings.candidates_of(dtype) for dtype in settings.dtypes):
            raise HarnessError(
                f"the runner {name} gives nothing in {' or '.join(settings.dtypes)}; it runs in "
                f"{', '.join(RUNNERS[name].levels)}"
            )


def _levels(name: str, reference: Result, settings: Settings) -> tuple[str, ...]:
    """The levels of a candidate: those of the run that its runner declares and the network has."""
    dtype, task = reference.manifest.dtype, reference.manifest.task
    declared = RUNNERS[name].levels[dtype]
    return tuple(
        level
        for level in settings.levels_of(dtype)
        # One that was asked for by name is required of every network.
        if level in declared and (settings.levels is not None or level not in NOT_OF_TASK.get(task, ()))
    )


def compare_results(
    reference: Result,
    candidate: Result,
    *,
    levels: tuple[str, ...] | None,
    without: tuple[str, ...] = (),
    floors: NoiseFloors | None,
    exact: Result | None = None,
    thresholds: Thresholds,
    pictures: bool,
) -> Run:
    """Compare two results that were recorded earlier.

    Args:
        reference: what counts as true.
        candidate: what is judged.
        levels: levels that are required; None for all that the lane has.
        without: levels to leave out.
        floors: noise floors of float32 taps.
        exact: the float64 reference, for float32 gradients.
        thresholds: the gates.
        pictures: gather what a report with pictures shows.

    Raises:
        ResultError: the results do not belong together.
        ToleranceError: float32 taps without noise floors, or gradients without the float64 reference.
    """
    required = LANE_LEVELS[reference.manifest.dtype] if levels is None else levels
    lane = compare_lane(
        reference,
        candidate,
        levels=tuple(level for level in required if level not in without),
        floors=floors,
        required_taps=taps_of(candidate.manifest.runner, reference.manifest.expected_taps),
        exact=exact,
        thresholds=thresholds,
    )
    evidence = (gather(reference, candidate, lane),) if pictures else ()
    return Run((lane,), (reference.manifest, candidate.manifest), evidence, thresholds, floors)


def calibrate(
    model: str, image: Path, work: Path, *, size: int | None, isolate: bool = True, say: Say
) -> tuple[NoiseFloors, Manifest]:
    """Measure the noise floors of a checkpoint at one size with the reference alone.

    Returns:
        The floors and the float32 reference's circumstances.

    Raises:
        HarnessError: the reference failed.
    """
    results: dict[str, Result] = {}
    for dtype in ("float32", "float64"):
        request = Request(model, image, dtype, ("taps",), size)
        output = work / f"reference-{dtype}"
        results[dtype] = record("torch_ref", request, output, isolate=isolate, say=say)
    say("measuring the noise floor of every tap")
    floors = measure_noise(results["float32"], results["float64"], source="this calibration")
    return floors, results["float32"].manifest


def require_dtypes(text: str) -> tuple[str, ...]:
    """``float32``, ``float64`` or ``both`` as a tuple of lanes.

    Raises:
        ValueError: anything else.
    """
    lanes: dict[str, tuple[str, ...]] = {
        "float32": ("float32",),
        "float64": ("float64",),
        "both": ("float32", "float64"),
    }
    if text not in lanes:
        raise ValueError(f"unknown dtype {text!r}; expected float32, float64 or both")
    return lanes[text]


def _require_floors_fit(floors: NoiseFloors, manifest: Manifest) -> None:
    """A floor speaks for one checkpoint and one input only."""
    for what in ("input_sha256", "checkpoint_sha256"):
        if getattr(floors, what) != getattr(manifest, what):
            raise HarnessError(
                f"the noise floors of {floors.source} were measured with another "
                f"{'image or size' if what == 'input_sha256' else 'checkpoint'} ({what} differs): "
                "calibrate anew, or leave the file out to measure them in this run"
            )
