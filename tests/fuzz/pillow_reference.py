"""What Pillow makes of a file, and how the graph's answer differs from it."""

from __future__ import annotations

import io
import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image

SUPPORTED = ("JPEG", "MPO", "PNG", "GIF", "BMP", "WEBP")  # MPO: JPEG files with more images behind


class Reference(NamedTuple):
    """Pillow's pixels, uint8 (h, w, 3), or None and its error; the format that it saw."""

    pixels: np.ndarray | None
    error: str
    file_format: str


def open_with_pillow(data: bytes, max_pixels: int) -> Reference:
    """Return `Image.open(file).convert("RGB")`, refusing images of more than `max_pixels` pixels."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels // 2  # it refuses beyond twice that
    file_format = "none"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                file_format = image.format or "none"
                return Reference(np.asarray(image.convert("RGB")), "", file_format)
    except Exception as error:  # Pillow raises nearly every kind on damaged files
        return Reference(None, f"{type(error).__name__}: {error}"[:120], file_format)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def difference(reference: Reference, png: bytes) -> str | None:
    """Return what differs between Pillow's answer and the graph's, or None.

    Args:
        reference: Pillow's answer.
        png: the graph's pixels as a PNG file, "" where it refused.
    """
    if reference.pixels is None:
        return "only the graph reads it" if png else None
    if not png:
        return "only Pillow reads it"
    pixels = np.asarray(Image.open(io.BytesIO(png)))
    if pixels.shape != reference.pixels.shape:
        return "other size"
    return None if np.array_equal(pixels, reference.pixels) else "other pixels"
