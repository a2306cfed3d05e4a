"""What hangs on or stands against walls: windows, doors, pictures, curtains, the fronts of cabinets.

All are painted on a wall's region, whether it faces the camera or runs into the depth.
"""

from __future__ import annotations

import numpy as np

from tf_segformer.scenes import noise
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import anything, lit, mix, pick, wood
from tf_segformer.scenes.surfaces import Paint, mix_each

Rectangle = tuple[float, float, float, float]  # left, bottom, width, height in metres


def paint_on(canvas: Canvas, wall: Region, at: Rectangle, paint: Paint, name: str) -> None:
    """Paint a rectangle of a wall; the paint's u, v are shares of the rectangle, from its lower left."""
    left, bottom, width, height = at
    u, v = (wall.u - np.float32(left)) / np.float32(width), (wall.v - np.float32(bottom)) / np.float32(height)
    inside = (u >= 0) & (u <= 1) & (v >= 0) & (v <= 1) & wall.mask
    rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
    if not len(rows):
        return
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    u, v, inside = (np.broadcast_to(each, wall.mask.shape)[box] for each in (u, v, inside))
    depth = np.broadcast_to(wall.depth, wall.mask.shape)[box]
    region = Region(
        slice(wall.rows.start + box[0].start, wall.rows.start + box[0].stop),
        slice(wall.columns.start + box[1].start, wall.columns.start + box[1].stop),
        u,
        v,
        inside,
        depth,
    )
    canvas.paint(region, paint(region), name)


def window(rng: np.random.Generator) -> Paint:
    """A frame with glazing bars, and light behind."""
    frame = pick(rng, (0.05, 0.12), (0.0, 0.2), (0.7, 1.0))
    top = pick(rng, (0.5, 0.62), (0.1, 0.5), (0.8, 1.1))
    low = pick(rng, (0.5, 0.62), (0.0, 0.25), (0.85, 1.1))
    columns, rows, bar = int(rng.integers(2, 4)), int(rng.integers(2, 4)), rng.uniform(0.03, 0.05)
    glare = rng.uniform(0, 0.5)

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        bars = _near_line(u, columns, bar) | _near_line(v, rows, bar)
        view = mix(low, top, v)
        streak = np.clip(1 - np.abs(u - v * 0.6 - 0.1) * 6, 0, 1) * glare
        return np.where(bars[..., None], frame, mix_each(view, np.ones(3, np.float32), streak))

    return paint


def door(rng: np.random.Generator) -> Paint:
    """A leaf in a frame, with sunk panels and a handle."""
    leaf, handle = wood(rng, (0.3, 0.65)), anything(rng, (0.6, 1.0))
    frame, deep = lit(leaf, rng.choice([0.6, 1.35])), lit(leaf, rng.uniform(0.6, 0.8))
    panels, columns, handle_left = rng.integers(2, 4), rng.integers(1, 3), rng.random() < 0.5

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        edge = (u < 0.07) | (u > 0.93) | (v > 0.965)
        inner_u, inner_v = (u - 0.07) / 0.86, v / 0.965
        part_u, part_v = (inner_u * columns) % 1, (inner_v * panels) % 1
        sunk = (part_u > 0.2) & (part_u < 0.8) & (part_v > 0.14) & (part_v < 0.86)
        rim = sunk & ((part_u < 0.27) | (part_v > 0.8))
        color = np.where(sunk[..., None], deep, leaf)
        color = np.where(rim[..., None], deep * np.float32(0.65), color)
        at = 0.15 if handle_left else 0.85
        knob = ((u - at) / 0.06) ** 2 + ((v - 0.47) / 0.025) ** 2 < 1
        color = np.where(knob[..., None], handle, color)
        return np.where(edge[..., None], frame, color)

    return paint


def painting(rng: np.random.Generator) -> Paint:
    """A picture of blots in a heavy frame, often with a pale mount."""
    frame, mount = wood(rng, (0.1, 0.5)), lit(np.ones(3, np.float32), rng.uniform(0.85, 1.0))
    colors = [pick(rng, (0, 1), (0.4, 0.9), (0.3, 0.95)) for _ in range(3)]
    border, has_mount = rng.uniform(0.07, 0.12), rng.random() < 0.8
    offset, scale = rng.uniform(0, 200, 2).astype(np.float32), rng.uniform(30, 60)

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        blots = noise.smooth(noise.clouds(), u * scale + offset[0], v * scale + offset[1])
        color = np.where((blots > 0.5)[..., None], colors[0], colors[1])
        color = np.where((blots > 0.64)[..., None], colors[2], color)
        edge = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v))
        if has_mount:
            color = np.where((edge < 2 * border)[..., None], mount, color)
        return np.where((edge < border)[..., None], frame, color)

    return paint


def curtain(rng: np.random.Generator, width: float) -> Paint:
    """Folds: cloth that is light and dark by turns, from top to bottom."""
    cloth, second = pick(rng, (0, 1), (0.4, 0.9), (0.45, 0.95)), anything(rng)
    folds, flare = width / rng.uniform(0.1, 0.16), rng.uniform(-0.15, 0.15)
    striped = rng.random() < 0.3

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        bend = (u - 0.5) * (1 + flare * v) * folds
        light = 0.72 + 0.36 * np.sin(bend * np.float32(2 * np.pi)) + 0.1 * np.sin(bend * np.float32(2.4))
        color = lit(cloth, light)
        if striped:
            bands = (v * 9 % 1 < 0.4)[..., None]
            color = np.where(bands, lit(second, light), color)
        return color

    return paint


def cabinet_front(rng: np.random.Generator, width: float, height: float) -> Paint:
    """Many small doors or drawers, each with a knob; u, v in metres."""
    body, knob = pick(rng, (0.08, 0.14), (0.15, 0.5), (0.55, 0.95)), anything(rng, (0.1, 0.4))
    gap = lit(body, 0.4)
    columns = max(2, round(width / rng.uniform(0.3, 0.5)))
    rows = max(2, round(height / rng.uniform(0.22, 0.4)))

    def paint(region: Region) -> np.ndarray:
        u, v = region.u / np.float32(width) * columns, region.v / np.float32(height) * rows
        part_u, part_v = u % 1, v % 1
        seam = (part_u < 0.08) | (part_u > 0.94) | (part_v < 0.1) | (part_v > 0.93)
        spot = (np.abs(part_u - 0.5) < 0.14) & (np.abs(part_v - 0.55) < 0.13)
        color = np.where(seam[..., None], gap, body)
        return np.where(spot[..., None], knob, color)

    return paint


def _near_line(u: np.ndarray, parts: int, bar: float) -> np.ndarray:
    """Whether u, 0 to 1, is near one of the lines that part the range, its ends included."""
    at = u * parts
    return np.abs(at - np.round(at)) < bar * parts
