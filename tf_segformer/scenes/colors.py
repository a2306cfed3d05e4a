"""Colours: drawn so widely that a colour says little about the class."""

from __future__ import annotations

import colorsys

import numpy as np

Range = tuple[float, float]


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """A colour, float32 [3], from hue (in turns), saturation and value."""
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value), np.float32)


def pick(
    rng: np.random.Generator, hue: Range, saturation: Range, value: Range, *, wild: float = 0.06
) -> np.ndarray:
    """A colour from ranges; with the chance `wild` of any hue."""
    chosen = rng.uniform(*hue), rng.uniform(*saturation), rng.uniform(*value)
    any_hue, is_wild = rng.random(), rng.random() < wild
    return hsv(any_hue if is_wild else chosen[0], *chosen[1:])


def anything(rng: np.random.Generator, value: Range = (0.15, 0.95)) -> np.ndarray:
    """Any colour, more often a muted one."""
    return hsv(rng.random(), rng.random() ** 1.5 * 0.85, rng.uniform(*value))


def wood(rng: np.random.Generator, value: Range = (0.2, 0.9)) -> np.ndarray:
    """The colour of wood or of painted wood."""
    return pick(rng, (0.04, 0.11), (0.2, 0.65), value)


def mix(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """From the first colour to the second: float32 [..., 3] for shares [...] of 0 to 1."""
    return first + (second - first) * np.asarray(share, np.float32)[..., None]


def lit(color: np.ndarray, factor: np.ndarray | float) -> np.ndarray:
    """A colour under more or less light, factors [...] giving [..., 3]."""
    return color * np.asarray(factor, np.float32)[..., None]
