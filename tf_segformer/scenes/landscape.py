"""Streets and open country."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes import surfaces
from tf_segformer.scenes.boxes import Box
from tf_segformer.scenes.buildings import paint_building, paint_fence, paint_fence_along
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas
from tf_segformer.scenes.cars import LONGEST, WIDTH, paint_car
from tf_segformer.scenes.colors import pick
from tf_segformer.scenes.figures import paint_person, paint_tree
from tf_segformer.scenes.ground import (
    Road,
    nearest_ground,
    paint_mountain,
    paint_road,
    paint_water,
    whole_ground,
)
from tf_segformer.scenes.placing import Stage


@dataclass(frozen=True)
class Chances:
    """How likely each part of a landscape is; of people, trees and cars, each of up to three."""

    mountain: float
    water: float
    road: float
    building: float
    car: float
    fence: float
    tree: float
    person: float


STREET = Chances(0.4, 0.25, 1.0, 1.0, 0.9, 0.8, 0.75, 0.7)
COUNTRY = Chances(0.9, 0.8, 0.3, 0.2, 0.4, 0.85, 0.85, 0.65)


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
    canvas.haze_color = pick(rng, (0.5, 0.65), (0, 0.3), (0.6, 0.95))
    sky, paint_sky, paint_grass = camera.screen(0.0, 0.6), surfaces.sky(rng), surfaces.grass(rng)
    canvas.paint(sky, paint_sky(sky), "sky")
    if rng.random() < chances.mountain:
        for layer in range(rng.integers(1, 3)):
            paint_mountain(canvas, camera, rng, layer)
    canvas.haze = float(rng.choice([0.001, 0.004, 0.012]))  # the air before sky and mountains is painted
    ground, near = whole_ground(camera), nearest_ground(camera)
    canvas.paint(ground, paint_grass(ground), "grass")
    stage = Stage(canvas, camera, rng, (-1e3, 1e3), (max(near * 1.05, 2.0), 22.0))
    if rng.random() < chances.water:
        stage.require(paint_water(canvas, camera, rng))
    road = paint_road(canvas, camera, rng) if rng.random() < chances.road else None
    _build(stage, chances, road)
    _drive(stage, chances, road, near)
    _plant(stage, chances, road, near)
    _fence_in(stage, chances, road, near)
    for _ in range(rng.integers(1, 4)):
        if rng.random() < chances.person:
            stage.stand(
                (0.9, 0.3),
                lambda own, at: paint_person(canvas, camera, own, at),
                (max(near * 1.05, 2.8), max(near * 1.3, 6)),
            )
    stage.paint()
    return canvas


def _verge(road: Road | None) -> tuple[float, float]:
    """Where the ground beside the road begins, at its left and right."""
    return (road.middle - road.half - 0.6, road.middle + road.half + 0.6) if road else (0.0, 0.0)


def _build(stage: Stage, chances: Chances, road: Road | None) -> None:
    """Rows of buildings along the road, and some in the distance."""
    rng = stage.rng

    def paint(own: np.random.Generator, at: Box) -> None:
        paint_building(stage.canvas, stage.camera, own, at)

    left, right = _verge(road)
    for side, edge in ((-1, left), (1, right)):
        if not road or rng.random() > 0.85 * chances.building:
            continue
        z = rng.uniform(5, 9)
        for _ in range(rng.integers(1, 4)):
            deep, tall, begin = rng.uniform(5, 10), rng.uniform(5, 16), edge + side * rng.uniform(0.8, 3)
            end = begin + side * rng.uniform(6, 12)
            stage.put(Box((min(begin, end), max(begin, end)), (0, tall), (z, z + deep)), paint, solid=True)
            z += deep + rng.uniform(0.2, 4)
    for _ in range(round(rng.integers(1, 3) * stage.camera.width / stage.camera.unit)):
        z, broad, tall = rng.uniform(18, 35), rng.uniform(7, 14), rng.uniform(6, 18)
        seen = stage.camera.seen(z)
        start = rng.uniform(seen[0] - broad / 2, seen[1] - broad / 2)
        if rng.random() < chances.building and (not road or start > right or start + broad < left):
            stage.put(Box((start, start + broad), (0, tall), (z, z + 8)), paint, solid=True)


def _drive(stage: Stage, chances: Chances, road: Road | None, near: float) -> None:
    """Cars on the lanes of the road, and across the picture."""
    rng = stage.rng
    for _ in range(rng.integers(1, 3)):
        if rng.random() > chances.car:
            continue
        if road and rng.random() < 0.6:
            lane = road.middle + rng.choice([-0.5, 0.5]) * road.half
            stage.stand(
                (WIDTH, LONGEST),
                lambda own, at: paint_car(stage.canvas, stage.camera, own, at, along=True),
                (max(near * 1.1, 3.5), max(near * 1.3, 8.5)),
                (lane - 1.2, lane + 1.2),
            )
        else:
            stage.stand(
                (LONGEST, WIDTH),
                lambda own, at: paint_car(stage.canvas, stage.camera, own, at, along=False),
                (max(near * 1.1, 4.5), max(near * 1.3, 8.5)),
            )


def _plant(stage: Stage, chances: Chances, road: Road | None, near: float) -> None:
    """Trees, beside the road."""
    rng, (left, right) = stage.rng, _verge(road)
    for _ in range(rng.integers(1, 4)):
        tall, at_left = rng.uniform(3, 6.5), rng.random() < 0.5

        def paint(own: np.random.Generator, at: Box, tall: float = tall) -> None:
            paint_tree(stage.canvas, stage.camera, own, at, tall)

        if rng.random() < chances.tree:
            stage.stand(
                (tall * 0.3, 1.0),
                paint,
                (max(near * 1.3, 5), max(near * 1.5, 12)),
                ((-1e3, left) if at_left else (right, 1e3)) if road else None,
            )


def _fence_in(stage: Stage, chances: Chances, road: Road | None, near: float) -> None:
    """A fence along the road or across the picture."""
    rng, (left, right) = stage.rng, _verge(road)
    if rng.random() > chances.fence:
        return
    at_left, start = rng.random() < 0.5, max(near * 1.2, 3.0)
    if road and rng.random() < 0.6:
        x = left - 0.1 if at_left else right + 0.1
        along = Box((x, x), (0, 0), (start * rng.uniform(0.3, 0.9), start + rng.uniform(5, 11)))
        stage.put(
            along,
            lambda own, at: paint_fence_along(stage.canvas, stage.camera, own, at.x[0], at.z),
            behind=along.z[1] - along.z[0] - 1,
        )
        return
    z = rng.uniform(start, max(start * 1.3, 9))
    seen = stage.camera.seen(z)
    broad = (seen[1] - seen[0]) * rng.uniform(0.4, 1.1)
    if road:
        x_range = (left - broad, left) if at_left else (right, right + broad)
    else:
        x_range = (seen[0] - 1, seen[0] + broad) if at_left else (seen[1] - broad, seen[1] + 1)
    stage.put(
        Box(x_range, (0, 0), (z, z)),
        lambda own, at: paint_fence(stage.canvas, stage.camera, own, at.z[0], at.x),
    )
