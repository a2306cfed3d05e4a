"""`parity run` and `parity compare`: two sides, compared tensor by tensor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from parity.compare import measure_noise
from parity.gradients import GRADIENT_SIZE
from parity.label_runners import picture_of
from parity.options import (
    AllTaps,
    Candidates,
    Dtype,
    Image,
    InProcess,
    Levels,
    Model,
    Size,
    Without,
    Work,
    candidates_of,
    lanes_of,
    levels_of,
    say_where,
)
from parity.outputs import Config, Html, Json, Junit, Outputs, prepared, whatever_happens
from parity.pipeline import Run, Settings, compare_results, run_parity
from parity.report import print_run
from parity.results import ResultError, load_result
from parity.run_output import write_run
from parity.run_page import Scene, class_names_of
from parity.running import HarnessError
from parity.terminal import Progress, console, exit_code, workplace
from parity.tolerances import ToleranceError, load_noise_floors


def run_command(
    model: Model,
    image: Image = None,
    size: Size = None,
    dtype: Dtype = "both",
    levels: Levels = None,
    without: Without = None,
    candidates: Candidates = "tf_segformer",
    saved_model: Annotated[
        Path | None,
        typer.Option(help="Version directory of an export to compare too.", file_okay=False),
    ] = None,
    tolerances: Annotated[
        Path | None, typer.Option(help="Noise floors frozen by `parity calibrate`.")
    ] = None,
    config: Config = None,
    report: Json = None,
    junit: Junit = None,
    html: Html = None,
    work: Work = None,
    all_taps: AllTaps = False,
    in_process: InProcess = False,
) -> int:
    """Run reference and Keras model on the same pixels and compare everything."""
    if saved_model is not None and size is not None:
        raise typer.BadParameter("--size cannot be combined with --saved-model: an export has its own")
    lanes, chosen, less = lanes_of(dtype), levels_of(levels), levels_of(without) or ()
    runners = candidates_of(candidates, exported=saved_model is not None)
    thresholds, outputs = prepared(config, Outputs(report, junit, html))
    scene = Scene(model, "seeded test picture" if image is None else image.name, None, class_names_of(model))
    run: Run | None = None
    with (
        whatever_happens(
            lambda error: write_run(outputs, scene, run, error=error, thresholds=thresholds), _described
        ),
        workplace(model, image, work) as (folder, picture),
    ):
        settings = Settings(
            dtypes=lanes,
            levels=chosen,
            floors=load_noise_floors(tolerances) if tolerances is not None else None,
            isolate=not in_process,
            keep=work is not None,
            pictures=html is not None,
            thresholds=thresholds,
            candidates=runners,
            without=less,
        )
        if html is not None:
            scene = replace(scene, photograph=picture_of(picture.read_bytes()))
        say = Progress()
        run = run_parity(model, picture, folder, settings, size=size, saved_model=saved_model, say=say)
    print_run(run, console(), all_taps=all_taps)
    say_where(outputs)
    return exit_code(run.equal)


def gradients_command(
    model: Model,
    dtype: Dtype = "both",
    config: Config = None,
    report: Json = None,
    junit: Junit = None,
    all_taps: Annotated[bool, typer.Option("--all-taps", help="Show every parameter.")] = False,
    in_process: InProcess = False,
) -> int:
    """Compare loss and every parameter's gradient of one training step on a seeded batch."""
    lanes = lanes_of(dtype)
    thresholds, outputs = prepared(config, Outputs(report, junit))
    scene, run = Scene(model, "seeded batch"), None
    with (
        whatever_happens(
            lambda error: write_run(outputs, scene, run, error=error, thresholds=thresholds), _described
        ),
        workplace(model, None, None) as (folder, picture),
    ):
        settings = Settings(lanes, ("gradients",), isolate=not in_process, thresholds=thresholds)
        run = run_parity(model, picture, folder, settings, size=GRADIENT_SIZE, say=Progress())
    print_run(run, console(), all_taps=all_taps)
    say_where(outputs)
    return exit_code(run.equal)


def compare_command(
    reference: Annotated[Path, typer.Argument(help="Folder of the reference's result.")],
    candidate: Annotated[Path, typer.Argument(help="Folder of the candidate's result.")],
    levels: Levels = None,
    without: Without = None,
    noise_from: Annotated[
        Path | None,
        typer.Option(help="The float64 reference's result: noise floors of taps, exact gradients."),
    ] = None,
    tolerances: Annotated[
        Path | None, typer.Option(help="Noise floors frozen by `parity calibrate`.")
    ] = None,
    config: Config = None,
    report: Json = None,
    junit: Junit = None,
    html: Html = None,
    all_taps: AllTaps = False,
) -> int:
    """Compare two results that `parity record` or `parity run --work` saved."""
    thresholds, outputs = prepared(config, Outputs(report, junit, html))
    chosen, less = levels_of(levels), levels_of(without) or ()
    run: Run | None = None
    scene = Scene(reference.name)
    with whatever_happens(lambda error: write_run(outputs, scene, run, error=error, thresholds=thresholds)):
        left, right = load_result(reference), load_result(candidate)
        scene = Scene(left.manifest.checkpoint)
        floors = load_noise_floors(tolerances) if tolerances is not None else None
        exact = None
        if noise_from is not None:
            exact = load_result(noise_from)
            if left.tap_names:
                floors = measure_noise(left, exact, source=noise_from.name)
        pictures = html is not None
        run = compare_results(
            left,
            right,
            levels=chosen,
            without=less,
            floors=floors,
            exact=exact,
            thresholds=thresholds,
            pictures=pictures,
        )
    print_run(run, console(), all_taps=all_taps)
    say_where(outputs)
    return exit_code(run.equal)


def _described(problem: Exception) -> str:
    """An error in words, with its type where it is none that this package words itself."""
    expected = isinstance(problem, HarnessError | ToleranceError | ResultError)
    return str(problem) if expected else f"{type(problem).__name__}: {problem}"
