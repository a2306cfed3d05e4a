"""Everything about speed, memory and size, against what people run instead, in one run.

    make bench                        # minutes
    make bench-full                   # hours
    python -m benchmarks --plan full --resume --write docs/performance.md README.md

Questions (`benchmarks.plans`) are answered one after the other, each in processes of its own, and the results
are written after each. An interrupted run goes on with --resume. A peer that is not installed or fails is a
line of a table; of a question that fails it is said, and the next is asked. `--write` puts tables and
pictures into documents, between their markers; with `--from`, an earlier run's, and nothing is measured.
The plan "trial" asks every kind of question once and small, to see that all of it runs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from benchmarks import answers, documents
from benchmarks.plans import PLANS
from benchmarks.runner import run

OUTPUT = Path("out/bench")


def arguments() -> argparse.Namespace:
    """Read the command line; what cannot work is refused before anything is measured."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    keys = list(dict.fromkeys(question.key for plan in PLANS.values() for question in plan))
    parser.add_argument("--plan", choices=PLANS, default="quick")
    parser.add_argument("--only", nargs="+", choices=keys, metavar="QUESTION", help=", ".join(keys))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of every side")
    parser.add_argument("--json", type=Path, help=f"the results (default {OUTPUT}/PLAN.json)")
    parser.add_argument("--resume", action="store_true", help="keep what the results have already")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="measure nothing; several count as one",
    )
    parser.add_argument("--write", nargs="+", type=Path, default=[], metavar="FILE", help="documents")
    parser.add_argument("--keep-models", action="store_true", help=f"leave {OUTPUT}/models on the disk")
    options = parser.parse_args()
    options.json = options.json or (options.source or [OUTPUT / f"{options.plan}.json"])[0]
    options.questions = [q for q in PLANS[options.plan] if not options.only or q.key in options.only]
    try:
        if options.threads < 1:
            raise ValueError(f"--threads is {options.threads}; expected 1 or more.")
        if not options.questions:
            raise ValueError(f"the plan {options.plan!r} has none of {', '.join(options.only)}.")
        for path in options.write:
            check(path)
        options.results = results_of(options)
    except (OSError, ValueError, answers.AnswersError) as error:
        parser.error(str(error))
    return options


def check(path: Path) -> None:
    """Refuse a document without the markers.

    Raises:
        ValueError: it has none, or not in pairs.
    """
    document = path.read_text(encoding="utf-8")
    names = documents.names_in(document) or [documents.TABLES]
    for name in names:
        try:
            documents.between_markers(document, name, "")
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def results_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the results to begin with."""
    if options.source:
        return answers.combined([answers.read(path) for path in options.source])
    fresh = answers.new(options.plan, options.threads)
    return answers.resumed(options.json, fresh) if options.resume else fresh


def main() -> None:
    """Measure, print the tables, and write what was asked for."""
    options = arguments()
    models = (OUTPUT / "models").resolve()
    if not options.source:
        try:
            run(options.questions, options.results, options.json, options.threads, models)
        except KeyboardInterrupt:
            print(
                f"\nInterrupted. What was answered is in {options.json}; go on with --resume.",
                file=sys.stderr,
            )
            raise SystemExit(130) from None
        if not options.keep_models:
            shutil.rmtree(models, ignore_errors=True)
    pictures = options.json.with_suffix("")
    documents.write_pictures(options.results, pictures)
    page = options.json.with_suffix(".md")
    page.write_text(documents.tables(options.results, pictures=pictures.name) + "\n", encoding="utf-8")
    print(f"The tables are in {page}; every measured time: {options.json}", file=sys.stderr)
    if not options.source:
        print(f"What the libraries printed: {options.json.with_suffix('.log')}", file=sys.stderr)
    for path in options.write:
        documents.write(options.results, path)
        print(f"The tables are in {path}.", file=sys.stderr)
    if any("problem" in found for found in options.results["answers"].values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
