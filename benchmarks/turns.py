"""Sides measured in turns, each in a process of its own; one that fails is a line of the result.

The sides of a group are alive together: this project's exports, and a few others, so that a ratio is that of
neighbouring runs and memory is bounded. Between two runs there is a pause, in which the threads of the side
before stop waiting for more work.
"""

from __future__ import annotations

import re
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import process
from benchmarks.sides import EAGER, OURS, REFERENCES, side

PAUSE = 0.2  # seconds; OpenMP's threads spin this long for more work
PATIENCE = 1800.0  # seconds without an answer, after which a side is given up
Row = dict[str, Any]


class SideError(RuntimeError):
    """A side failed; the message is the last line of its error."""


def serve(name: str, work: Path, shape: tuple[int, ...], threads: int, connection: Any) -> None:
    """Answer "logits", "time" and "memory" until None comes; runs in a process of its own."""
    try:
        network = side(name).build(work, shape, threads)
        values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        given = network.prepare(values)
        connection.send(("done", side(name).versions() | getattr(network, "versions", {})))
        while (asked := connection.recv()) is not None:
            answer = {"logits": network.logits, "time": network.seconds, "memory": network.memory}[asked]
            connection.send(("done", answer(given)))
    except EOFError:
        return  # the parent has given up
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def describe(error: Exception) -> str:
    """Return an error in one line, without the folders of this machine."""
    text = re.sub(r"(?<![\w:/.])(?:/[\w.@+-]+)+/", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text[:200]}{'…' if len(text) > 200 else ''}"


def answer_of(connection: Any, patience: float = PATIENCE) -> Any:
    """Wait for a side's answer.

    Raises:
        SideError: it failed, ended, or did not answer in time.
    """
    try:
        if not connection.poll(patience):
            raise SideError(f"no answer within {patience:.0f} s")
        state, content = connection.recv()
    except (EOFError, ConnectionError):
        raise SideError("its process ended without an answer") from None
    if state == "failed":
        raise SideError(content)
    return content


def ask(connection: Any, what: str, patience: float = PATIENCE) -> Any:
    """Ask a side for "logits", "time" or "memory"."""
    try:
        connection.send(what)
    except (BrokenPipeError, ConnectionError):
        raise SideError("its process ended") from None
    return answer_of(connection, patience)


def groups(names: Sequence[str], together: int) -> Iterator[list[str]]:
    """Divide sides into groups: this project's exports in each, and at most `together` others."""
    ours = [name for name in names if name in REFERENCES.values()]
    others = [name for name in names if name not in ours]
    for start in range(0, max(1, len(others)), together):
        yield [*ours, *others[start : start + together]]


def compare(
    names: Sequence[str], work: Path, shape: tuple[int, ...], threads: int, repeats: int, together: int = 4
) -> list[Row]:
    """Time sides in turns.

    Args:
        names: of the sides, in the order of the table.
        work: a variant's folder of `benchmarks.models`.
        shape: of the pixel values, (N, 3, H, W).
        threads: of every side.
        repeats: rounds that count; one before them warms up.
        together: how many peers are alive at once, beside this project's exports.

    Returns:
        A row a side: "seconds" (every time), "ratios" (those of neighbouring runs, this side's time over that
        of the export of its precision, "against"), "error" (of the logits to PyTorch's, over the largest;
        None where there is nothing to compare), "versions", "remark"; "problem", if it was not measured.
    """
    rows: dict[str, Row] = {name: new_row(name) for name in names}
    for name in names:
        rows[name]["problem"] = side(name).missing(work)
    able = [name for name in names if not rows[name]["problem"]]
    logits: dict[str, np.ndarray] = {}
    for group in groups(able, together):
        group = [name for name in group if not rows[name]["problem"]]
        times = time_group(group, rows, logits, work, shape, threads, repeats)
        for name, seconds in times.items():
            reference = REFERENCES[side(name).precision]
            base = times.get(reference) or times.get(OURS)
            rows[name]["against"] = reference if times.get(reference) else OURS
            rows[name]["seconds"] += seconds
            if base and len(base) == len(seconds):
                rows[name]["ratios"] += [a / b for a, b in zip(seconds, base, strict=True)]
    for name, row in rows.items():
        if name in logits and EAGER in logits and side(name).comparable:
            row["error"] = relative_error(logits[name], logits[EAGER])
    return list(rows.values())


def new_row(name: str) -> Row:
    """Return the row of a side that has not been measured."""
    return {
        "side": name,
        "precision": side(name).precision,
        "remark": side(name).remark,
        "problem": None,
        "seconds": [],
        "ratios": [],
        "error": None,
        "versions": {},
        "until_ready": None,
    }


def time_group(
    group: list[str],
    rows: dict[str, Row],
    logits: dict[str, np.ndarray],
    work: Path,
    shape: tuple[int, ...],
    threads: int,
    repeats: int,
) -> dict[str, list[float]]:
    """Time one group; problems, versions and logits are put where they belong."""
    times: dict[str, list[float]] = {}
    with ExitStack() as stack:
        alive: dict[str, Any] = {}

        def drop(name: str, error: SideError) -> None:
            say(f"{name}: {error}")
            rows[name]["problem"] = str(error)
            rows[name]["seconds"], rows[name]["ratios"] = [], []
            alive.pop(name, None)
            times.pop(name, None)

        for name in group:
            say(f"{name} …")
            start = time.perf_counter()
            connection = stack.enter_context(process(serve, name, work, shape, threads))
            try:
                rows[name]["versions"] = answer_of(connection)
                logits[name] = ask(connection, "logits")
            except SideError as error:
                drop(name, error)
                continue
            rows[name]["until_ready"] = time.perf_counter() - start
            alive[name], times[name] = connection, []
        for repeat in range(repeats + 1):
            say(f"round {repeat} of {repeats} …")
            for name, connection in list(alive.items()):
                time.sleep(PAUSE)
                try:
                    taken = ask(connection, "time")
                except SideError as error:
                    drop(name, error)
                    continue
                if repeat:  # the first only warms up
                    times[name].append(taken)
        for connection in alive.values():
            connection.send(None)
    return times


def relative_error(logits: np.ndarray, reference: np.ndarray) -> float | None:
    """Return the largest difference over the largest logit; None for other shapes."""
    if logits.shape != reference.shape:
        return None
    return float(np.abs(logits - reference).max() / np.abs(reference).max())


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
