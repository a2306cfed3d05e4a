"""A picture for people: the photograph under its class colours, beside a legend."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_segformer.labels import Color, LabelSet

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

PAPER: Color = (250, 250, 248)
INK: Color = (32, 34, 38)
FAINT_INK: Color = (118, 121, 128)
FAINT_LINE: Color = (224, 225, 226)
UNLABELLED: Color = (150, 150, 150)

SMALLEST_SIDE = 480  # a smaller photograph is enlarged, so that the legend beside it is readable


@dataclass(frozen=True)
class ClassShare:
    """One class of a label map: its name, its colour and its share of the pixels, 0 to 1."""

    name: str
    color: Color
    share: float


def class_shares(labels: np.ndarray, label_set: LabelSet) -> list[ClassShare]:
    """Return the classes found in a label map, the largest first.

    Args:
        labels: Integers [height, width]. What is no class of the set (the ignore index, say) is
            counted as "unlabelled".
        label_set: Names and colours.
    """
    classes = len(label_set)
    known = np.where((labels >= 0) & (labels < classes), labels, classes).astype(np.int64)
    counts = np.bincount(known.ravel(), minlength=classes + 1)
    names = (*label_set.names, "unlabelled")
    colors = (*label_set.palette, UNLABELLED)
    order = np.argsort(-counts, kind="stable")
    return [
        ClassShare(names[index], colors[index], counts[index] / labels.size)
        for index in order[: np.count_nonzero(counts)]
    ]


def draw_overlay(
    image: np.ndarray, labels: np.ndarray, label_set: LabelSet, opacity: float = 0.6
) -> Image.Image:
    """Draw a label map over its photograph, with a legend of the classes found.

    Args:
        image: The photograph, uint8 [height, width, 3].
        labels: Its label map, integers [height, width].
        label_set: Names and colours of the classes.
        opacity: How much of the class colour covers the photograph, 0 to 1.

    Returns:
        An RGB picture: the photograph at its own size (small ones enlarged by a whole factor), its
        regions coloured and outlined, and the legend at its right, or below a panorama.

    Raises:
        ValueError: If the photograph or the label map has another shape or dtype, or is empty.
    """
    _check(image, labels, opacity)
    factor = -(-SMALLEST_SIDE // max(labels.shape))
    photograph = Image.fromarray(image)
    if factor > 1:
        size = (photograph.width * factor, photograph.height * factor)
        photograph = photograph.resize(size, Image.Resampling.BICUBIC)
        labels = labels.repeat(factor, axis=0).repeat(factor, axis=1)
    unit = max(13, round(labels.size**0.5 / 46))  # the font's size, and the measure of all else
    painted = _paint(np.asarray(photograph), labels, label_set, opacity, line=max(1, unit // 12))
    return _with_legend(painted, class_shares(labels, label_set), unit)


def write_overlay(
    image: np.ndarray,
    labels: np.ndarray,
    label_set: LabelSet,
    path: str | PathLike[str],
    opacity: float = 0.6,
) -> None:
    """Write `draw_overlay`'s picture to a file; its suffix gives the format (.png, .jpg, …).

    Raises:
        ValueError: As `draw_overlay`, or if the suffix names no format of Pillow's.
        OSError: If the file cannot be written.
    """
    draw_overlay(image, labels, label_set, opacity).save(Path(path))


def _check(image: np.ndarray, labels: np.ndarray, opacity: float) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(
            f"The photograph is {image.dtype} {list(image.shape)}; expected uint8 [height, width, 3]."
        )
    if labels.shape != image.shape[:2] or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"The label map is {labels.dtype} {list(labels.shape)}; expected integers "
            f"{list(image.shape[:2])}, the photograph's own height and width."
        )
    if labels.size == 0:
        raise ValueError("The photograph has no pixels; expected at least one.")
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}; expected a number from 0 to 1.")


def _paint(
    image: np.ndarray, labels: np.ndarray, label_set: LabelSet, opacity: float, line: int
) -> np.ndarray:
    """Colour the regions and outline them; done in bands of rows to keep memory small."""
    palette = np.vstack([label_set.colors(), np.array([UNLABELLED], np.uint8)]).astype(np.float32)
    known = np.where((labels >= 0) & (labels < len(label_set)), labels, len(label_set))
    outline = _boundaries(known, line)
    painted = np.empty_like(image)
    for start in range(0, len(image), 256):
        rows = slice(start, start + 256)
        # Less colourful than it is, the photograph lets the class colours speak.
        photograph = image[rows].astype(np.float32)
        gray = photograph @ np.array([0.299, 0.587, 0.114], np.float32)
        photograph = 0.4 * photograph + 0.6 * gray[..., None]
        mixed = photograph + opacity * (palette[known[rows]] - photograph)
        mixed = np.where(outline[rows, :, None], 0.15 * mixed + 0.85 * 255, mixed)
        painted[rows] = np.rint(mixed)
    return painted


def _boundaries(labels: np.ndarray, line: int) -> np.ndarray:
    """Return a mask of lines, `line` pixels wide, where the label changes."""
    edges = np.zeros(labels.shape, bool)
    edges[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edges[1:] |= labels[1:] != labels[:-1]
    wide = edges.copy()
    for step in range(1, line):
        wide[:-step] |= edges[step:]
        wide[:, :-step] |= edges[:, step:]
    return wide


def _with_legend(painted: np.ndarray, shares: list[ClassShare], unit: int) -> Image.Image:
    height, width = painted.shape[:2]
    margin, row = round(1.4 * unit), round(2.0 * unit)
    font = ImageFont.load_default(unit)
    column = round(_column_width(font, shares, unit))
    head = round(2.4 * unit)
    beside = width < 2 * height
    if beside:
        columns, rows = 1, max(3, (height - head) // row)
    else:
        columns = max(1, (width + margin) // (column + margin))
        rows = max(3, -(-min(len(shares), 8 * columns) // columns))
    lines = _legend_lines(shares, columns * rows)
    rows = min(rows, -(-len(lines) // columns))
    panel_height = head + rows * row
    if beside:
        size = (width + column + 3 * margin, max(height, panel_height) + 2 * margin)
        origin = (width + 2 * margin, margin)
    else:
        size = (max(width, column) + 2 * margin, height + panel_height + 3 * margin)
        origin = (margin, height + 2 * margin)
    canvas = Image.new("RGB", size, PAPER)
    canvas.paste(Image.fromarray(painted), (margin, margin))
    draw = ImageDraw.Draw(canvas)
    found = f"{len(shares)} class{'' if len(shares) == 1 else 'es'}"
    draw.text(origin, found, INK, ImageFont.load_default(round(1.15 * unit)), anchor="la")
    for index, entry in enumerate(lines):
        x = origin[0] + index // rows * (column + margin)
        y = origin[1] + head + index % rows * row
        _draw_row(draw, font, entry, (x, y), column, unit)
    return canvas


def _legend_lines(shares: list[ClassShare], room: int) -> list[ClassShare | str]:
    if len(shares) <= room:
        return list(shares)
    shown = room - 1
    return [*shares[:shown], f"… and {len(shares) - shown} more"]


def _column_width(font: Font, shares: list[ClassShare], unit: int) -> float:
    longest = max(font.getlength(_shortened(entry.name)) for entry in shares)
    return max(1.9 * unit + longest + 1.2 * unit + font.getlength("100.0 %"), 11 * unit)


def _shortened(name: str, length: int = 28) -> str:
    return name if len(name) <= length else name[: length - 1].rstrip() + "…"


def _draw_row(
    draw: ImageDraw.ImageDraw,
    font: Font,
    entry: ClassShare | str,
    corner: tuple[int, int],
    column: int,
    unit: int,
) -> None:
    x, y = corner
    middle = y + round(0.6 * unit)
    text = x + round(1.9 * unit)
    if isinstance(entry, str):
        draw.text((text, middle), entry, FAINT_INK, font, anchor="lm")
        return
    swatch = (x, middle - round(0.6 * unit), x + round(1.2 * unit), middle + round(0.6 * unit))
    border = tuple(round(0.75 * channel) for channel in entry.color)
    draw.rounded_rectangle(swatch, round(0.25 * unit), entry.color, border, max(1, unit // 14))
    percent = f"{100 * entry.share:.1f} %" if entry.share >= 0.0005 else "< 0.1 %"
    draw.text((text, middle), _shortened(entry.name), INK, font, anchor="lm")
    draw.text((x + column, middle), percent, FAINT_INK, font, anchor="rm")
    line = y + round(1.6 * unit)
    draw.line((text, line, x + column, line), FAINT_LINE, max(1, unit // 14))
    reach = text + round(entry.share * (x + column - text))
    draw.line((text, line, reach, line), entry.color, max(2, unit // 6))
