"""What has no corners: people and trees."""

from __future__ import annotations

import numpy as np

from tf_segformer.scenes import noise
from tf_segformer.scenes.boxes import Box, contact_shadow
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas
from tf_segformer.scenes.colors import anything, lit, pick


def paint_person(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box) -> None:
    """Head with hair, torso, arms and two legs, seen from the front."""
    x, z = (at.x[0] + at.x[1]) / 2, at.z[0] + 0.1
    size = rng.uniform(1.5, 1.9) / 1.75
    skin = pick(rng, (0.03, 0.09), (0.25, 0.6), (0.35, 0.95), wild=0.05)
    hair = pick(rng, (0.04, 0.12), (0.1, 0.7), (0.05, 0.5))
    shirt = pick(rng, (0, 1), (0.3, 0.95), (0.3, 1.0))
    trousers, shoes = pick(rng, (0.55, 0.68), (0.1, 0.7), (0.12, 0.6), wild=0.1), anything(rng, (0.05, 0.4))
    stride, arms, skirt = rng.uniform(0.02, 0.09), rng.uniform(0.0, 0.09), rng.random() < 0.3
    contact_shadow(canvas, camera, (x - 0.3, x + 0.3), (z - 0.15, z + 0.3))
    region = camera.front(z, (x - 0.55 * size, x + 0.55 * size), (0, 1.8 * size)).shifted(x, 0)
    u, v = region.u / np.float32(size), region.v / np.float32(size)
    across = np.abs(u)

    light = np.float32(1.1) - 0.35 * np.clip((u + 0.2) / 0.4, 0, 1) + 0 * v
    legs_at = 0.1 + stride * (1 - v / 0.85)
    legs = (np.abs(across - legs_at) < 0.085) & (v < 0.85)
    if skirt:
        legs |= (across < 0.3 - 0.16 * (v - 0.4) / 0.5) & (v > 0.4) & (v < 0.9)
    torso = (across < 0.17 + 0.05 * (v - 0.8) / 0.6) & (v >= 0.8) & (v < 1.42)
    reach = 0.23 + arms * (1.4 - v) / 0.6
    sleeves = (np.abs(across - reach) < 0.07) & (v > 0.78) & (v < 1.4)
    hands = (across - reach[:, :1]) ** 2 + (v - 0.76) ** 2 < 0.07**2
    neck = (across < 0.06) & (v >= 1.4) & (v < 1.52)
    head = (u / 0.115) ** 2 + ((v - 1.6) / 0.15) ** 2 < 1
    for part, color in (
        (legs, trousers),
        (legs & (v < 0.09), shoes),
        (sleeves, lit(shirt, 0.85)),
        (hands, skin),
        (torso, shirt),
        (neck, lit(skin, 0.85)),
        (head, skin),
        (head & (v > 1.64 + 0.04 * np.sin(u * 30)), hair),
    ):
        canvas.paint(region.where(part), lit(color, light), "person")


def paint_tree(canvas: Canvas, camera: Camera, rng: np.random.Generator, at: Box, height: float) -> None:
    """A trunk and a crown of leaves: round with a ragged edge, or a cone of tiers."""
    x, z = (at.x[0] + at.x[1]) / 2, at.z[0]
    leaves = pick(rng, (0.14, 0.4), (0.3, 0.8), (0.25, 0.75))
    bark = pick(rng, (0.03, 0.1), (0.1, 0.5), (0.15, 0.5), wild=0.1)
    half, offset = height * rng.uniform(0.26, 0.4), rng.uniform(0, 200, 2).astype(np.float32)
    trunk, start = height * rng.uniform(0.035, 0.06), height * rng.uniform(0.18, 0.3)
    is_cone = rng.random() < 0.3
    contact_shadow(canvas, camera, (x - half * 0.6, x + half * 0.6), (z - 0.2, z + 0.5), 0.45)
    stem = camera.front(z, (x - trunk, x + trunk), (0, start * 1.6)).shifted(x, 0)
    stripes = noise.sample(noise.grain(), stem.u / trunk * 3 + offset[0], stem.v / height * 20)
    canvas.paint(stem, lit(bark, 0.7 + 0.5 * stripes), "tree")
    crown = camera.front(z, (x - half, x + half), (start, height)).shifted(x, start)
    u, v = crown.u / np.float32(half), crown.v / np.float32(height - start)
    ragged = noise.smooth(noise.clouds(), u * 26 + offset[0], v * 26 + offset[1]) - 0.5
    if is_cone:
        tier = v * 4 % 1
        inside = np.abs(u) < (1 - v) * (1.0 - 0.3 * tier) + 0.25 * ragged
    else:
        inside = u**2 + (2 * v - 1) ** 2 < 0.75 + 1.3 * ragged
    clumps = noise.smooth(noise.clouds(), u * 30 + offset[1], v * 30 + offset[0])
    fine = noise.smooth(noise.grain(), u * 11 + offset[0], v * 13 + offset[1])
    light = 0.25 + 0.6 * clumps + 0.65 * fine * fine + 0.25 * (v - u * 0.5)
    canvas.paint(crown.where(inside), lit(leaves, np.clip(light, 0.15, 1.5)), "tree")
