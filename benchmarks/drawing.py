"""Charts for the documents, as SVG files: no script, legible on a light page and on a dark one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, PANEL, LEFT, RIGHT, TOP, LINE = 760, 300, 64, 24, 40, 22
INK, GRID = "#333", "#ddd"
# Told apart with the common kinds of colour blindness: Okabe and Ito's palette.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: in the legend.
        points: (x, y), in the order of x.
        dashed: drawn thin, without dots.
    """

    name: str
    points: Sequence[tuple[float, float]]
    dashed: bool = False


class Bar(NamedTuple):
    """One bar of a chart.

    Attributes:
        name: on its left.
        value: its length.
        ours: drawn in the first colour.
        low, high: a whisker.
    """

    name: str
    value: float
    ours: bool
    low: float
    high: float


def step_of(highest: float) -> float:
    """Return a round step that divides an axis from 0 to `highest` into four to ten."""
    if highest <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(highest))
    return next(step * power for step in (1, 0.5, 0.25, 0.2, 0.1) if highest / (step * power) >= 4)


def lines_svg(title: str, across: str, up: str, series: Sequence[Series]) -> str:
    """Draw lines from the origin.

    Raises:
        ValueError: there is no point to draw.
    """
    points = [point for line in series for point in line.points]
    if not points:
        raise ValueError("There is no point to draw.")
    right, top = (max(point[axis] for point in points) or 1.0 for axis in (0, 1))
    top *= 1.05

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (WIDTH - LEFT - RIGHT) * x / right, TOP + PANEL * (1 - y / top)

    parts = []
    for value in ticks(top):
        _, level = place(0, value)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="{GRID}"/>'
        )
        parts.append(f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value in ticks(right):
        x, _ = place(value, 0)
        parts.append(f'<text x="{x:.1f}" y="{TOP + PANEL + 16}" text-anchor="middle">{value:g}</text>')
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{TOP + PANEL + 32}" text-anchor="end">{escape(across)}</text>'
    )
    parts.append(f'<text x="{LEFT - 6}" y="{TOP - 8}" text-anchor="end">{escape(up)}</text>')
    for index, line in enumerate(series):
        color = INK if line.dashed else COLORS[index % len(COLORS)]
        placed = [place(*point) for point in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        style = 'stroke-width="1" stroke-dasharray="6 4"' if line.dashed else 'stroke-width="2"'
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" {style}/>')
        for (x, y), (_, value) in zip([] if line.dashed else placed, line.points, strict=False):
            parts.append(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"><title>{value:.4g}</title></circle>'
            )
        y = TOP + PANEL + 48 + LINE * index
        parts.append(f'<line x1="{LEFT}" x2="{LEFT + 24}" y1="{y}" y2="{y}" stroke="{color}" {style}/>')
        parts.append(f'<text x="{LEFT + 32}" y="{y + 4}">{escape(line.name)}</text>')
    return page(title, TOP + PANEL + 48 + LINE * len(series), parts)


def bars_svg(title: str, unit: str, bars: Sequence[Bar]) -> str:
    """Draw horizontal bars in the given order.

    Raises:
        ValueError: there is no bar to draw.
    """
    if not bars:
        raise ValueError("There is no bar to draw.")
    left, right = 250, 90
    span = (WIDTH - left - right) / max(max(bar.value, bar.high) for bar in bars)
    parts = []
    for index, bar in enumerate(bars):
        y = TOP + LINE * index
        middle = y + LINE / 2 - 2
        color = COLORS[0] if bar.ours else "#9aa7b4"
        parts += [
            f'<text x="{left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(bar.name)}</text>',
            f'<rect x="{left}" y="{y}" width="{span * bar.value:.1f}" height="{LINE - 5}" fill="{color}"/>',
            f'<line x1="{left + span * bar.low:.1f}" x2="{left + span * bar.high:.1f}" y1="{middle}" '
            f'y2="{middle}" stroke="{INK}"/>',
            f'<text x="{left + span * max(bar.value, bar.high) + 6:.1f}" y="{middle + 4:.1f}">'
            f"{bar.value:.{0 if bar.value >= 100 else 1}f} {escape(unit)}</text>",
        ]
    return page(title, TOP + LINE * len(bars), parts)


def ticks(highest: float) -> list[float]:
    """Return the marks of an axis from 0."""
    step = step_of(highest)
    return [round(step * index, 10) for index in range(int(highest / step + 1e-9) + 1)]


def page(title: str, height: float, parts: Sequence[str]) -> str:
    """Return the file: a title, and parts on white, whatever the page around it."""
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img" aria-label="{escape(title)}">\n'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="white"/>\n'
        f'<text x="16" y="18" font-weight="bold">{escape(title)}</text>\n{body}\n</svg>\n'
    )
