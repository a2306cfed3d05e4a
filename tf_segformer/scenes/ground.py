"""What lies in open country: mountains behind it, water and roads on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from tf_segformer.scenes import noise, surfaces
from tf_segformer.scenes.boxes import Box
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import lit, pick

FAR = 400.0  # metres, where roads and lakes end


@dataclass(frozen=True)
class Road:
    """A road away from the camera: its middle where it is near, and half its width, in metres."""

    middle: float
    half: float


def nearest_ground(camera: Camera) -> float:
    """The distance in metres of the ground at the picture's lower edge."""
    return camera.focal * camera.eye / (camera.height - camera.horizon)


def whole_ground(camera: Camera) -> Region:
    """Everything below the horizon."""
    return camera.level(0.0, (-1e5, 1e5), (0.0, 1e6))


def paint_mountain(canvas: Canvas, camera: Camera, rng: np.random.Generator, layer: int) -> None:
    """Paint a ridge with ravines, lit from one side, often with snow on top.

    Args:
        canvas: What is painted on.
        camera: From where.
        rng: Decides about the ridge.
        layer: 0 for the furthest ridge; the nearer ones are lower.
    """
    region = camera.screen(0.0, camera.horizon / camera.height)
    u, v = region.u, region.v + np.float32(camera.horizon / camera.unit)
    rock = pick(rng, (0.02, 0.7), (0.05, 0.45), (0.25, 0.7))
    high = camera.horizon / camera.unit * rng.uniform(0.35, 0.8) * (1 - 0.35 * layer)
    offset, sharp = rng.uniform(0, 200, 2).astype(np.float32), rng.uniform(12, 26)
    ridge = np.full_like(u, 0.25 * high)
    for _ in range(3):
        peak, slope = rng.uniform(-0.1, camera.width / camera.unit + 0.1), rng.uniform(0.7, 1.6)
        ridge = np.maximum(ridge, high * rng.uniform(0.6, 1.0) - slope * np.abs(u - peak))
    ragged = noise.smooth(noise.clouds(), u * sharp + offset[0], 0 * u + offset[1]) - 0.5
    below = ridge + 0.16 * high * ragged - v
    across, down = (u + 0.4 * v) * 26 + offset[1], below * 16 + offset[0]
    folds = noise.smooth(noise.clouds(), across, down)
    relief = np.clip(0.8 + (folds - noise.smooth(noise.clouds(), across + 3, down)) * 5, 0.35, 1.3)
    color = lit(rock, relief)
    if rng.random() < 0.6:
        line = 0.55 * high + 0.5 * high * (folds - 0.5)
        snow = lit(np.full(3, 0.95, np.float32), np.clip(relief + 0.15, 0.6, 1.1))
        color = np.where((v > line)[..., None], snow, color)
    color = surfaces.mix_each(color, canvas.haze_color, np.clip(0.35 - 0.35 * v / high, 0, 1))
    canvas.paint(region.where(below > 0), color, "mountain")


def paint_water(canvas: Canvas, camera: Camera, rng: np.random.Generator) -> Callable[[Box], bool]:
    """Paint a lake from some distance on, a shore at the camera's feet, or a river.

    Returns:
        Whether a place is dry.
    """
    paint, ground, start = surfaces.water(rng), whole_ground(camera), nearest_ground(camera)
    z, kind, offset = ground.v, rng.integers(3), rng.uniform(0, 200)
    wave = noise.smooth(noise.clouds(), ground.u / np.sqrt(z) * 3 + offset, 0 * z)
    near, half = start * rng.uniform(1.4, 2.4), start * rng.uniform(0.5, 0.9)
    middle, bend = rng.uniform(-0.5, 0.5) * start, rng.uniform(-0.02, 0.02)
    is_dry: Callable[[Box], bool]
    if kind == 0:
        inside = (z > near * (0.8 + 0.5 * wave)) & (z < FAR)
        is_dry = lambda box: box.z[0] < near * 0.95  # noqa: E731
    elif kind == 1:
        inside = z < 1.5 * near * (0.7 + 0.5 * wave)
        is_dry = lambda box: box.z[0] > 1.5 * near  # noqa: E731
    else:
        inside = np.abs(ground.u - middle - bend * z**1.6) < half * (0.8 + 0.4 * wave)

        def is_dry(box: Box) -> bool:
            at = middle + bend * box.z[0] ** 1.6
            return box.x[1] < at - half or box.x[0] > at + half

    canvas.paint(ground.where(inside), paint(ground), "water")
    return is_dry


def paint_road(canvas: Canvas, camera: Camera, rng: np.random.Generator) -> Road:
    """Paint a road into the distance, perhaps with a bend."""
    road = Road(rng.uniform(-1.5, 1.5), rng.uniform(2.2, 3.8))
    paint = surfaces.road(rng, road.half)
    ground = camera.level(0.0, (-1e5, 1e5), (0.0, FAR))
    bend = rng.uniform(-0.008, 0.008) * (rng.random() < 0.5)
    middle = road.middle + bend * np.minimum(ground.v, 60) ** 2
    local = replace(ground, u=ground.u - middle)
    canvas.paint(ground.where(np.abs(local.u) < 1.12 * road.half), paint(local), "road")
    return road
