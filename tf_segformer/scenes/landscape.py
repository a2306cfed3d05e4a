"""Streets and open country."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes import noise, surfaces
from tf_segformer.scenes.boxes import Box
from tf_segformer.scenes.buildings import paint_building, paint_fence, paint_fence_along
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas
from tf_segformer.scenes.colors import lit, pick
from tf_segformer.scenes.figures import paint_car, paint_person, paint_tree
from tf_segformer.scenes.placing import Floor

FAR = 400.0  # metres, where the ground ends


@dataclass(frozen=True)
class Chances:
    """How likely each part of a landscape is."""

    mountain: float
    water: float
    road: float
    building: float
    car: float
    fence: float
    tree: float
    person: float


STREET = Chances(0.35, 0.2, 1.0, 1.0, 0.9, 0.7, 0.7, 0.6)
COUNTRY = Chances(0.85, 0.75, 0.3, 0.2, 0.3, 0.75, 0.85, 0.5)


def paint_landscape(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Paint a landscape: a street or open country.

    Args:
        rng: Decides about everything but the size.
        height: Rows of the picture.
        width: Columns of it.
    """
    canvas = Canvas(height, width)
    camera = Camera(
        height,
        width,
        focal=min(height, width) * rng.uniform(0.8, 1.2),
        horizon=height * rng.uniform(0.32, 0.55),
        center=width * rng.uniform(0.25, 0.75),
        eye=rng.uniform(1.5, 2.4),
    )
    chances = STREET if rng.random() < 0.5 else COUNTRY
    paint_sky, grass, water = surfaces.sky(rng), surfaces.grass(rng), surfaces.water(rng)
    canvas.haze_color = pick(rng, (0.5, 0.65), (0, 0.3), (0.6, 0.95))
    canvas.haze = rng.choice([0.001, 0.004, 0.012])
    haze, canvas.haze = canvas.haze, 0.0
    sky = camera.screen()
    canvas.paint(sky, paint_sky(sky), "sky")
    if rng.random() < chances.mountain:
        for layer in range(rng.integers(1, 3)):
            _paint_mountain(canvas, camera, rng, layer)
    canvas.haze = haze
    ground = camera.level(0.0, (-1e5, 1e5), (0.0, 1e6))
    ground = ground.where(ground.depth < 1e6)
    canvas.paint(ground, grass(ground), "grass")
    if rng.random() < chances.water:
        _paint_water(canvas, camera, rng, water)
    road = _paint_road(canvas, camera, rng) if rng.random() < chances.road else None
    _populate(canvas, camera, rng, chances, road)
    return canvas


def _paint_mountain(canvas: Canvas, camera: Camera, rng: np.random.Generator, layer: int) -> None:
    """A ridge with ravines, lit from one side, often with snow on top."""
    region = camera.screen(0.0, camera.horizon / camera.height)
    u, v = region.u, region.v + np.float32(camera.horizon / camera.unit)
    rock = pick(rng, (0.02, 0.7), (0.05, 0.45), (0.25, 0.7))
    high = camera.horizon / camera.unit * rng.uniform(0.35, 0.8) * (1 - 0.35 * layer)
    offset, sharp = rng.uniform(0, 200, 2).astype(np.float32), rng.uniform(12, 26)
    peaks = rng.uniform(-0.1, camera.width / camera.unit + 0.1, 3)
    slopes, sizes = rng.uniform(0.7, 1.6, 3), rng.uniform(0.6, 1.0, 3)
    ridge = np.full_like(u, 0.25 * high)
    for peak, slope, size in zip(peaks, slopes, sizes, strict=True):
        ridge = np.maximum(ridge, high * size - slope * np.abs(u - np.float32(peak)))
    ridge = ridge + 0.16 * high * (
        noise.smooth(noise.clouds(), u * sharp + offset[0], 0 * u + offset[1]) - 0.5
    )
    below = ridge - v
    folds = noise.smooth(noise.clouds(), (u + 0.4 * v) * 26 + offset[1], below * 16 + offset[0])
    other = noise.smooth(noise.clouds(), (u + 0.4 * v) * 26 + offset[1] + 3, below * 16 + offset[0])
    relief = np.clip(0.8 + (folds - other) * 5, 0.35, 1.3)
    color = lit(rock, relief)
    if rng.random() < 0.6:
        line = 0.55 * high + 0.25 * high * (folds - 0.5) * 2
        snow = lit(np.full(3, 0.95, np.float32), np.clip(relief + 0.15, 0.6, 1.1))
        color = np.where((v > line)[..., None], snow, color)
    fade = np.clip(0.35 - 0.35 * v / high, 0, 1)
    color = surfaces.mix_each(color, canvas.haze_color, fade)
    canvas.paint(region.where(below > 0), color, "mountain")


