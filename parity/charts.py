"""Charts for reports, as inline SVG: no script, no other file, the page's own colours and font."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

WIDTH, HEIGHT = 420, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 8, 8, 10, 22


@dataclass(frozen=True)
class Histogram:
    """Two samples counted in the same bins.

    Attributes:
        edges: float (n + 1,).
        reference: int (n,).
        candidate: int (n,).
    """

    edges: np.ndarray
    reference: np.ndarray
    candidate: np.ndarray


def histogram_of(reference: np.ndarray, candidate: np.ndarray, bins: int = 60) -> Histogram | None:
    """Count the finite values of both arrays on their shared range; None if there are none."""
    values = [np.asarray(a, np.float64)[np.isfinite(a)] for a in (reference, candidate)]
    filled = [v for v in values if v.size]
    if not filled:
        return None
    low, high = min(v.min() for v in filled), max(v.max() for v in filled)
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    counts = [np.histogram(v, edges)[0] for v in values]
    return Histogram(edges, *counts)


def histogram_svg(histogram: Histogram, title: str) -> str:
    """Both samples in one chart: the reference filled, the candidate a line on it."""
    highest = max(1, int(histogram.reference.max()), int(histogram.candidate.max()))
    filled = _steps(histogram.reference, highest)
    line = _steps(histogram.candidate, highest)
    floor = HEIGHT - _BOTTOM
    low, high = (f"{value:.4g}" for value in (histogram.edges[0], histogram.edges[-1]))
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<path class="reference" d="M{_LEFT},{floor} {filled} L{WIDTH - _RIGHT},{floor} Z"/>'
        f'<path class="candidate" d="M{_LEFT},{floor} {line} L{WIDTH - _RIGHT},{floor}"/>'
        f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
        f'<text x="{_LEFT}" y="{HEIGHT - 6}">{low}</text>'
        f'<text x="{WIDTH - _RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{high}</text></svg>'
    )


def error_svg(errors: np.ndarray, gate: float, title: str, decades: int = 8) -> str:
    """How large the errors are: a histogram of log10, its last decade above the gate.

    Args:
        errors: absolute errors of any shape; zeros are counted in the first bin.
        gate: largest error that passes.
        title: said to those who cannot see the chart.
        decades: range of the chart, in powers of ten up to ten gates.
    """
    per_decade = 6
    bins = decades * per_decade
    finite = errors[np.isfinite(errors)]
    top = 10 * gate if gate > 0 else 1.0
    with np.errstate(divide="ignore"):
        place = (np.log10(finite / top) + decades) * per_decade
    counts = np.bincount(np.clip(place, 0, bins - 1).astype(int), minlength=bins)
    counts[-1] += errors.size - finite.size
    highest = max(1, int(counts.max()))
    floor, span = HEIGHT - _BOTTOM, WIDTH - _LEFT - _RIGHT
    bars = []
    for index, count in enumerate(counts):
        if count:
            # The root of the count: a single value beyond the gate must be seen among millions.
            height = max(2.0, math.sqrt(count / highest) * (floor - _TOP))
            failing = " failing" if index >= bins - per_decade else ""
            x = _LEFT + span * index / bins
            bars.append(
                f'<rect class="bar{failing}" x="{x:.1f}" y="{floor - height:.1f}" '
                f'width="{span / bins - 0.6:.1f}" height="{height:.1f}"/>'
            )
    gate_x = _LEFT + span * (bins - per_decade) / bins
    lowest = f"{top / 10.0**decades:.0e}"
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">'
        + "".join(bars)
        + f'<line class="gate" x1="{gate_x:.1f}" x2="{gate_x:.1f}" y1="{_TOP - 8}" y2="{floor}"/>'
        f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>'
        f'<text x="{_LEFT}" y="{HEIGHT - 6}">≤ {lowest}</text>'
        f'<text x="{gate_x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">gate {gate:.1e}</text></svg>'
    )


def bars_html(rows: Sequence[tuple[str, float, float, str]], names: tuple[str, str]) -> str:
    """Horizontal bars, two a row: for each class what either side has.

    Args:
        rows: label, the reference's value, the candidate's (0 to 1), and a remark.
        names: of the two sides.
    """
    lines = []
    for label, ours, theirs, remark in rows:
        lines.append(
            f'<div class="bars"><span class="bar-label" title="{escape(label)}">{escape(label)}</span>'
            f'<span class="tracks" title="{escape(names[0])} {ours:.6f}, {escape(names[1])} {theirs:.6f}">'
            f'<i class="reference" style="width:{100 * ours:.3f}%"></i>'
            f'<i class="candidate" style="width:{100 * theirs:.3f}%"></i></span>'
            f'<span class="bar-value">{escape(remark)}</span></div>'
        )
    return "".join(lines)


def _steps(counts: np.ndarray, highest: int) -> str:
    """The outline of a histogram as path commands."""
    floor, span = HEIGHT - _BOTTOM, WIDTH - _LEFT - _RIGHT
    x = _LEFT + span * np.arange(len(counts) + 1) / len(counts)
    y = floor - (floor - _TOP) * counts / highest
    return " ".join(f"L{a:.1f},{h:.1f} L{b:.1f},{h:.1f}" for a, b, h in zip(x[:-1], x[1:], y, strict=True))
