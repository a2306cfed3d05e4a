"""What a run has answered, on disk after every question: an interrupted run loses no more than one."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from benchmarks.plans import Question
from parity.circumstances import library_versions, machine

BUSY = 0.3  # of the cores in use before a question


class AnswersError(Exception):
    """A file of results that cannot be gone on with; the message says what to do."""


def new(plan: str, threads: int) -> dict[str, Any]:
    """Return the results of a run that has answered nothing yet."""
    return {
        "plan": plan,
        "threads": threads,
        "machine": machine(),
        "versions": library_versions(),
        "answers": {},
    }


def read(path: Path) -> dict[str, Any]:
    """Read results.

    Raises:
        AnswersError: there are none, or the file holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AnswersError(f"{path} cannot be read: {error}. Run without --resume and --from.") from error
    if not isinstance(content, dict) or not isinstance(content.get("answers"), dict):
        raise AnswersError(f"{path} holds no results of `python -m benchmarks`. Name another file.")
    return content


def resumed(path: Path, fresh: dict[str, Any]) -> dict[str, Any]:
    """Return the results of an interrupted run of the same kind, or fresh ones if there is no file.

    Raises:
        AnswersError: the file is of another machine, other versions, or another plan.
    """
    if not path.exists():
        return fresh
    found = read(path)
    for name in ("plan", "threads", "machine", "versions"):
        if found.get(name) != fresh[name]:
            raise AnswersError(
                f"{path} was measured with another {name}: {found.get(name)}, now {fresh[name]}. "
                "Move it away, or run without --resume."
            )
    return found


def combined(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return several runs' results as one; where two answer the same question, the later one counts.

    Raises:
        AnswersError: they are of different machines, versions or numbers of threads.
    """
    first = runs[0]
    if len(runs) == 1:
        return first
    found: dict[str, Any] = {}
    for run in runs:
        for name in ("threads", "machine", "versions"):
            if run.get(name) != first.get(name):
                raise AnswersError(
                    f"The results to combine were measured with another {name}: {first.get(name)} and "
                    f"{run.get(name)}. Give those of one machine and environment."
                )
        for key, answer in run["answers"].items():
            found[key] = {**answer, "plan": run["plan"]}
    return {**first, "answers": found}


def is_answered(results: dict[str, Any], question: Question) -> bool:
    """Whether the question was answered with these options."""
    answer = results["answers"].get(question.key)
    return bool(answer) and answer["options"] == question.options and "result" in answer


def record(
    results: dict[str, Any], question: Question, started: float, in_use: float, answer: dict[str, Any]
) -> None:
    """Add an answer, {"result": …} or {"problem": …}."""
    results["answers"][question.key] = {
        "module": question.module,
        "title": question.title,
        "options": question.options,
        "cores_in_use_before": in_use,
        "seconds": round(time.monotonic() - started, 1),
        **answer,
    }


def write(path: Path, results: dict[str, Any]) -> None:
    """Replace the file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    unfinished.replace(path)


def busy(in_use: float, cores: int) -> bool:
    """Whether the machine did something else when a question began."""
    return in_use > BUSY * cores
