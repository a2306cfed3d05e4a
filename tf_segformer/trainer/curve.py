"""The learning curve of a training as an SVG picture: the loss above, mIoU below, over the steps."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]

WIDTH, PANEL, LEFT, RIGHT, GAP, TOP = 720, 150, 56, 16, 44, 28
_INK, _GRID, _LOSS, _SCORE = "#333", "#ddd", "#4a6fd0", "#d0702a"


def curve(log: Sequence[dict[str, float]]) -> str:
    """Draw a log.

    Args:
        log: the lines of `log.csv`, as `callbacks.read_log` returns them; at least one.

    Returns:
        The text of an SVG file.

    Raises:
        ValueError: the log is empty.
    """
    if not log:
        raise ValueError("The log holds no line, so there is no curve to draw.")
    last = max(line["step"] for line in log)
    losses = [(line["step"], line["loss"]) for line in log]
    scores = [(line["step"], line["mean_iou"]) for line in log if "mean_iou" in line]
    panels = [_panel("loss", losses, max(value for _, value in losses), last, TOP, _LOSS)]
    if scores:
        panels.append(_panel("mIoU, validation", scores, 1.0, last, TOP + PANEL + GAP, _SCORE, dots=True))
    height = TOP + len(panels) * (PANEL + GAP)
    body = "\n".join(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="12" fill="{_INK}">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def _panel(
    title: str, points: Sequence[Point], top: float, last: float, y: int, color: str, *, dots: bool = False
) -> str:
    """One chart with its axes; `y` is that of its upper edge."""

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        return across, y + PANEL * (1 - value / top if top else 1)

    parts = [f'<text x="{LEFT}" y="{y - 8}" font-weight="bold">{title}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        _, level = place(0, share * top)
        parts += [
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{level:.1f}" y2="{level:.1f}" stroke="{_GRID}"/>',
            f'<text x="{LEFT - 6}" y="{level + 4:.1f}" text-anchor="end">{share * top:.2f}</text>',
        ]
        across, _ = place(share * last, 0)
        anchor = "end" if share == 1 else "middle"
        parts.append(
            f'<text x="{across:.1f}" y="{y + PANEL + 16}" text-anchor="{anchor}">{share * last:.0f}</text>'
        )
    path = " ".join(f"{across:.1f},{level:.1f}" for across, level in (place(*point) for point in points))
    parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"/>')
    if dots:
        for step, value in points:
            across, level = place(step, value)
            parts.append(
                f'<circle cx="{across:.1f}" cy="{level:.1f}" r="3" fill="{color}">'
                f"<title>step {step:.0f}: {value:.4f}</title></circle>"
            )
        step, value = points[-1]
        across, level = place(step, value)
        parts.append(f'<text x="{across:.1f}" y="{level - 8:.1f}" text-anchor="end">{value:.3f}</text>')
    return "\n".join(parts)
