"""How fast is the network alone, pixel values to logits, beside what people run instead?

    python -m benchmarks.network --variants b0 b4 --json network.json

Every side (`benchmarks.sides`) runs in a process of its own, on the same number of threads, and they take
turns (`benchmarks.turns`). A ratio is the median of the ratios of neighbouring runs. A peer that is not
installed or fails is a line of the table; the environment of `make bench` has them all. Each is given the
model as its own guide says, and OpenVINO and ONNX Runtime once more with our fold of the decode head, since
the fold is algebra that any engine can use. The checkpoint is a seeded one, so that no network is needed. The
error is against PyTorch, over the largest logit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.drawing import Bar, bars_svg
from benchmarks.measuring import summary
from benchmarks.models import prepare
from benchmarks.sides import OTHERS, OURS, SIDES, exports_of
from benchmarks.turns import compare
from parity.circumstances import library_versions, machine

Options = dict[str, Any]
# A question's options, where the plan does not say otherwise.
DEFAULTS: Options = {
    "variant": "b0",
    "size": 512,
    "batch": 1,
    "classes": 150,
    "sides": list(SIDES),
    "threads": 2,
    "repeats": 11,
    "together": 4,
}


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Compare the sides on one shape.

    Args:
        options: those of DEFAULTS.
        models: the folder of `benchmarks.models`.

    Returns:
        "options" and "rows", ready for JSON.
    """
    options = {**DEFAULTS, **options}
    work = prepare(models, options["variant"], options["classes"], exports_of(options["sides"]))
    shape = (options["batch"], 3, options["size"], options["size"])
    rows = compare(options["sides"], work, shape, options["threads"], options["repeats"], options["together"])
    return {"options": options, "rows": rows}


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options = result["options"]
    shape = " × ".join(str(options[name]) for name in ("batch", "size", "size"))
    lines = [f"**{options['variant'].upper()}**, images {shape} × 3, {options['classes']} classes", ""]
    lines += ["| | version | median | times ours (quartiles) | error ÷ scale |", "|---|---|---:|---:|---:|"]
    fastest = fastest_of(result["rows"])
    for row in result["rows"]:
        lines.append(line_of(row, fastest))
    remarks: dict[str, list[str]] = {}
    for row in result["rows"]:
        if row["remark"] and not row["problem"]:
            remarks.setdefault(row["remark"], []).append(row["side"])
    lines += [""] + [f"- {'; '.join(names)}: {remark}." for remark, names in remarks.items()]
    return "\n".join([*lines, ""])


def fastest_of(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Return the fastest side of each precision."""
    fastest: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row["seconds"]:
            found = (statistics.median(row["seconds"]), row["side"])
            fastest[row["precision"]] = min(found, fastest.get(row["precision"], found))
    return {precision: name for precision, (_, name) in fastest.items()}


def line_of(row: dict[str, Any], fastest: dict[str, str]) -> str:
    """Return one side's line; the fastest of its precision is bold."""
    name = row["side"]
    if row["problem"] or not row["seconds"]:
        return f"| {name} | | {row['problem'] or 'not measured'} | | |"
    if fastest.get(row["precision"]) == name:
        name = f"**{name}**"
    versions = ", ".join(f"{library} {version}" for library, version in row["versions"].items())
    ratio = str(summary(row["ratios"])) if row["ratios"] else ""
    if ratio and row["against"] != OURS:
        ratio += ", of bfloat16"
    error = "" if row["error"] is None else f"{row['error']:.1e}"
    return f"| {name} | {versions} | {statistics.median(row['seconds']):.3f} s | {ratio} | {error} |"


def chart(result: dict[str, Any]) -> str | None:
    """Return an SVG picture: the sides' medians, fastest first, with their quartiles."""
    options, bars = result["options"], []
    for row in result["rows"]:
        if row["seconds"]:
            median, low, high = summary([1e3 * seconds for seconds in row["seconds"]])
            bars.append(Bar(row["side"], median, row["side"].startswith("this project"), low, high))
    if not bars:
        return None
    title = (
        f"{options['variant'].upper()}, {options['batch']} × {options['size']} × {options['size']}, "
        f"threads: {options['threads']}; milliseconds a call"
    )
    bars.sort(key=lambda bar: bar.value)
    return bars_svg(title, "ms", bars)


def main() -> None:
    """Run the comparison and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["b0", "b4"])
    parser.add_argument("--size", type=int, default=512, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--sides", nargs="+", choices=[*SIDES, *OTHERS], metavar="NAME", default=list(SIDES))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=DEFAULTS["repeats"])
    parser.add_argument("--together", type=int, default=4, help="peers alive at once")
    parser.add_argument("--models", type=Path, help="keep the checkpoints and exports here")
    parser.add_argument("--json", type=Path, help="where to write all measurements")
    arguments = parser.parse_args()
    options = {name: getattr(arguments, name) for name in DEFAULTS if name != "variant"}
    results = {}
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        for variant in arguments.variants:
            models = (arguments.models or Path(folder)).resolve()
            results[variant] = measure({**options, "variant": variant}, models)
            print(report(results[variant]), flush=True)
    if arguments.json:
        content = {"machine": machine(), "versions": library_versions(), "results": results}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
