"""The label map (`benchmarks.label_map`) at several numbers of classes: part of `python -m benchmarks`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import label_map
from benchmarks.drawing import Series, lines_svg
from benchmarks.measuring import available_memory, parse_size

DEFAULTS: dict[str, Any] = {
    "sizes": ["640x427"],
    "classes": [150],
    "threads": 2,
    "repeats": 3,
    "no_memory": False,
}


def measure(options: dict[str, Any], models: Path) -> dict[str, Any]:
    """Return "options" and, by number of classes, the rows of `label_map.measure`.

    Sizes at which PyTorch's resized logits would not fit into memory twice are left out.
    """
    options = {**DEFAULTS, **options}
    rows = {}
    for classes in options["classes"]:
        own: dict[str, Any] = {"tasks": ["labels"], "kinds": ["regions"], "logits": [128, 128, classes]}
        own["sizes"] = [
            size for size in options["sizes"] if 2 * resized_bytes(size, classes) < available_memory()
        ]
        rows[str(classes)] = label_map.measure(Namespace(**{**options, **own}))
    return {"options": options, "rows": rows}


def resized_bytes(size: str, classes: int) -> int:
    """Return the bytes of float32 logits at a photograph's size."""
    height, width = parse_size(size)
    return 4 * classes * height * width


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    parts = []
    for classes, rows in result["rows"].items():
        left_out = [size for size in result["options"]["sizes"] if size not in {r["size"] for r in rows}]
        rows = [{**row, "ratio": label_map.ratio_of(row)} for row in rows]
        parts.append(f"**{classes} classes**\n\n{label_map.table(rows)}\n")
        if left_out:
            parts.append(f"Left out, as PyTorch would need too much memory: {', '.join(left_out)}.\n")
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
