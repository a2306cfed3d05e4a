"""What walls, floors, ceilings and the ground are made of.

Each function draws a material once and returns what paints it, so that all walls of a room match. A class
is told by its pattern; the colours of all overlap.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tf_segformer.scenes import noise
from tf_segformer.scenes.canvas import Region
from tf_segformer.scenes.colors import anything, lit, mix, pick, wood

Paint = Callable[[Region], np.ndarray]


def wall(rng: np.random.Generator) -> Paint:
    """Plain, striped, papered or of bricks; often with a panelled lower part."""
    base, second = pick(rng, (0, 1), (0, 0.3), (0.6, 0.95)), anything(rng, (0.35, 0.95))
    second = mix(base, second, rng.uniform(0.15, 0.5))
    kind, offset = rng.integers(4), rng.uniform(0, 200, 2).astype(np.float32)
    period, dado = rng.uniform(0.12, 0.4), rng.choice([0, 0.8, 1.0])
    lower = lit(base, rng.uniform(0.6, 0.85))

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        share: np.ndarray
        if kind == 0:
            share = noise.smooth(noise.clouds(), u * 12 + offset[0], v * 12 + offset[1])
        elif kind == 1:
            share = _wave(u, period) + 0 * v
        elif kind == 2:
            share = np.asarray(_wave(u, period) * _wave(v, period) > 0.55, np.float32)
        else:
            row = np.floor(v / 0.12)
            joint = (_part(v, 0.12) < 0.14) | (_part(u + row * 0.16, 0.32) < 0.06)
            share = np.where(joint, 1, 0.45 * noise.sample(noise.grain(), (u + row * 0.16) / 0.32, row))
        color = mix(base, second, share)
        if dado:
            color = np.where((v < dado)[..., None], lower, color)
        skirting = (v < 0.1)[..., None]
        return np.where(skirting, lower * np.float32(0.7), color)

    return paint


def floor(rng: np.random.Generator) -> Paint:
    """Planks or tiles."""
    base = wood(rng, (0.2, 0.6))
    other = lit(base, rng.uniform(0.5, 0.75)) if rng.random() < 0.6 else wood(rng, (0.2, 0.6))
    planks, width, length = rng.random() < 0.55, rng.uniform(0.12, 0.25), rng.uniform(0.9, 1.6)
    tile, checkered, across = rng.uniform(0.3, 0.6), rng.random() < 0.6, rng.random() < 0.4

    def paint(region: Region) -> np.ndarray:
        u, v = (region.v, region.u) if across else (region.u, region.v)
        share: np.ndarray
        if planks:
            row = np.floor(u / width)
            along = v / length + noise.sample(noise.grain(), row, row * 7)
            share = noise.sample(noise.grain(), row, np.floor(along)) * 0.8
            seam = (_part(u, width) < 0.1) | (_part(along, 1.0) < 0.02)
            share = np.where(seam, 1.2, share)
        elif checkered:
            share = (np.floor(u / tile) + np.floor(v / tile)) % 2
        else:
            share = (_part(u, tile) < 0.08) | (_part(v, tile) < 0.08)
        return mix(base, other, share)

    return paint


def ceiling(rng: np.random.Generator) -> Paint:
    """Plaster with spots, panels or beams."""
    base = pick(rng, (0.05, 0.15), (0, 0.15), (0.65, 1.0))
    kind, period = rng.integers(3), rng.uniform(0.5, 0.9)
    dark = lit(base, rng.uniform(0.6, 0.8))
    beam = wood(rng)

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        across, along = _part(u, period) - 0.5, _part(v, period) - 0.5
        if kind == 0:
            spots = (across**2 + along**2) < 0.03
            return np.where(spots[..., None], np.float32(1.1), mix(base, dark, 0.2 * _wave(v, 3.0)))
        if kind == 1:
            return mix(base, dark, (np.abs(across) > 0.45) | (np.abs(along) > 0.45))
        return mix(base, beam, np.abs(across) > 0.32)

    return paint


def grass(rng: np.random.Generator) -> Paint:
    """Blades, which are streaks upwards, in patches."""
    base = pick(rng, (0.14, 0.36), (0.25, 0.75), (0.3, 0.75))
    other = lit(base, rng.uniform(0.35, 0.6))
    offset = rng.uniform(0, 200, 2).astype(np.float32)

    def paint(region: Region) -> np.ndarray:
        u, z = region.u, region.v
        near = 1 / np.sqrt(z)
        blades = noise.smooth(noise.grain(), u * near * 34 + offset[0], 30 * near + offset[1])
        patches = noise.smooth(noise.clouds(), u * near * 12 + offset[1], 60 * near + offset[0])
        return mix(base, other, 1.1 * blades * blades + 0.5 * patches - 0.2)

    return paint


def road(rng: np.random.Generator, half_width: float) -> Paint:
    """Asphalt, u measured from the middle: fine grain, dashes in the middle, lines along both edges."""
    base = pick(rng, (0, 1), (0, 0.12), (0.25, 0.6))
    line = pick(rng, (0.1, 0.16), (0, 0.7), (0.8, 1), wild=0.1)
    dash = rng.uniform(2, 4)
    offset = rng.uniform(0, 200, 2).astype(np.float32)

    def paint(region: Region) -> np.ndarray:
        u, z = region.u, region.v
        near = 1 / np.sqrt(z)
        stones = noise.sample(noise.grain(), u * near * 60 + offset[0], 300 * near + offset[1])
        color = lit(base, 0.85 + 0.3 * stones)
        middle = (np.abs(u) < 0.04 * half_width) & (_part(z, dash) < 0.5)
        edges = np.abs(np.abs(u) - 0.88 * half_width) < 0.03 * half_width
        return np.where((middle | edges)[..., None], line, color)

    return paint


def water(rng: np.random.Generator) -> Paint:
    """Ripples, which are level streaks, and glints."""
    base = pick(rng, (0.45, 0.65), (0.15, 0.7), (0.25, 0.8))
    bright = mix(base, np.ones(3, np.float32), rng.uniform(0.3, 0.7))
    offset = rng.uniform(0, 200, 2).astype(np.float32)

    def paint(region: Region) -> np.ndarray:
        u, z = region.u, region.v
        near = 1 / np.sqrt(z)
        ripples = noise.smooth(noise.grain(), u * near * 5 + offset[0], 70 * near + offset[1])
        swell = noise.smooth(noise.clouds(), u * near * 4 + offset[1], 90 * near + offset[0])
        share = 0.75 * ripples + 0.5 * swell - 0.35
        return np.where((ripples > 0.86)[..., None], bright * np.float32(1.1), mix(base, bright, share))

    return paint


def sky(rng: np.random.Generator) -> Paint:
    """A gradient with soft clouds; u, v in shares of the picture's shorter side."""
    top = pick(rng, (0.52, 0.66), (0.1, 0.7), (0.5, 0.95))
    low = pick(rng, (0.02, 0.12), (0.0, 0.4), (0.7, 1.0), wild=0.15)
    cloud = lit(np.ones(3, np.float32), rng.uniform(0.55, 1.05))
    cover, offset = rng.uniform(-0.2, 0.45), rng.uniform(0, 200, 2).astype(np.float32)

    def paint(region: Region) -> np.ndarray:
        u, v = region.u, region.v
        clouds = noise.smooth(noise.clouds(), u * 22 + offset[0], v * 45 + offset[1])
        color = mix(top, low, np.clip(-v / 0.5, 0, 1) + 0 * u)
        return mix_each(color, cloud, np.clip((clouds - 0.6 + cover) * 3, 0, 0.85))

    return paint


def mix_each(color: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    """From a colour per pixel to one colour."""
    share = np.asarray(share, np.float32)[..., None]
    return color + (other - color) * share


def _part(x: np.ndarray, period: float) -> np.ndarray:
    """How far into its period, 0 to 1."""
    x = x / np.float32(period)
    return x - np.floor(x)


def _wave(x: np.ndarray, period: float) -> np.ndarray:
    """A smooth wave between 0 and 1."""
    return 0.5 + 0.5 * np.sin(x * np.float32(2 * np.pi / period))
