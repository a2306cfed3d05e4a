"""What stands in a room: tables, chairs, beds, cabinets, lamps."""

from __future__ import annotations

import numpy as np

from tf_segformer.scenes.boxes import Box, contact_shadow, paint_box, plain
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import anything, lit, mix, pick, wood
from tf_segformer.scenes.fittings import cabinet_front
from tf_segformer.scenes.surfaces import Paint


def paint_cabinet(canvas: Canvas, camera: Camera, rng: np.random.Generator, box: Box) -> None:
    """A box with a front of drawers or small doors, at most as high as a person."""
    front = cabinet_front(rng, box.x[1] - box.x[0], box.y[1])
    body = plain(pick(rng, (0.08, 0.14), (0.15, 0.5), (0.5, 0.85)))
    contact_shadow(canvas, camera, box.x, box.z)
    paint_box(canvas, camera, box, "cabinet", front, body, body)


def paint_table(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box) -> None:
    """A thick top on four stout legs, or a cloth down to the ground's half."""
    color = pick(rng, (0.03, 0.09), (0.5, 0.8), (0.45, 0.8))
    (left, right), (near, far), height = at.x, at.z, at.y[1]
    leg, thick = 0.11, rng.uniform(0.07, 0.1)
    top = _table_top(rng, color)
    contact_shadow(canvas, camera, at.x, at.z, 0.4)
    for z in (far - leg, near):
        for x in (left, right - leg):
            box = Box((x, x + leg), (0, height - thick), (z, z + leg))
            paint_box(canvas, camera, box, "table", plain(lit(color, 0.75)))
    skirt = float(rng.choice([thick, thick, 0.25]))
    paint_box(
        canvas, camera, Box(at.x, (height - skirt, height), at.z), "table", plain(lit(color, 0.9)), top=top
    )


def paint_chair(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box) -> None:
    """A seat, a high back with slats, short stout legs; seen from the front, the back or a side."""
    x, z = (at.x[0] + at.x[1]) / 2, at.z[0] + 0.03
    color, cushion = pick(rng, (0.28, 0.62), (0.4, 0.8), (0.35, 0.8), wild=0.1), anything(rng)
    half, seat, top = rng.uniform(0.23, 0.28), rng.uniform(0.42, 0.5), rng.uniform(0.9, 1.15)
    x_range, z_range = (x - half, x + half), (z, z + 2 * half)
    slats, leg, thick = rng.integers(2, 4), 0.09, 0.07
    facing = rng.integers(4)
    back = {
        0: Box(x_range, (seat, top), (z + 2 * half - thick, z + 2 * half)),
        1: Box(x_range, (seat, top), (z, z + thick)),
        2: Box((x - half, x - half + thick), (seat, top), z_range),
        3: Box((x + half - thick, x + half), (seat, top), z_range),
    }[int(facing)]

    def slatted(region: Region) -> np.ndarray:
        part = region.u / np.float32(2 * half) * slats % 1
        dark = (np.abs(part - 0.5) < 0.28) & (region.v > 0.06) & (region.v < top - seat - 0.1)
        return mix(color, color * np.float32(0.35), dark)

    contact_shadow(canvas, camera, x_range, z_range, 0.5)
    for leg_z in (z + 2 * half - leg, z):
        for leg_x in (x_range[0], x_range[1] - leg):
            box = Box((leg_x, leg_x + leg), (0, seat), (leg_z, leg_z + leg))
            paint_box(canvas, camera, box, "chair", plain(lit(color, 0.7)))
    parts: list[tuple[Box, Paint, Paint]] = [
        (Box(x_range, (seat - 0.1, seat), z_range), plain(color), plain(cushion)),
        (back, slatted, plain(color)),
    ]
    for box, front, upper in parts if facing else parts[::-1]:
        paint_box(canvas, camera, box, "chair", front, top=upper)


