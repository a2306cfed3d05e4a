"""A test picture that needs no file: smooth areas, hard edges, fine texture and noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_test_image(path: Path, *, height: int = 427, width: int = 640, seed: int = 0) -> Path:
    """Write a seeded RGB picture as PNG.

    Args:
        path: file to write.
        height: rows in pixels.
        width: columns in pixels.
        seed: of the shapes and of the noise.

    Returns:
        The path.
    """
    from PIL import Image

    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height, x / width
    picture = np.stack([255.0 * x, 255.0 * y, 255.0 * (1.0 - x)], axis=-1)
    for _ in range(24):
        centre_y, centre_x, radius = random.random(3) * (1.0, 1.0, 0.25)
        inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < radius**2
        picture[inside] = 0.3 * picture[inside] + 0.7 * random.integers(0, 256, 3)
    picture += 20.0 * np.sin(60.0 * np.pi * x * y)[..., None]
    picture += random.normal(0.0, 8.0, picture.shape)
    Image.fromarray(np.clip(np.rint(picture), 0, 255).astype(np.uint8)).save(path, format="PNG")
    return path
