"""How does the cost grow with pixels, with the batch, and with classes?

The same comparison as `benchmarks.network`, at one value after the other. With the pixels, attention's two
products grow quadratically and all else linearly: they are timed alone, in turns with the network, so that
what is left can be seen to be a straight line. Part of `python -m benchmarks`.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks import network
from benchmarks.drawing import Series, lines_svg
from benchmarks.multiply_adds import ATTENTION, count
from benchmarks.sides import ATTENTION_ALONE, EAGER, OURS

Options = dict[str, Any]
TITLES = {"size": "image", "batch": "images", "classes": "classes"}
DEFAULTS: Options = {**network.DEFAULTS, "axis": "size", "values": [512, 1024], "sides": [OURS, EAGER]}


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Compare at each value.

    Args:
        options: those of DEFAULTS; "axis" is one of TITLES, and "values" are its.
        models: the folder of `benchmarks.models`.

    Returns:
        "options", "values" (a result of `network.measure` each) and "counts" (of the folded network).
    """
    from tf_segformer import variant_config

    options = {**DEFAULTS, **options}
    axis = options["axis"]
    sides = [*options["sides"], *([ATTENTION_ALONE] if axis == "size" else [])]
    shared = {name: options[name] for name in network.DEFAULTS}
    result: dict[str, Any] = {"options": options, "values": {}, "counts": {}}
    for value in options["values"]:
        asked = {**shared, "sides": sides, axis: value}
        config = variant_config(asked["variant"], num_labels=asked["classes"])
        size = (asked["size"], asked["size"])
        result["counts"][str(value)] = count(config, size, asked["batch"], folded=True)
        result["values"][str(value)] = network.measure(asked, models)
    return result


def medians(result: dict[str, Any]) -> dict[str, dict[int, float]]:
    """Return the median seconds by side and value."""
    found: dict[str, dict[int, float]] = {}
    for value, answer in result["values"].items():
        for row in answer["rows"]:
            if row["seconds"]:
                found.setdefault(row["side"], {})[int(value)] = statistics.median(row["seconds"])
    return found


def per_unit(axis: str, value: int, seconds: float) -> float:
    """Return seconds a megapixel, or an image."""
    return seconds / {"size": value**2 / 1e6, "batch": value, "classes": 1}[axis]


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options, found = result["options"], medians(result)
    axis, values = options["axis"], [int(value) for value in result["values"]]
    unit = {"size": ", a megapixel", "batch": ", an image", "classes": ""}[axis]
    names = [name for name in found if name != ATTENTION_ALONE]
    with_attention = axis == "size" and ATTENTION_ALONE in found and OURS in found
    heads = [f"{name}{unit}" for name in names]
    if with_attention:
        heads += ["attention's products alone", "exported, the rest, a megapixel", "multiply-adds: attention"]
    lines = [f"**{options['variant'].upper()}**, threads: {options['threads']}, seconds", ""]
    lines += [f"| {TITLES[axis]} | " + " | ".join(heads) + " |", "|---:|" + "---:|" * len(heads)]
    for value in values:
        cells = [
            f"{per_unit(axis, value, found[name][value]):.4f}" if value in found[name] else "–"
            for name in names
        ]
        if with_attention:
            cells += attention_cells(result, found, value)
        label = f"{value} × {value}" if axis == "size" else str(value)
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    problems = {
        (row["side"], row["problem"])
        for answer in result["values"].values()
        for row in answer["rows"]
        if row["problem"]
    }
    return "\n".join([*lines, "", *(f"- {name}: {problem}" for name, problem in sorted(problems))])


def attention_cells(result: dict[str, Any], found: dict[str, dict[int, float]], value: int) -> list[str]:
    """Return the last cells of a line: attention alone, the rest, and its share of the multiply-adds."""
    counts = result["counts"][str(value)]
    share = f"{100 * counts[ATTENTION] / sum(counts.values()):.0f} %"
    if value not in found[OURS] or value not in found[ATTENTION_ALONE]:
        return ["–", "–", share]
    alone = found[ATTENTION_ALONE][value]
    rest = per_unit("size", value, found[OURS][value] - alone)
    return [f"{alone:.4f}", f"{rest:.4f}", share]


def chart(result: dict[str, Any]) -> str | None:
    """Return an SVG picture: seconds over the values."""
    options, found = result["options"], medians(result)
    axis = options["axis"]

    def along(value: int) -> float:
        return value**2 / 1e6 if axis == "size" else value

    series = [
        Series(name, [(along(value), seconds) for value, seconds in sorted(points.items())])
        for name, points in found.items()
    ]
    if axis == "size" and ATTENTION_ALONE in found and OURS in found:
        both = sorted(found[OURS].keys() & found[ATTENTION_ALONE].keys())
        rest = [(along(value), found[OURS][value] - found[ATTENTION_ALONE][value]) for value in both]
        if rest:
            series.append(Series(f"{OURS}, without attention's products", rest))
            slope = rest[0][1] / rest[0][0]
            straight = [(x, slope * x) for x in (0.0, rest[-1][0])]
            series.append(Series("in proportion to the pixels", straight, dashed=True))
    title = f"{options['variant'].upper()}: seconds a call, threads: {options['threads']}"
    across = {"size": "megapixels", "batch": "images in a batch", "classes": "classes"}[axis]
    return lines_svg(title, across, "seconds", series) if series else None