def _paint_water(canvas: Canvas, camera: Camera, rng: np.random.Generator, paint: surfaces.Paint) -> None:
    """A lake from some distance on, a shore at the camera's feet, or a river."""
    ground = camera.level(0.0, (-1e5, 1e5), (0.0, 1e6))
    z, kind = ground.v, rng.integers(3)
    wave = noise.smooth(noise.clouds(), ground.u / np.sqrt(z) * 3 + rng.uniform(0, 200), 0 * z)
    start = camera.focal * camera.eye / (camera.height - camera.horizon)  # the nearest ground that is seen
    if kind == 0:
        inside = (z > start * rng.uniform(1.3, 2.2) * (0.7 + 0.6 * wave)) & (z < FAR)
    elif kind == 1:
        inside = z < start * rng.uniform(1.8, 4.0) * (0.7 + 0.6 * wave)
    else:
        half, bend = start * rng.uniform(0.5, 0.9), rng.uniform(-0.02, 0.02)
        middle = rng.uniform(-1, 1) * start * 0.5 + bend * z**1.6
        inside = np.abs(ground.u - middle) < half * (0.8 + 0.5 * wave)
    canvas.paint(ground.where(inside), paint(ground), "water")


@dataclass(frozen=True)
class Road:
    """A straight road away from the camera: its middle and half its width, in metres."""

    middle: float
    half: float


def _paint_road(canvas: Canvas, camera: Camera, rng: np.random.Generator) -> Road:
    """A road into the distance, perhaps with a bend."""
    road = Road(rng.uniform(-1.5, 1.5), rng.uniform(2.2, 3.8))
    paint = surfaces.road(rng, road.half)
    ground = camera.level(0.0, (-1e5, 1e5), (0.0, FAR))
    bend = rng.choice([0.0, rng.uniform(-0.008, 0.008)])
    local = ground.shifted(road.middle, 0)
    local = type(local)(
        local.rows,
        local.columns,
        local.u - bend * np.minimum(local.v, 60) ** 2,
        local.v,
        local.mask,
        local.depth,
    )
    kerb = np.abs(local.u) < 1.12 * road.half
    canvas.paint(ground.where(kerb), paint(local), "road")
    return road