def paint_bed(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box) -> None:
    """A mattress under a patterned blanket, pillows at the far end, before a headboard."""
    frame, blanket = wood(rng), pick(rng, (0.76, 1.0), (0.3, 0.8), (0.45, 0.95), wild=0.12)
    sheet = pick(rng, (0, 1), (0, 0.15), (0.8, 1.0))
    (left, right), (near, far), height = at.x, at.z, at.y[1]
    board = rng.uniform(0.4, 0.6)
    contact_shadow(canvas, camera, at.x, at.z, 0.4)
    headboard = Box(at.x, (0, height + board), (far - 0.08, far))
    paint_box(canvas, camera, headboard, "bed", plain(frame))
    second, period = lit(blanket, rng.uniform(0.45, 0.75)), rng.uniform(0.2, 0.4)

    def cover(region: Region) -> np.ndarray:
        u, v = region.u / np.float32(period), region.v / np.float32(period)
        color = mix(blanket, second, np.abs((u + v) % 1 - 0.5) + np.abs((u - v) % 1 - 0.5) > 0.55)
        folded = region.v > far - near - 0.75
        return np.where(folded[..., None], sheet, color)

    base = Box(at.x, (0, height * 0.45), (near, far - 0.08))
    paint_box(canvas, camera, base, "bed", plain(lit(frame, 0.8)))
    mattress = Box(at.x, (height * 0.45, height), (near, far - 0.08))
    paint_box(canvas, camera, mattress, "bed", plain(lit(blanket, 0.9)), top=cover)
    count = 2 if right - left > 1.2 else 1
    width = (right - left) / count
    for index in range(count):
        x = left + index * width
        pillow = Box((x + 0.1, x + width - 0.1), (height, height + 0.16), (far - 0.6, far - 0.15))
        paint_box(canvas, camera, pillow, "bed", plain(lit(sheet, 0.92)))


def paint_lamp(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box, ceiling: float) -> None:
    """A shade that shines, on a stand from the ground or hung from the ceiling."""
    x, z = (at.x[0] + at.x[1]) / 2, at.z[0] + 0.15
    shade, body = pick(rng, (0.1, 0.16), (0.2, 0.65), (0.9, 1.0)), anything(rng, (0.1, 0.6))
    half, height, slope = rng.uniform(0.26, 0.36), rng.uniform(0.36, 0.5), rng.uniform(0.35, 0.65)
    hangs = rng.random() < 0.5
    bottom = rng.uniform(1.65, 1.85) if hangs else rng.uniform(1.1, 1.35)
    pole = 0.05
    if hangs:
        bottom = min(bottom, ceiling - height - 0.05)
        stem = camera.front(z, (x - pole, x + pole), (bottom + height, ceiling))
    else:
        contact_shadow(canvas, camera, (x - 0.2, x + 0.2), (z - 0.1, z + 0.3))
        foot = camera.front(z, (x - 0.22, x + 0.22), (0, 0.1))
        canvas.paint(foot, body, "lamp")
        stem = camera.front(z, (x - pole, x + pole), (0.1, bottom))
    canvas.paint(stem, body, "lamp")
    region = camera.front(z, (x - half, x + half), (bottom, bottom + height)).shifted(x, bottom)
    width = half * (1 - slope * region.v / height)
    glow = 1.35 - 1.1 * np.abs(region.v / height - 0.35) - 0.5 * (region.u / half) ** 2
    canvas.paint(region.where(np.abs(region.u) <= width), lit(shade, np.clip(glow, 0.5, 1.4)), "lamp")


def _table_top(rng: np.random.Generator, color: np.ndarray) -> Paint:
    """Bare wood with its grain, or set with plates; u, v in metres."""
    is_set, plate = rng.random() < 0.6, anything(rng, (0.6, 1.0))
    apart = rng.uniform(0.32, 0.42)

    def paint(region: Region) -> np.ndarray:
        grain = lit(color, 1.05 + 0.12 * np.sin(region.u * np.float32(45)) + 0 * region.v)
        if not is_set:
            return grain
        away = (region.u % apart - apart / 2) ** 2 + (region.v % apart - apart / 2) ** 2
        grain = np.where((away < 0.13**2)[..., None], plate, grain)
        return np.where((away < 0.07**2)[..., None], plate * np.float32(0.7), grain)

    return paint
