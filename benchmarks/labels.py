"""The label map (`benchmarks.label_map`) at several numbers of classes: part of `python -m benchmarks`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import label_map
from benchmarks.drawing import Series, lines_svg
from benchmarks.measuring import parse_size

DEFAULTS: dict[str, Any] = {
    "sizes": ["640x427"],
    "classes": [150],
    "threads": 2,
    "repeats": 3,
    "no_memory": False,
}


def measure(options: dict[str, Any], models: Path) -> dict[str, Any]:
    """Return "options" and, by number of classes, the rows of `label_map.measure`."""
    options = {**DEFAULTS, **options}
    rows = {}
    for classes in options["classes"]:
        own = {"tasks": ["labels"], "kinds": ["regions"], "logits": [128, 128, classes]}
        rows[str(classes)] = label_map.measure(Namespace(**{**options, **own}))
    return {"options": options, "rows": rows}


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    parts = []
    for classes, rows in result["rows"].items():
        rows = [{**row, "ratio": label_map.ratio_of(row)} for row in rows]
        parts.append(f"**{classes} classes**\n\n{label_map.table(rows)}\n")
    return "\n".join(parts)


def chart(result: dict[str, Any]) -> str:
    """Return an SVG picture: seconds over the pixels."""
    series = []
    for classes, rows in result["rows"].items():
        for side, name in {"ours": "this project", "pytorch": "PyTorch"}.items():
            points = []
            for row in rows:
                height, width = parse_size(row["size"])
                points.append((height * width / 1e6, row["seconds"][side]))
            series.append(Series(f"{name}, {classes} classes", sorted(points)))
    return lines_svg("Label map: seconds", "megapixels", "seconds", series)
