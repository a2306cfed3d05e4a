"""One scene: a photograph as a JPEG file, and its label map."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tf_segformer.scenes.landscape import paint_landscape
from tf_segformer.scenes.photography import photograph
from tf_segformer.scenes.room import paint_room

SMALLEST, LARGEST = 32, 4096  # pixels
SPLITS = ("training", "validation")
ROOMS = 0.52  # their share of all scenes; a room holds more classes than a landscape


@dataclass(frozen=True)
class Scene:
    """A drawn photograph and what it shows.

    Attributes:
        jpeg: The photograph's file.
        labels: uint8 [height, width], ADE20K's class numbers 0 to 149, and 255 where there is none.
    """

    jpeg: bytes
    labels: np.ndarray

    @property
    def image(self) -> np.ndarray:
        """The photograph, uint8 [height, width, 3], as a decoder of the JPEG file gives it."""
        return np.asarray(Image.open(io.BytesIO(self.jpeg)))


def draw_scene(seed: int, index: int, height: int, width: int, split: str = "training") -> Scene:
    """Draw scene `index` of the series `seed`; the same every time, and of like content at every size.

    Args:
        seed: The series, 0 or more.
        index: The scene's number in it, 0 or more.
        height: Rows, 32 to 4096.
        width: Columns, 32 to 4096.
        split: "training" or "validation"; the two share no scene, whatever the seed.

    Raises:
        ValueError: A number is out of range, or there is no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"The split is {split!r}; expected {' or '.join(SPLITS)}.")
    check_size(height, width)
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index are {seed} and {index}; expected whole numbers from 0.")
    content, taking = (np.random.default_rng([seed, SPLITS.index(split), index, stage]) for stage in (0, 1))
    paint = paint_room if content.random() < ROOMS else paint_landscape
    canvas = paint(content, height, width)
    return Scene(photograph(canvas.image, taking), canvas.labels)


def check_size(height: int, width: int) -> None:
    """Refuse a size that no scene has.

    Raises:
        ValueError: A side is below 32 or above 4096 pixels.
    """
    if not (SMALLEST <= height <= LARGEST and SMALLEST <= width <= LARGEST):
        raise ValueError(
            f"The size is {width}x{height} (width x height); expected {SMALLEST} to {LARGEST} pixels each."
        )
