"""A furnished room, seen along its walls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes import fittings, furniture, surfaces
from tf_segformer.scenes.boxes import Box, contact_shadow, paint_box, plain
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import anything, lit
from tf_segformer.scenes.figures import paint_person
from tf_segformer.scenes.placing import Stage


@dataclass(frozen=True)
class Room:
    """A room's extents in metres: its side walls, its back wall, its height."""

    left: float
    right: float
    back: float
    height: float


def paint_room(rng: np.random.Generator, height: int, width: int) -> Canvas:
    """Paint a room with what is on its walls and stands in it.

    Args:
        rng: Decides about everything but the size.
        height: Rows of the picture.
        width: Columns of it.
    """
    canvas = Canvas(height, width)
    camera = Camera(
        height,
        width,
        focal=min(height, width) * rng.uniform(0.75, 1.05),
        horizon=height * rng.uniform(0.36, 0.48),
        center=width * rng.uniform(0.35, 0.65),
        eye=rng.uniform(1.35, 1.75),
    )
    back = rng.uniform(3.1, 4.7)
    left, right = sorted(camera.seen(back))
    room = Room(
        left * rng.uniform(0.55, 1.0) - 0.1,
        right * rng.uniform(0.55, 1.0) + 0.1,
        back,
        max(rng.uniform(2.35, 3.0), 1.4 * camera.eye),
    )
    walls = _paint_shell(canvas, camera, rng, room)
    _hang(canvas, rng, walls[0], (room.left, room.right), room.height)
    for wall, x, margin in (
        (walls[1], room.left, camera.center),
        (walls[2], room.right, width - camera.center),
    ):
        entering = max(1.4, camera.focal * abs(x) / margin)  # where the wall comes into the picture
        seen = camera.focal * abs(x) * (1 / entering - 1 / room.back)
        if seen > 0.14 * camera.unit:  # or all that hangs there would be slivers
            _hang(canvas, rng, wall, (entering, room.back), room.height)
    _furnish(canvas, camera, rng, room)
    return canvas


def _paint_shell(canvas: Canvas, camera: Camera, rng: np.random.Generator, room: Room) -> list[Region]:
    """Paint floor, ceiling and three walls, darker towards their edges; return the walls."""
    wall, x, z, y = surfaces.wall(rng), (room.left, room.right), (0.0, room.back), (0.0, room.height)
    bright_side = rng.choice([0, 1])
    light = rng.uniform(0.6, 0.8), rng.uniform(0.85, 1.1)
    back = camera.front(room.back, x, y)
    sides = [camera.side(room.left, z, y), camera.side(room.right, z, y)]
    floor, ceiling = camera.level(0.0, x, z), camera.level(room.height, x, z)
    canvas.paint(floor, lit(surfaces.floor(rng)(floor), 0.75 + 0.06 * (room.back - floor.v)), "floor")
    ceiling_light = 0.95 - 0.04 * (room.back - ceiling.v)
    canvas.paint(ceiling, lit(surfaces.ceiling(rng)(ceiling), ceiling_light), "ceiling")
    edge = np.clip(np.minimum(back.u - room.left, room.right - back.u) / 0.7, 0, 1)
    canvas.paint(back, lit(wall(back), 0.8 + 0.15 * edge), "wall")
    for index, region in enumerate(sides):
        near_corner = np.clip((room.back - region.u) / 0.9, 0, 1)
        shade = light[int(index == bright_side)] * (0.85 + 0.15 * near_corner)
        canvas.paint(region, lit(wall(region), shade), "wall")
    return [back, *sides]


