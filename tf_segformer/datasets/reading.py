"""Reads a photograph and its mask, by Pillow.

Files are untrusted: the header is read, and the size judged, before any pixel is decoded.

Axis legend: h, w height and width of a photograph in pixels.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tf_segformer.datasets.pairs import DatasetError

# The label of pixels that do not count, in masks and in the loss.
IGNORE_INDEX = 255
# Larger files are refused before they are decoded: 400 MB as RGB.
MOST_PIXELS = 1 << 27
MOST_BYTES = 1 << 29

_WHY_NOT = {
    "1": "has 1 bit a pixel, black and white",
    "LA": "is gray with transparency",
    "RGB": "is a colour image",
    "RGBA": "is a colour image with transparency",
    "F": "is floating point",
}


@dataclass(frozen=True)
class MaskRules:
    """How the pixels of masks are read as classes.

    Attributes:
        num_labels: Classes of the model, 0 to num_labels - 1; at most 255.
        reduce_zero_label: Whether 0 in a file means "not labelled" and the classes begin at 1.
        palette: Whether the indices of a palette image are accepted as labels.
    """

    num_labels: int
    reduce_zero_label: bool = False
    palette: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.num_labels <= IGNORE_INDEX:
            raise DatasetError(
                f"{self.num_labels} classes: expected 2 to {IGNORE_INDEX}; masks have 8 bits a pixel, and "
                f"{IGNORE_INDEX} is what is not labelled"
            )


def read_image(path: Path) -> np.ndarray:
    """Read a photograph: uint8 (h, w, 3), RGB, not turned by its EXIF orientation.

    Raises:
        DatasetError: it cannot be read.
    """
    image = _open(path)
    try:
        return np.asarray(image.convert("RGB"))
    except Exception as error:
        raise DatasetError(f"{path}: is damaged ({type(error).__name__}: {error})") from error


def read_mask(path: Path, rules: MaskRules) -> np.ndarray:
    """Read a mask: uint8 (h, w), classes from 0, and `IGNORE_INDEX` where nothing is labelled.

    Raises:
        DatasetError: it cannot be read, does not hold labels, or one is out of range.
    """
    return to_classes(read_stored(path, rules), path, rules)


def read_stored(path: Path, rules: MaskRules) -> np.ndarray:
    """Read a mask's labels as they are stored: uint8 (h, w).

    Raises:
        DatasetError: it cannot be read, or does not hold labels.
    """
    image = _open(path)
    if image.mode.startswith("I"):
        raise DatasetError(
            f"{path}: has 16 bits a pixel, but the labels of {rules.num_labels} classes fit into 8: save it "
            "as 8-bit gray, one label a pixel"
        )
    if image.mode == "P" and not rules.palette:
        raise DatasetError(
            f"{path}: is a palette image, whose indices may be labels or not: pass --palette-labels if they "
            "are, or save it as 8-bit gray, one label a pixel"
        )
    if image.mode not in ("L", "P"):
        kind = _WHY_NOT.get(image.mode, f"is of the kind {image.mode}")
        raise DatasetError(f"{path}: {kind}; expected 8-bit gray, one label a pixel")
    try:
        return np.asarray(image)
    except Exception as error:
        raise DatasetError(f"{path}: is damaged ({type(error).__name__}: {error})") from error


def to_classes(labels: np.ndarray, path: Path, rules: MaskRules) -> np.ndarray:
    """Turn stored labels into classes, by the same rules as mmsegmentation's `reduce_zero_label`.

    Raises:
        DatasetError: one is out of range; the message names `path`.
    """
    first = int(rules.reduce_zero_label)
    table = np.full(256, IGNORE_INDEX, np.uint8)
    table[first : rules.num_labels + first] = np.arange(rules.num_labels)
    stored = np.flatnonzero(np.bincount(labels.ravel(), minlength=256))
    highest = rules.num_labels - 1 + first
    wrong = stored[(stored > highest) & (stored != IGNORE_INDEX)]
    if wrong.size:
        some = ", ".join(map(str, wrong[:5])) + (", …" if wrong.size > 5 else "")
        zero = " (0 is not labelled)" if first else ""
        raise DatasetError(
            f"{path}: has labels outside 0 to {highest}{zero} for {rules.num_labels} classes: {some}; only "
            f"{IGNORE_INDEX} is allowed above, for what is not labelled"
        )
    table[IGNORE_INDEX] = IGNORE_INDEX
    return table[labels]


def _open(path: Path) -> Any:
    """Read a file's header."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise DatasetError(f"{path}: has {size:,} bytes; at most {MOST_BYTES:,} are read")
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content))
    except Exception as error:  # Pillow's readers raise a dozen types on untrusted bytes
        raise DatasetError(f"{path}: is no image that can be read ({type(error).__name__})") from error
    if image.width * image.height > MOST_PIXELS:
        raise DatasetError(
            f"{path}: is {image.width}×{image.height}; at most {MOST_PIXELS:,} pixels are read"
        )
    return image
