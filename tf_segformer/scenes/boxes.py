"""Boxes along the axes, of which most furniture, buildings and cars are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import lit
from tf_segformer.scenes.surfaces import Paint

Range = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A box: its ranges of X, Y and Z in metres."""

    x: Range
    y: Range
    z: Range


def plain(color: np.ndarray) -> Paint:
    """A paint of one colour."""
    return lambda region: color


def paint_box(
    canvas: Canvas,
    camera: Camera,
    box: Box,
    name: str | None,
    front: Paint,
    side: Paint | None = None,
    top: Paint | None = None,
) -> None:
    """Paint the faces of a box that can be seen, each in its own light.

    The front's u, v are measured from its lower left corner, the side's from the lower near one, the top's
    from the near left one.
    """
    side, top = side or front, top or front
    if box.y[1] < camera.eye:
        region = camera.level(box.y[1], box.x, box.z)
        _paint(canvas, region, region.shifted(box.x[0], box.z[0]), top, 1.12, name)
    elif box.y[0] > camera.eye:
        region = camera.level(box.y[0], box.x, box.z)
        _paint(canvas, region, region.shifted(box.x[0], box.z[0]), top, 0.6, name)
    for x, is_seen in ((box.x[0], box.x[0] > 0), (box.x[1], box.x[1] < 0)):
        if is_seen:
            region = camera.side(x, box.z, box.y)
            _paint(canvas, region, region.shifted(box.z[0], box.y[0]), side, 0.72, name)
    if box.z[0] > 0:
        region = camera.front(box.z[0], box.x, box.y)
        _paint(canvas, region, region.shifted(box.x[0], box.y[0]), front, 0.95, name)


def contact_shadow(canvas: Canvas, camera: Camera, x: Range, z: Range, strength: float = 0.55) -> None:
    """Darken the ground under something that stands on it."""
    region = camera.level(0.0, (x[0] - 0.3, x[1] + 0.3), (z[0] - 0.3, z[1] + 0.3))
    if not region.mask.any():
        return
    center_x, center_z = (x[0] + x[1]) / 2, (z[0] + z[1]) / 2
    half_x, half_z = (x[1] - x[0]) / 2 + 0.25, (z[1] - z[0]) / 2 + 0.25
    away = ((region.u - center_x) / half_x) ** 2 + ((region.v - center_z) / half_z) ** 2
    canvas.shade(region, 1 - strength * np.clip(1.25 - away, 0, 1))


def _paint(
    canvas: Canvas, where: Region, local: Region, paint: Paint, light: float, name: str | None
) -> None:
    if where.mask.any():
        canvas.paint(where, lit(paint(local), light), name)
