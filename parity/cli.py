"""The command line: `python -m parity …`.

Exit codes, the same for every command that compares: 0 equal, 1 different, 2 wrong usage, 3 the
comparison could not be made.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from parity.circumstances import library_versions, machine
from parity.datasets import DatasetError
from parity.false_alarms import run_networks
from parity.fault_list import FAULTS
from parity.faults import MARGIN, run_faults, write_tiny_checkpoint
from parity.files import compare_files, files_table, generated_files
from parity.images import write_test_image
from parity.miou_command import miou_command
from parity.options import (
    Dtype,
    Image,
    InProcess,
    Levels,
    Model,
    Size,
    lanes_of,
    levels_of,
    say_gates,
    thresholds_of,
)
from parity.outputs import Config
from parity.pipeline import calibrate
from parity.published_command import published_command
from parity.replay import find_fault
from parity.report import faults_table
from parity.results import ResultError, load_result
from parity.run_command import compare_command, gradients_command, run_command
from parity.runners import RUNNERS, require_levels
from parity.running import HarnessError, Request
from parity.table import DEFAULT_CASES, markdown, parse_cases, run_cases
from parity.tally import StateError
from parity.terminal import DIFFERENT, EQUAL, HARNESS, USAGE, Progress, console, exit_code, workplace
from parity.tolerances import ToleranceError, save_noise_floors

commands = typer.Typer(
    help="Prove, number by number, that the TensorFlow model equals the PyTorch reference. "
    "Exit codes: 0 equal, 1 different, 2 wrong usage, 3 the comparison could not be made.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

commands.command("run")(run_command)
commands.command("compare")(compare_command)
commands.command("gradients")(gradients_command)
commands.command("miou")(miou_command)
commands.command("published")(published_command)


@commands.command("localize")
def localize_command(
    model: Model,
    image: Image = None,
    size: Size = None,
    dtype: Dtype = "float64",
    config: Config = None,
    in_process: InProcess = False,
) -> int:
    """Name the first tap that differs, and say whether that layer is wrong by itself."""
    gates, lanes = thresholds_of(config), lanes_of(dtype)
    with workplace(model, image, None) as (folder, picture):
        isolate = not in_process
        run, explained = find_fault(
            model, picture, folder, lanes, size=size, isolate=isolate, thresholds=gates, say=Progress()
        )
    say_gates(gates)
    console().print(explained, highlight=False, markup=False, soft_wrap=True)
    return exit_code(run.equal)


@commands.command("calibrate")
def calibrate_command(
    model: Model,
    reason: Annotated[str, typer.Option(help="Why the file is (re)made, in a sentence.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Tolerance file to write.")],
    image: Image = None,
    size: Size = None,
    in_process: InProcess = False,
) -> int:
    """Freeze the noise floor of every tap of the float32 reference into a file."""
    if not reason.strip():
        raise typer.BadParameter("--reason is empty: say why the file is (re)made")
    with workplace(model, image, None) as (folder, picture):
        floors, manifest = calibrate(
            model, picture, folder, size=size, isolate=not in_process, say=Progress()
        )
    save_noise_floors(
        output,
        floors,
        date=datetime.now(UTC).date().isoformat(),
        machine={**machine(), **library_versions(), "checkpoint": manifest.checkpoint},
        reason=reason,
    )
    console().print(
        f"{len(floors.taps)} noise floors: {output}", highlight=False, markup=False, soft_wrap=True
    )
    return EQUAL


@commands.command("record")
def record_command(
    model: Model,
    runner: Annotated[str, typer.Option(help=f"One of {', '.join(RUNNERS)}.")],
    image: Annotated[Path, typer.Option(help="Image file.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder for the result.")],
    dtype: Annotated[str, typer.Option(help="float32 or float64.")] = "float32",
    levels: Levels = None,
    size: Size = None,
    given: Annotated[
        Path | None, typer.Option(help="The reference's result, whose pixels are the input.")
    ] = None,
    saved_model: Annotated[Path | None, typer.Option(help="Version directory of an export.")] = None,
) -> int:
    """Run one framework and save everything it produced, for `parity compare`."""
    if runner not in RUNNERS:
        raise typer.BadParameter(f"unknown runner {runner!r}; known are {', '.join(RUNNERS)}")
    declared = RUNNERS[runner].levels.get(dtype)
    if declared is None:
        has = ", ".join(RUNNERS[runner].levels)
        raise typer.BadParameter(f"--dtype is {dtype!r}; the runner {runner} runs in {has}")
    chosen = levels_of(levels) or declared
    require_levels(runner, dtype, chosen)
    request = Request(model, image, dtype, chosen, size, saved_model)
    reference = load_result(given) if given is not None else None
    RUNNERS[runner].run(request, output, reference, lambda text: print(text, flush=True))
    return EQUAL


@commands.command("table")
def table_command(
    cases: Annotated[
        str, typer.Option(help="Comma-separated variant@size of seeded checkpoints.")
    ] = DEFAULT_CASES,
    image: Image = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the checkpoints.")] = 0,
    config: Config = None,
    in_process: InProcess = False,
) -> int:
    """Print the README's table: seeded checkpoints at full width, both lanes, as Markdown."""
    try:
        wanted = parse_cases(cases)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    gates, found = thresholds_of(config), []
    with tempfile.TemporaryDirectory(prefix="parity-") as temporary:
        work = Path(temporary)
        picture = image or write_test_image(work / "test-picture.png")
        progress = Progress()
        cases_run = run_cases(
            wanted, picture, work, isolate=not in_process, seed=seed, thresholds=gates, say=progress
        )
        for case, run in cases_run:
            verdict = "equal" if run.equal else f"DIFFERENT: {run.first_difference}"
            peak = max(each.peak_memory_bytes for each in run.manifests) / 2**30
            progress(f"{case.variant} at {case.size}: {verdict}; at most {peak:.1f} GiB a process")
            found.append((case, run))
    say_gates(gates)
    print(markdown(found))
    return EQUAL if all(run.equal for _, run in found) else DIFFERENT


