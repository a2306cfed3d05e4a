"""Cars: two boxes, with wheels, glass and lights painted on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes.boxes import Box, contact_shadow, paint_box, plain
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas, Region
from tf_segformer.scenes.colors import anything, mix, pick
from tf_segformer.scenes.surfaces import Paint

WIDTH, LONGEST = 1.75, 4.4  # metres
_RUBBER, _RIM, _PLATE = np.float32(0.06), np.float32(0.7), np.float32(0.9)


@dataclass(frozen=True)
class _Car:
    """Colours and measures of one car; the hood and the boot are shares of its length."""

    paint: np.ndarray
    glass: np.ndarray
    lamps: np.ndarray
    length: float
    waist: float
    roof: float
    hood: float
    boot: float


def paint_car(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box, *, along: bool) -> None:
    """Paint a car in the middle of its ground, seen from its side, or from behind (`along`)."""
    car = _Car(
        paint=pick(rng, (0, 1), (0.0, 0.95), (0.45, 1.0)),
        glass=anything(rng, (0.05, 0.35)),
        lamps=pick(rng, (0.97, 1.05), (0.6, 1.0), (0.7, 1.0), wild=0.2),
        length=rng.uniform(3.6, LONGEST),
        waist=rng.uniform(0.85, 1.0),
        roof=rng.uniform(1.4, 1.6),
        hood=rng.uniform(0.12, 0.28),
        boot=rng.uniform(0.05, 0.15),
    )
    half, deep = (WIDTH / 2, car.length) if along else (car.length / 2, WIDTH)
    x, z = (at.x[0] + at.x[1]) / 2, at.z[0]
    hood, boot, inset = car.hood * car.length, car.boot * car.length, 0.08
    if along:
        cabin = Box((x - half + inset, x + half - inset), (car.waist, car.roof), (z + boot, z + deep - hood))
    else:
        cabin = Box((x - half + hood, x + half - boot), (car.waist, car.roof), (z + inset, z + deep - inset))
    body = Box((x - half, x + half), (0, car.waist), (z, z + deep))
    contact_shadow(canvas, camera, body.x, body.z, 0.75)
    flank, end = (_flank(car), _flank_of_cabin(car)), (_end(car), _end_of_cabin(car))
    fronts, sides = (end, flank) if along else (flank, end)
    paint_box(canvas, camera, body, "car", fronts[0], sides[0], plain(car.paint))
    paint_box(canvas, camera, cabin, "car", fronts[1], sides[1], plain(car.paint))


def _flank(car: _Car) -> Paint:
    def paint(region: Region) -> np.ndarray:
        u, v, length = region.u, region.v, car.length
        wheels = np.minimum((u - 0.2 * length) ** 2, (u - 0.8 * length) ** 2) + (v - 0.32) ** 2
        seam = (np.abs(u - 0.5 * length) < 0.03) | (np.abs(v - 0.62) < 0.025)
        color = mix(car.paint, car.paint * np.float32(0.6), seam)
        color = np.where((v < 0.2)[..., None], car.paint * np.float32(0.25), color)
        color = np.where((wheels < 0.36**2)[..., None], _RUBBER, color)
        return np.where((wheels < 0.2**2)[..., None], _RIM, color)

    return paint


def _flank_of_cabin(car: _Car) -> Paint:
    span = car.length * (1 - car.hood - car.boot)

    def paint(region: Region) -> np.ndarray:
        tall = (region.v > 0.06) & (region.v < car.roof - car.waist - 0.1)
        return mix(car.paint, car.glass, tall & (np.abs(region.u / span * 2 % 1 - 0.5) < 0.4))

    return paint


def _end(car: _Car) -> Paint:
    def paint(region: Region) -> np.ndarray:
        v, outward = region.v, np.abs(region.u - WIDTH / 2)
        color = mix(car.paint, car.paint * np.float32(0.3), (v < 0.28) & (outward < 9))
        color = np.where(((v < 0.35) & (outward > 0.55))[..., None], _RUBBER, color)
        color = np.where(((np.abs(v - 0.68) < 0.1) & (outward > 0.55))[..., None], car.lamps, color)
        return np.where(((np.abs(v - 0.5) < 0.07) & (outward < 0.26))[..., None], _PLATE, color)

    return paint


def _end_of_cabin(car: _Car) -> Paint:
    def paint(region: Region) -> np.ndarray:
        inner = np.abs(region.u - (WIDTH - 0.16) / 2) < 0.65
        return mix(car.paint, car.glass, inner & (region.v > 0.07) & (region.v < car.roof - car.waist - 0.09))

    return paint
