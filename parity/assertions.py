"""`assert_parity`, for tests of any project: one assertion, every number in its message.

    from parity.assertions import assert_parity

    assert_parity("path/of/a/checkpoint", image="photo.jpg")          # runs PyTorch and Keras
    assert_parity("results/reference", "results/candidate")           # two results of `parity record`
    assert_parity({"logits": ours}, {"logits": theirs})               # arrays of any origin

With pytest, the fixture `parity` does the same with the options of the command line (`docs/ci.md`).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from parity.arrays import compare_arrays
from parity.compare import measure_noise
from parity.evidence import gather
from parity.images import write_test_image
from parity.label_runners import picture_of
from parity.miou_output import write_miou
from parity.miou_pipeline import MiouRequest, MiouRun, run_miou
from parity.miou_report import Subject, print_evaluation
from parity.outputs import Outputs, whatever_happens
from parity.pipeline import Run, Settings, compare_results, require_dtypes, run_parity
from parity.report import print_run
from parity.results import Manifest, Result, load_result
from parity.run_output import write_run
from parity.run_page import Scene, class_names_of
from parity.terminal import PIPED_WIDTH, progress_bar, require_model
from parity.thresholds import Thresholds

Arrays = Mapping[str, np.ndarray]


class ParityError(AssertionError):
    """The two sides differ; the message has the table, the failures in full and the verdict."""


def assert_parity(
    reference: str | Path | Arrays,
    candidate: str | Path | Arrays | None = None,
    *,
    image: str | Path | None = None,
    size: int | None = None,
    dtype: str = "both",
    levels: tuple[str, ...] | None = None,
    without: tuple[str, ...] = (),
    saved_model: str | Path | None = None,
    noise_from: str | Path | None = None,
    thresholds: Thresholds | None = None,
    isolate: bool = True,
    outputs: Outputs | None = None,
) -> Run:
    """Assert that two sides agree.

    Args:
        reference: a checkpoint folder or hub id, to run both frameworks on; or, with `candidate`, a folder
            that `parity record` wrote, or named arrays.
        candidate: a folder of the same kind, or named arrays.
        image: image file for a checkpoint; a seeded test picture by default.
        size: height and width of the preprocessed image; None for the checkpoint's own.
        dtype: ``float32``, ``float64`` or ``both``, for a checkpoint.
        levels: levels that are required; None for all that a lane has.
        without: levels to leave out, such as ``gradients``.
        saved_model: an export of the checkpoint to compare too.
        noise_from: folder of the float64 reference's result, for the taps of two float32 results.
        thresholds: the gates; the harness's by default.
        isolate: run each framework in its own process.
        outputs: reports to write, whatever the outcome.

    Returns:
        What was compared, all of it equal.

    Raises:
        ParityError: something differs, is missing or not finite, or nothing was compared.
        HarnessError, ResultError, ToleranceError: the comparison could not be made.
        TypeError: the two arguments are not of one kind.
    """
    __tracebackhide__ = True
    gates, wanted = thresholds or Thresholds(), outputs or Outputs()
    wanted.prepare()
    run: Run | None = None
    scene = Scene("arrays" if isinstance(reference, Mapping) else str(reference))
    with whatever_happens(lambda error: write_run(wanted, scene, run, error=error, thresholds=gates)):
        if isinstance(reference, Mapping) or isinstance(candidate, Mapping):
            if not isinstance(reference, Mapping) or not isinstance(candidate, Mapping):
                raise TypeError("assert_parity takes two mappings of arrays, two folders, or one checkpoint")
            run = _of_arrays(reference, candidate, gates)
        elif candidate is not None:
            noise = None if noise_from is None else Path(noise_from)
            run = _of_results(Path(reference), Path(candidate), levels, without, noise, gates)
        else:
            settings = Settings(
                candidates=("tf_segformer",) if saved_model is None else ("tf_segformer", "saved_model"),
                dtypes=require_dtypes(dtype),
                levels=levels,
                without=without,
                isolate=isolate,
                pictures=wanted.html is not None,
                thresholds=gates,
            )
            export = None if saved_model is None else Path(saved_model)
            run, scene = _of_checkpoint(str(reference), image, size, export, settings)
    if not run.equal:
        text = _printed(lambda console: print_run(run, console))
        raise ParityError(run.first_difference + text + _written(wanted))
    return run


def assert_miou(request: MiouRequest, *, outputs: Outputs | None = None) -> MiouRun:
    """Assert that both frameworks agree on a dataset, by the rules of `parity miou`.

    Args:
        request: what to run.
        outputs: reports to write, whatever the outcome.

    Raises:
        ParityError: label maps differ beyond ties, logits fail, or a threshold is not met.
        DatasetError, StateError, HarnessError: the comparison could not be made.
    """
    __tracebackhide__ = True
    wanted = outputs or Outputs()
    wanted.prepare()
    if wanted.html is not None and not request.pictures:
        request = replace(request, pictures=4)
    found: MiouRun | None = None
    subject = Subject(request.model, str(request.data or request.images), thresholds=request.thresholds)
    with whatever_happens(lambda error: write_miou(wanted, subject, found, error=error)):
        require_model(request.model)
        found = run_miou(request, say=_silent, bar=lambda title, total: progress_bar(title, total, _silent))
    if not found.evaluation.equal:
        run = found
        text = _printed(lambda console: print_evaluation(run.subject, run.evaluation, console))
        failed = ", ".join(check.name for check in run.evaluation.checks if not check.passed)
        raise ParityError(f"What fails: {failed}." + text + _written(wanted))
    return found


def _of_arrays(reference: Arrays, candidate: Arrays, gates: Thresholds) -> Run:
    ours, theirs = (
        {name: np.asarray(array) for name, array in side.items()} for side in (reference, candidate)
    )
    lane = compare_arrays(ours, theirs, thresholds=gates)
    evidence = gather(
        Result(Manifest("reference", "any"), ours), Result(Manifest("candidate", "any"), theirs), lane
    )
    return Run((lane,), (), (evidence,), gates)


def _of_results(
    reference: Path,
    candidate: Path,
    levels: tuple[str, ...] | None,
    without: tuple[str, ...],
    noise: Path | None,
    gates: Thresholds,
) -> Run:
    ours, theirs = load_result(reference), load_result(candidate)
    exact = None if noise is None else load_result(noise)
    floors = measure_noise(ours, exact, source=str(noise)) if exact and ours.tap_names else None
    return compare_results(
        ours,
        theirs,
        levels=levels,
        without=without,
        floors=floors,
        exact=exact,
        thresholds=gates,
        pictures=True,
    )


def _of_checkpoint(
    model: str, image: str | Path | None, size: int | None, saved_model: Path | None, settings: Settings
) -> tuple[Run, Scene]:
    require_model(model)
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        work = Path(folder)
        picture = Path(image) if image is not None else write_test_image(work / "test-picture.png")
        run = run_parity(model, picture, work, settings, size=size, saved_model=saved_model, say=_silent)
        return run, Scene(model, picture.name, picture_of(picture.read_bytes()), class_names_of(model))


def _printed(show: Any) -> str:
    text = io.StringIO()
    show(Console(file=text, width=PIPED_WIDTH))
    return "\n" + text.getvalue()


def _written(outputs: Outputs) -> str:
    return "".join(f"report: {path}\n" for path in outputs.paths)


def _silent(text: str) -> None:
    """A test's output is its message."""