@commands.command("faults")
def faults_command(config: Config = None) -> int:
    """Plant known mistakes into a tiny model and show where each is caught."""
    gates, progress = thresholds_of(config), Progress()
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="parity-") as temporary:
        progress("loading both frameworks and a tiny seeded checkpoint")
        checkpoint = write_tiny_checkpoint(Path(temporary) / "checkpoint")
        for outcome in run_faults(checkpoint, FAULTS, gates):
            progress(f"planted: {outcome.fault.name}, {outcome.dtype}")
            outcomes.append(outcome)
    say_gates(gates)
    console().print(faults_table(outcomes))
    # One lane must catch it; naming a wrong place is never right, in no lane.
    caught = {outcome.fault.name for outcome in outcomes if outcome.caught}
    caught -= {outcome.fault.name for outcome in outcomes if outcome.misleads}
    console().print(f"{len(caught)} of {len(FAULTS)} caught by name, by at least {MARGIN:g} × the gate")
    return EQUAL if len(caught) == len(FAULTS) else DIFFERENT


@commands.command("false-alarms")
def false_alarms_command(
    count: Annotated[int, typer.Option(min=1, help="How many networks.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the first; the others count up.")] = 0,
) -> int:
    """Compare seeded networks of random shapes that are right on both sides; nothing may be flagged."""
    progress, flagged, worst = Progress(), [], 0.0
    for case, lanes in run_networks(range(seed, seed + count)):
        failing = [f"{row.name} ({lane.dtype})" for lane in lanes for row in lane.failures]
        worst = max([worst, *(row.ratio for lane in lanes for row in lane.rows if row.passed)])
        progress(f"{case.seed}: {', '.join(failing) or 'equal'}")
        flagged += [case] * bool(failing)
    console().print(
        f"{len(flagged)} of {count} networks flagged, float32 and float64; of what passed, the largest error "
        f"was {worst:.2f} × its gate",
        highlight=False,
    )
    for case in flagged:
        console().print(f"[red]✗[/] {case}", highlight=False)
    return EQUAL if not flagged else DIFFERENT


@commands.command("files")
def files_command(
    model: Model,
    saved_model: Annotated[Path, typer.Argument(help="Version directory of its export.", file_okay=False)],
    image: Annotated[
        list[Path] | None, typer.Option(help="Image file; repeat for more.", exists=True, dir_okay=False)
    ] = None,
    count: Annotated[int, typer.Option(min=0, help="How many images to generate besides.")] = 300,
    seed: Annotated[int, typer.Option(help="Of the generated images.")] = 0,
    config: Config = None,
) -> int:
    """Compare label maps from image files' bytes: the export in a Session against the PyTorch pipeline."""
    from serving.session_check import ServedModel
    from torch_ref import Reference

    if not image and not count:
        raise HarnessError("nothing to compare: give --image, or a --count above 0")
    gates, progress, results = thresholds_of(config), Progress(), []
    with tempfile.TemporaryDirectory(prefix="parity-") as folder, ServedModel(saved_model) as served:
        files = itertools.chain(
            ((path.name, "given", path.read_bytes()) for path in image or ()),
            generated_files(count, seed, Path(folder)),
        )
        for result in compare_files(Reference.from_pretrained(model), served, files, gates):
            progress(f"{result.name}: {result.different} of {result.pixels:,} differ, {result.ties} are ties")
            results.append(result)
    say_gates(gates)
    print(files_table(results))
    return EQUAL if all(result.agrees for result in results) else DIFFERENT


def app(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code; nothing escapes as a code of another meaning.

    Left to itself, typer ends an unexpected exception, a broken pipe and an interruption with 1,
    which here means "different".
    """
    # TensorFlow's start-up notes would drown the progress.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # On a GPU, TF32 would round every matrix product to 10 bits.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    try:
        code = commands(args=arguments, prog_name="parity", standalone_mode=False)
    except (HarnessError, ToleranceError, ResultError, DatasetError, StateError) as error:
        print(f"parity: {error}", file=sys.stderr)
        return HARNESS
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        # Usage errors know how to show themselves; their class differs between typer's versions.
        show = getattr(error, "show", None)
        if show is not None and getattr(error, "exit_code", None) == USAGE:
            show()
            return USAGE
        print(f"parity: {type(error).__name__}: {error}", file=sys.stderr)
        return HARNESS
    return code if code in (EQUAL, DIFFERENT, USAGE, HARNESS) else HARNESS