def _hang(
    canvas: Canvas, rng: np.random.Generator, wall: Region, extent: tuple[float, float], height: float
) -> None:
    """Cover a wall, from left to right, with doors, windows, curtains and paintings."""
    at = extent[0] + rng.uniform(0.1, 0.4)
    while True:
        kind = rng.choice(
            ["door", "window", "painting", "curtain", "nothing"], p=[0.26, 0.28, 0.28, 0.14, 0.04]
        )
        width = {
            "door": rng.uniform(0.85, 1.05),
            "window": rng.uniform(1.1, 1.7),
            "painting": rng.uniform(0.85, 1.4),
            "curtain": rng.uniform(0.8, 1.4),
            "nothing": 0.6,
        }[kind]
        if at + width > extent[1] - 0.1:
            return
        if kind == "door":
            fittings.paint_on(
                canvas, wall, (at, 0, width, rng.uniform(1.95, 2.12)), fittings.door(rng), "door"
            )
        elif kind == "window":
            sill = rng.uniform(0.75, 1.0)
            top = min(height - 0.2, sill + rng.uniform(1.0, 1.4))
            _paint_window(canvas, rng, wall, (at, sill, width, top - sill))
        elif kind == "painting":
            tall = rng.uniform(0.75, 1.2)
            middle = rng.uniform(1.5, 1.7)
            rectangle = (at, middle - tall / 2, width, min(tall, height - 0.1 - middle + tall / 2))
            fittings.paint_on(canvas, wall, rectangle, fittings.painting(rng), "painting")
        elif kind == "curtain":
            rectangle = (at, rng.uniform(0.02, 0.2), width, height - 0.3)
            fittings.paint_on(canvas, wall, rectangle, fittings.curtain(rng, width), "curtain")
        at += width + rng.uniform(0.12, 0.45)


def _paint_window(
    canvas: Canvas, rng: np.random.Generator, wall: Region, at: tuple[float, float, float, float]
) -> None:
    """A window, half of them between curtains."""
    left, bottom, width, height = at
    fittings.paint_on(canvas, wall, at, fittings.window(rng), "windowpane")
    if rng.random() < 0.5:
        part, low = rng.uniform(0.36, 0.48), rng.choice([0.05, bottom - 0.15])
        paint = fittings.curtain(rng, part)
        for x in (left - part * 0.6, left + width - part * 0.4):
            rectangle = (x, low, part, bottom + height + 0.12 - low)
            fittings.paint_on(canvas, wall, rectangle, paint, "curtain")


def _furnish(canvas: Canvas, camera: Camera, rng: np.random.Generator, room: Room) -> None:
    """Place pieces where the floor is free, the large ones first, or they find no room."""
    stage = Stage(canvas, camera, rng, (room.left + 0.05, room.right - 0.05), (1.5, room.back - 0.05))
    width, length, height = rng.uniform(1.0, 1.7), rng.uniform(1.6, 2.0), rng.uniform(0.45, 0.6)
    if rng.random() < 0.55:
        at_wall = room.back - length - 0.05
        stage.stand(
            (width, length),
            lambda own, at: furniture.paint_bed(canvas, camera, own, Box(at.x, (0, height), at.z)),
            (at_wall, at_wall) if rng.random() < 0.6 else None,
        )
    wide, deep, tall = rng.uniform(0.8, 1.6), rng.uniform(0.4, 0.55), float(rng.choice([0.85, 1.2, 1.9]))
    if rng.random() < 0.8:
        stage.stand(
            (wide, deep),
            lambda own, at: furniture.paint_cabinet(canvas, camera, own, Box(at.x, (0, tall), at.z)),
            (room.back - deep - 0.02, room.back - deep - 0.02),
        )
    table_size, table_height = (rng.uniform(0.9, 1.6), rng.uniform(0.6, 0.9)), rng.uniform(0.68, 0.8)
    if rng.random() < 0.85:
        stage.stand(
            table_size,
            lambda own, at: furniture.paint_table(canvas, camera, own, Box(at.x, (0, table_height), at.z)),
        )
    if rng.random() < 0.85:
        stage.stand((0.7, 0.3), lambda own, at: furniture.paint_lamp(canvas, camera, own, at, room.height))
    for chance in (0.9, 0.65, 0.4):
        if rng.random() < chance:
            stage.stand((0.62, 0.62), lambda own, at: furniture.paint_chair(canvas, camera, own, at))
    if rng.random() < 0.65:
        stage.stand((0.8, 0.3), lambda own, at: paint_person(canvas, camera, own, at))
    size = rng.uniform(0.25, 0.5)
    if rng.random() < 0.2:
        stage.stand((size, size), lambda own, at: _paint_clutter(canvas, camera, own, at, size))
    stage.paint()


def _paint_clutter(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box, size: float) -> None:
    """A box that belongs to no class."""
    contact_shadow(canvas, camera, at.x, at.z)
    paint_box(canvas, camera, Box(at.x, (0, size), at.z), None, plain(anything(rng)))
