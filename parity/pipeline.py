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
from parity.runners import HarnessError, Request, Say
from parity.thresholds import Thresholds
from parity.tolerances import NoiseFloors

SAVED_MODEL_LEVELS = ("logits", "labels/original_size")


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
        levels: levels to compare; None for all that a lane has.
        floors: frozen noise floors of the float32 taps; None measures them.
        isolate: each runner in its own process.
        keep: leave the recorded results in the work folder.
        pictures: gather what a report with pictures shows.
        thresholds: a project's own gates.
    """

    dtypes: tuple[str, ...] = ("float32", "float64")
    levels: tuple[str, ...] | None = None
    floors: NoiseFloors | None = None
    isolate: bool = True
    keep: bool = False
    pictures: bool = False
    thresholds: Thresholds = field(default_factory=Thresholds)

    def levels_of(self, dtype: str) -> tuple[str, ...]:
        """The levels that are compared in one lane."""
        lane = LANE_LEVELS[dtype]
        return lane if self.levels is None else tuple(x for x in lane if x in self.levels)


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
        saved_model: an export to compare too, in float32, by SAVED_MODEL_LEVELS.
        say: told about each step.

    Raises:
        HarnessError: a runner failed.
        ToleranceError: noise floors are missing or belong to another run.
        ResultError: recorded results do not belong together.
    """
    base = Request(model, image, "float32", (), size)
    lanes: list[Lane] = []
    manifests: list[Manifest] = []
    evidence: list[Evidence] = []
    needs_floors = "float32" in settings.dtypes and "taps" in settings.levels_of("float32")
    measures = needs_floors and settings.floors is None
    # The float64 reference also serves the float32 lane's noise floors.
    reference_dtypes = [
        dtype
        for dtype in ("float32", "float64")
        if dtype in settings.dtypes or (dtype == "float64" and measures)
    ]
    references: dict[str, Path] = {}
    for dtype in reference_dtypes:
        # Without a float64 lane, only the taps of its reference are wanted.
        levels = settings.levels_of(dtype) if dtype in settings.dtypes else ("taps",)
        references[dtype] = work / f"reference-{dtype}"
        request = replace(base, dtype=dtype, levels=levels)
        result = record("torch_ref", request, references[dtype], isolate=settings.isolate, say=say)
        manifests.append(result.manifest)

    floors = settings.floors if needs_floors else None
    if measures:
        say("measuring the noise floor of every tap")
        floors = measure_noise(load_result(references["float32"]), load_result(references["float64"]))
    elif floors is not None:
        _require_floors_fit(floors, load_result(references["float32"]).manifest)

    for dtype in (d for d in ("float32", "float64") if d in settings.dtypes):
        reference = load_result(references[dtype])
        levels = settings.levels_of(dtype)
        request = replace(base, dtype=dtype, levels=levels)
        output = work / f"keras-{dtype}"
        candidate = record(
            "tf_segformer",
            request,
            output,
            given=references[dtype],
            isolate=settings.isolate,
            say=say,
        )
        manifests.append(candidate.manifest)
        say(f"comparing {dtype}")
        gates = settings.thresholds
        lane = compare_lane(reference, candidate, levels=levels, floors=floors, thresholds=gates)
        lanes.append(lane)
        if settings.pictures:
            evidence.append(gather(reference, candidate, lane))
        if not settings.keep:
            shutil.rmtree(output)
        if dtype == "float32" and saved_model is not None:
            lane, manifest, seen = _saved_model_lane(
                base, saved_model, references[dtype], work, settings, say
            )
            lanes.append(lane)
            evidence += seen
            manifests.append(manifest)
        if not settings.keep:
            shutil.rmtree(references[dtype])
    return Run(tuple(lanes), tuple(manifests), tuple(evidence), settings.thresholds, floors)


def compare_results(
    reference: Result,
    candidate: Result,
    *,
    levels: tuple[str, ...] | None,
    floors: NoiseFloors | None,
    thresholds: Thresholds,
    pictures: bool,
) -> Run:
    """Compare two results that were recorded earlier.

    Args:
        reference: what counts as true.
        candidate: what is judged.
        levels: levels that are required; None for all that the lane has.
        floors: noise floors of float32 taps.
        thresholds: the gates.
        pictures: gather what a report with pictures shows.

    Raises:
        ResultError: the results do not belong together.
        ToleranceError: float32 taps without noise floors.
    """
    required = LANE_LEVELS[reference.manifest.dtype] if levels is None else levels
    lane = compare_lane(reference, candidate, levels=required, floors=floors, thresholds=thresholds)
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


def _saved_model_lane(
    base: Request,
    saved_model: Path,
    reference: Path,
    work: Path,
    settings: Settings,
    say: Say,
) -> tuple[Lane, Manifest, list[Evidence]]:
    """Compare an export, which has no taps: by its logits and by what it answers to image bytes."""
    levels = tuple(level for level in SAVED_MODEL_LEVELS if level in settings.levels_of("float32"))
    request = replace(base, levels=levels, saved_model=saved_model)
    output = work / "saved-model"
    result = record("saved_model", request, output, given=reference, isolate=settings.isolate, say=say)
    say("comparing the SavedModel")
    expected = load_result(reference)
    lane = compare_lane(expected, result, levels=levels, thresholds=settings.thresholds)
    evidence = [gather(expected, result, lane)] if settings.pictures else []
    if not settings.keep:
        shutil.rmtree(output)
    return lane, result.manifest, evidence


def _require_floors_fit(floors: NoiseFloors, manifest: Manifest) -> None:
    """A floor speaks for one checkpoint and one input only."""
    for what in ("input_sha256", "checkpoint_sha256"):
        if getattr(floors, what) != getattr(manifest, what):
            raise HarnessError(
                f"the noise floors of {floors.source} were measured with another "
                f"{'image or size' if what == 'input_sha256' else 'checkpoint'} ({what} differs): "
                "calibrate anew, or leave the file out to measure them in this run"
            )
