"""The exact pixels and labels, how fast and in how much memory: all of it, in one run.

    python -m benchmarks.pixels --json pixels.json --write docs/performance.md

The resize against Pillow's (`benchmarks.resize`), the label map against PyTorch's (`benchmarks.label_map`),
and the whole request from bytes to PNG against Pillow, transformers and PyTorch (`benchmarks.request`), at
three sizes of photograph. Each question is answered in processes of its own, its sides in turns. It takes
minutes, most of them PyTorch's; a run on a busy machine says that it was one.

`--write FILE` puts the tables between the two lines of FILE that are comments with this module's name.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import parse_size, process, with_onednn
from parity.circumstances import library_versions, machine

SIZES = ["640x427", "2048x1536", "4000x3000"]
BEGIN, END = "<!-- benchmarks.pixels begins -->", "<!-- benchmarks.pixels ends -->"
BUSY = 0.3  # of the cores in use before a run begins


def resize(options: Namespace, connection: Any) -> None:
    """Send the answer, and its table; runs in a process of its own. So do the other two."""
    from benchmarks.resize import TASKS, measure, table

    own = Namespace(tasks=list(TASKS), filters=["BILINEAR"], target="512x512", memory=not options.no_memory)
    rows = measure(joined(options, own, repeats=3 * options.repeats))
    connection.send((rows, table(rows)))


def label_map(options: Namespace, connection: Any) -> None:
    from benchmarks.label_map import measure, table

    rows = measure(joined(options, Namespace(tasks=["labels"], kinds=["regions"], logits=[128, 128, 150])))
    connection.send((rows, table(rows)))


def request(options: Namespace, connection: Any) -> None:
    from benchmarks.request import measure, report

    result = measure(joined(options, Namespace(variant="b0", work=options.work)))
    connection.send((result, report(result)))


QUESTIONS: dict[str, tuple[str, Callable[[Namespace, Any], None]]] = {
    "resize": ("Resize to 512 × 512", resize),
    "label_map": ("Label map of 150 classes, from 128 × 128 logits", label_map),
    "request": ("The whole request, B0: bytes to PNG", request),
}
DEFAULTS = {"questions": list(QUESTIONS), "sizes": SIZES, "threads": 2, "repeats": 5, "no_memory": False}


def joined(options: Namespace, own: Namespace, **changes: Any) -> Namespace:
    """Return a question's options: those of this command, its own, and changes."""
    return Namespace(**{**vars(options), **vars(own), **changes})


def measure(options: Namespace) -> tuple[dict[str, Any], str]:
    """Return the answers as data and as Markdown."""
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": library_versions(),
        "command": command(options),
        "sizes": options.sizes,
        "threads": options.threads,
        "repeats": options.repeats,
        "load_before": os.getloadavg()[0],
    }
    if busy(result):
        print(f"This machine is busy (load {result['load_before']:.1f}).", file=sys.stderr, flush=True)
    sections = [circumstances(result)]
    for name in options.questions:
        title, question = QUESTIONS[name]
        with process(question, options) as connection:
            try:
                result[name], text = connection.recv()
            except EOFError:
                raise SystemExit(f"{name} failed; what went wrong is above. Nothing was written.") from None
        sections.append(f"### {title}\n\n{text.strip()}")
    return result, "\n\n".join(sections)


def command(options: Namespace) -> str:
    """Return the command that measures the same again."""
    parts = ["python -m benchmarks.pixels"]
    for name in ("questions", "sizes", "threads", "repeats", "no_memory"):
        value = getattr(options, name)
        if value != DEFAULTS[name]:
            words = value if isinstance(value, list) else [] if value is True else [str(value)]
            parts += ["--" + name.replace("_", "-"), *words]
    return " ".join(parts)


def busy(result: dict[str, Any]) -> bool:
    return result["load_before"] > BUSY * int(result["machine"]["cores"])


def circumstances(result: dict[str, Any]) -> str:
    """Return the sentences above the tables."""
    where = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    text = (
        f"`{result['command']}`: {where['processor']}, {where['cores']} cores, {result['threads']} threads; "
        f"{versions}. Medians of {result['repeats']} repetitions, {3 * result['repeats']} of the resize; "
        "ratios are medians of pairs, quartiles in brackets."
    )
    if busy(result):
        text += f" **The machine was busy**: its load was {result['load_before']:.1f} before the run."
    return text


def between_markers(document: str, text: str) -> str:
    """Return the document with the text in place of what is between the two markers.

    Raises:
        ValueError: the document has not one of each, in this order.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise ValueError(f"expected one line {BEGIN!r} and, below it, one line {END!r}.")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def main() -> None:
    """Measure, print the tables, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", nargs="+", choices=QUESTIONS)
    parser.add_argument("--sizes", nargs="+", metavar="WIDTHxHEIGHT")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--work", type=Path, help="keep the checkpoint and the export here")
    parser.add_argument("--json", type=Path, help="also write every measured time here")
    parser.add_argument("--write", type=Path, metavar="FILE", help="also put the tables into this document")
    parser.set_defaults(**DEFAULTS)
    options = parser.parse_args()
    try:
        for size in options.sizes:
            parse_size(size)
        if options.write:  # before the minutes, not after
            between_markers(options.write.read_text(encoding="utf-8"), "")
    except (OSError, ValueError) as error:
        parser.error(f"{options.write or options.sizes}: {error}")
    with_onednn()
    result, text = measure(options)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"\nEvery measured time: {options.json}", file=sys.stderr)
    if options.write:
        document = between_markers(options.write.read_text(encoding="utf-8"), text)
        options.write.write_text(document, encoding="utf-8")
        print(f"The tables are in {options.write}.", file=sys.stderr)


if __name__ == "__main__":
    main()
