"""Buildings and fences."""

from __future__ import annotations

import numpy as np

from tf_segformer.scenes import noise
from tf_segformer.scenes.boxes import Box, paint_box
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import anything, lit, mix, pick, wood
from tf_segformer.scenes.surfaces import Paint


def paint_building(canvas: Canvas, camera: Camera, rng: np.random.Generator, box: Box) -> None:
    """A block with rows of windows on all sides and a cornice."""
    facade = _facade(rng, box.y[1])
    roof = lit(anything(rng), 0.6)
    paint_box(canvas, camera, box, "building", facade, facade, lambda region: roof)


def _facade(rng: np.random.Generator, height: float) -> Paint:
    wall = pick(rng, (0.0, 0.14), (0.03, 0.5), (0.35, 0.9), wild=0.1)
    glass = pick(rng, (0.5, 0.65), (0.05, 0.4), (0.08, 0.4))
    trim = lit(wall, rng.choice([0.65, 1.3]))
    floors = max(2, round(height / rng.uniform(2.6, 3.4)))
    storey, bay = height / floors, rng.uniform(1.8, 3.0)
    wide, tall, lights = rng.uniform(0.24, 0.34), rng.uniform(0.24, 0.34), rng.uniform(0, 0.3)
    glow = pick(rng, (0.08, 0.15), (0.1, 0.6), (0.8, 1.0))

    def paint(region: Region) -> np.ndarray:
        across, up = region.u / np.float32(bay), region.v / np.float32(storey)
        part_u, part_v = np.abs(across % 1 - 0.5), np.abs(up % 1 - 0.5)
        below = up < floors - 0.12
        pane = (part_u < wide) & (part_v < tall) & below
        frame = (part_u < wide + 0.07) & (part_v < tall + 0.07) & below
        is_lit = noise.sample(noise.grain(), np.floor(across) * 3, np.floor(up) * 5) < lights
        color = mix(wall, trim, frame | ~below)
        color = np.where(pane[..., None], glass, color)
        return np.where((pane & is_lit)[..., None], glow, color)

    return paint


def paint_fence(
    canvas: Canvas, camera: Camera, rng: np.random.Generator, z: float, x: tuple[float, float]
) -> None:
    """A row of close boards with pointed tops, across the picture."""
    board, height = rng.uniform(0.16, 0.24), rng.uniform(0.9, 1.4)
    _paint_boards(canvas, rng, camera.front(z, x, (0, height)), board, height)


def paint_fence_along(
    canvas: Canvas, camera: Camera, rng: np.random.Generator, x: float, z: tuple[float, float]
) -> None:
    """The same along the line of sight."""
    board, height = rng.uniform(0.16, 0.24), rng.uniform(0.9, 1.4)
    _paint_boards(canvas, rng, camera.side(x, z, (0, height)), board, height)


def _paint_boards(
    canvas: Canvas, rng: np.random.Generator, region: Region, board: float, height: float
) -> None:
    color = wood(rng, (0.55, 1.0))
    part = region.u / np.float32(board) % 1
    tip = height - np.abs(part - 0.5) * board * 0.9
    tone = 0.8 + 0.4 * noise.sample(noise.grain(), np.floor(region.u / np.float32(board)), 3 + 0 * region.v)
    rails = (np.abs(region.v - 0.25 * height) < 0.06) | (np.abs(region.v - 0.72 * height) < 0.06)
    shade = np.where((part < 0.14) | (part > 0.86), 0.3, tone) * np.where(rails, 0.75, 1.0)
    canvas.paint(region.where(region.v < tip), lit(color, shade), "fence")
