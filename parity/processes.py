"""Running a runner in a process of its own.

PyTorch and TensorFlow each bring a thread pool, an allocator that keeps its memory, and a copy of
OpenMP: apart, each behaves as it does for its users, and the peak memory is the larger of the two
and not their sum. The child is an ordinary ``parity record`` command, so that what happened there
can be repeated by hand.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from parity.results import Result, load_result
from parity.runners import RUNNERS, require_levels
from parity.running import HarnessError, Request, Say

# Lines of a dead child's output that are worth repeating.
TAIL = 15
# The exit code by which a runner says that its error is already one readable paragraph.
READABLE = 3


def record(
    runner: str,
    request: Request,
    output: Path,
    *,
    given: Path | None = None,
    isolate: bool = True,
    say: Say,
) -> Result:
    """Run one runner and open what it saved.

    Args:
        runner: a key of ``RUNNERS``.
        request: what to compute.
        output: folder for the result.
        given: folder of the reference's result, whose pixels are the input.
        isolate: run in a process of its own; False runs it here.
        say: told about each step.

    Raises:
        HarnessError: the runner could not do it; the message is the runner's own.
    """
    require_levels(runner, request.dtype, request.levels)
    if not isolate:
        result = load_result(given) if given is not None else None
        try:
            return RUNNERS[runner].run(request, output, result, say)
        except HarnessError:
            raise
        except Exception as error:
            raise HarnessError(f"{runner} failed: {type(error).__name__}: {error}") from error

    command = record_command(runner, request, output, given)
    environment = os.environ | {
        # This package, wherever it was imported from, and the packages beside it.
        "PYTHONPATH": os.pathsep.join(
            [str(Path(__file__).resolve().parent.parent), os.environ.get("PYTHONPATH", "")]
        ).rstrip(os.pathsep),
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        # On a GPU, TF32 would round every matrix product to 10 bits.
        "NVIDIA_TF32_OVERRIDE": "0",
        "PYTHONUNBUFFERED": "1",
    }
    log = output.with_name(output.name + ".log")
    output.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w+", encoding="utf-8") as errors:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                say(line.rstrip())
        if child.returncode != 0:
            errors.seek(0)
            raise HarnessError(_explain(runner, child.returncode, errors.read()))
    result = load_result(output)
    say(f"{runner} {request.dtype}: {result.manifest.peak_memory_bytes / 2**30:.1f} GiB at most")
    return result


def record_command(runner: str, request: Request, output: Path, given: Path | None) -> list[str]:
    """The ``parity record`` command line of a request."""
    command = [sys.executable, "-m", "parity", "record", request.model]
    command += ["--runner", runner, "--image", str(request.image), "--dtype", request.dtype]
    command += ["--levels", ",".join(request.levels) or "logits", "--output", str(output)]
    if request.size is not None:
        command += ["--size", str(request.size)]
    if request.saved_model is not None:
        command += ["--saved-model", str(request.saved_model)]
    if given is not None:
        command += ["--given", str(given)]
    return command


def _explain(runner: str, code: int, errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.strip()]
    if code == READABLE and lines:
        # The child has already put it in words: its last paragraph, without its own prefix.
        starts = [i for i, line in enumerate(lines) if line.startswith("parity: ")]
        if starts:
            return "\n".join(lines[starts[-1] :]).removeprefix("parity: ")
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    hint = " (signal 9 is often the system running out of memory)" if code == -9 else ""
    return f"{runner} {how}{hint}. Its last words:\n" + "\n".join(lines[-TAIL:])