def _populate(
    canvas: Canvas, camera: Camera, rng: np.random.Generator, chances: Chances, road: Road | None
) -> None:
    """Place what stands on the ground, then paint it from the back to the front."""
    pieces: list[tuple[float, Callable[[], None]]] = []
    start = camera.focal * camera.eye / (camera.height - camera.horizon)
    floor = Floor(camera, rng, (-1e3, 1e3), (max(start * 1.05, 2.0), 22.0))
    wide = camera.width / camera.unit

    def later(z: float, paint: Callable[[np.random.Generator], None]) -> None:
        own = np.random.default_rng(rng.integers(1 << 32))
        pieces.append((z, lambda: paint(own)))

    def add(size, paint, z=None, x=None) -> None:
        spot = floor.place(size, z, x)
        if spot is not None:
            later(spot.z[0], lambda own: paint(own, spot))

    clear = road.half + 0.6 if road else 0.0
    middle = road.middle if road else 0.0
    if rng.random() < chances.building:
        for side in (-1, 1):
            if road and rng.random() < 0.85:
                z = rng.uniform(5, 9)
                for _ in range(rng.integers(1, 4)):
                    deep, tall, away = rng.uniform(5, 10), rng.uniform(5, 16), clear + rng.uniform(0.8, 3)
                    x = sorted((middle + side * away, middle + side * (away + rng.uniform(6, 12))))
                    box = Box((x[0], x[1]), (0, tall), (z, z + deep))
                    later(z, lambda own, box=box: paint_building(canvas, camera, own, box))
                    z += deep + rng.uniform(0.2, 4)
    for _ in range(round(rng.integers(1, 3) * wide)):
        if rng.random() < chances.building:
            z, broad, tall = rng.uniform(18, 35), rng.uniform(7, 14), rng.uniform(6, 18)
            seen = camera.seen(z)
            x = rng.uniform(seen[0] - broad / 2, seen[1] - broad / 2)
            box = Box((x, x + broad), (0, tall), (z, z + 8))
            if not road or x > middle + clear or x + broad < middle - clear:
                later(z, lambda own, box=box: paint_building(canvas, camera, own, box))

    if rng.random() < chances.car:
        for _ in range(rng.integers(1, 3)):
            if road and rng.random() < 0.6:
                lane = middle + rng.choice([-0.5, 0.5]) * road.half
                add(
                    (1.8, 4.2),
                    lambda own, at: paint_car(
                        canvas, camera, own, (at.x[0] + at.x[1]) / 2, at.z[0], along=True
                    ),
                    x=(lane - 1.2, lane + 1.2),
                    z=rng.uniform(max(start * 1.1, 3.5), 11),
                )
            else:
                add(
                    (4.2, 1.9),
                    lambda own, at: paint_car(
                        canvas, camera, own, (at.x[0] + at.x[1]) / 2, at.z[0], along=False
                    ),
                    z=rng.uniform(max(start * 1.1, 4.5), 11),
                )
    for _ in range(rng.integers(1, 4)):
        if rng.random() < chances.person:
            add(
                (0.9, 0.3),
                lambda own, at: paint_person(canvas, camera, own, at.x[0] + 0.45, at.z[0]),
                z=rng.uniform(max(start * 1.05, 2.8), 8),
            )
    for _ in range(rng.integers(1, 4)):
        if rng.random() < chances.tree:
            tall, z = rng.uniform(3, 6.5), rng.uniform(max(start * 1.3, 5), 16)
            seen, side = camera.seen(z), rng.choice([-1, 1])
            beyond = middle + side * clear
            x_range = (beyond, seen[1] + 9) if side > 0 else (seen[0] - 9, beyond)
            add(
                (tall * 0.25, 1.0),
                lambda own, at, tall=tall: paint_tree(
                    canvas, camera, own, (at.x[0] + at.x[1]) / 2, at.z[0], tall
                ),
                z=z,
                x=x_range if road else None,
            )
    if rng.random() < chances.fence:
        near = max(start * 1.2, 3.0)
        if road and rng.random() < 0.7:
            side = rng.choice([-1, 1])
            z = (near * rng.uniform(0.3, 1.0), rng.uniform(8, 15))
            later(
                z[1] - 1,
                lambda own: paint_fence_along(canvas, camera, own, middle + side * (clear + 0.1), z),
            )
        else:
            z_front = rng.uniform(near, 9)
            seen = camera.seen(z_front)
            ends = sorted(rng.uniform(seen[0] * 1.3, seen[1] * 1.3, 2))
            if road:
                ends = (
                    [middle + clear, seen[1] * 1.3] if rng.random() < 0.5 else [seen[0] * 1.3, middle - clear]
                )
            if ends[1] - ends[0] > 1.0:
                later(z_front, lambda own: paint_fence(canvas, camera, own, z_front, (ends[0], ends[1])))
    for _, paint in sorted(pieces, key=lambda piece: -piece[0]):
        paint()
