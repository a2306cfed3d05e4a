"""Answers questions one after the other, each in processes of its own; writes the results after each."""

from __future__ import annotations

import os
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import answers, documents
from benchmarks.measuring import cores_in_use, process, quiet, with_onednn
from benchmarks.plans import Question
from benchmarks.turns import describe

# Not known to these modules: they count threads themselves, or take none.
WITHOUT_THREADS = {"concurrency"}


def answer(question: Question, threads: int, models: Path, log: Path, connection: Any) -> None:
    """Answer one question; runs in a process of its own.

    What it prints is progress. What libraries print, here and in the processes it makes, goes to the log.
    """
    quiet()
    with_onednn()
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8")
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), 2)
    module = import_module(f"benchmarks.{question.module}")
    options = dict(question.options)
    if question.module not in WITHOUT_THREADS:
        options["threads"] = threads
    try:
        found = {"result": module.measure(options, models)}
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        traceback.print_exc(file=sys.__stderr__)
        found = {"problem": describe(error)}
    connection.send(found)


def run(questions: list[Question], results: dict[str, Any], path: Path, threads: int, models: Path) -> None:
    """Answer what is not answered yet; write the results after each question."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, question in enumerate(questions, 1):
        head = f"[{number} of {len(questions)}] {question.key}: {question.title}"
        if answers.is_answered(results, question):
            print(f"{head}: answered before.", file=sys.stderr, flush=True)
            continue
        print(f"{head} …", file=sys.stderr, flush=True)
        in_use, started = cores_in_use(), time.monotonic()
        with process(answer, question, threads, models, path.with_suffix(".log")) as connection:
            try:
                found = connection.recv()
            except EOFError:
                found = {"problem": "its process ended without an answer; see the log"}
        answers.record(results, question, started, in_use, found)
        answers.write(path, results)
        taken = results["answers"][question.key]["seconds"]
        print(f"{head}: {'failed' if 'problem' in found else 'done'} in {taken:.0f} s.", file=sys.stderr)
        one = {**results, "answers": {question.key: results["answers"][question.key]}}
        try:
            print(documents.tables(one).partition("\n\n")[2] + "\n", flush=True)
        except Exception:  # the answer is on disk, and `--from` can show it later
            traceback.print_exc()
