"""Reading annotations, and checking a whole dataset before hours are spent on it.

Files are untrusted: a header is read, and its size judged, before any pixel is decoded.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from parity.datasets import Dataset, DatasetError, Labels, Pair
from parity.miou import LabelError

# Larger files are refused before they are decoded: 2^27 pixels, 400 MB as RGB.
MOST_PIXELS = 1 << 27
MOST_BYTES = 1 << 29
# Problems that are listed in full; the rest is counted.
LISTED = 50

_WHY_NOT = {
    "1": "1 bit a pixel, black and white",
    "LA": "gray with transparency",
    "RGB": "a colour image",
    "RGBA": "a colour image with transparency",
    "F": "floating point",
    "CMYK": "a CMYK image",
}


def check_dataset(dataset: Dataset, labels: Labels, tick: Callable[[], None] = lambda: None) -> str:
    """Decode every file of a dataset and report everything that is wrong with it at once.

    Args:
        dataset: what to check.
        labels: how its annotations are read.
        tick: called after each pair.

    Returns:
        SHA-256 over the names and the bytes of all files: whether two runs saw the same data.

    Raises:
        DatasetError: naming each wrong file, a line each.
    """
    problems = list(dataset.problems)
    digest = hashlib.sha256()
    for pair in dataset.pairs:
        found = _problems_of(pair, labels, digest)
        problems += found
        tick()
    if problems:
        lines = [f" - {line}" for line in problems[:LISTED]]
        if len(problems) > LISTED:
            lines.append(f" - and {len(problems) - LISTED} more")
        raise DatasetError(
            f"{dataset.name}: {len(problems)} problems in {len(dataset.pairs)} pairs of files; nothing was "
            "run:\n" + "\n".join(lines)
        )
    if not dataset.pairs:
        raise DatasetError(f"{dataset.name} holds no pair of a photograph and its annotation")
    return digest.hexdigest()


def read_annotation(path: Path, labels: Labels) -> np.ndarray:
    """Read an annotation's labels, mapped but not yet reduced: uint8 or uint16 (H, W).

    Raises:
        DatasetError: it cannot be read, or does not hold labels.
    """
    return _labels(_open(_bytes(path), path), path, labels)


def _problems_of(pair: Pair, labels: Labels, digest: Any) -> list[str]:
    problems, sizes = [], []
    for path, is_annotation in ((pair.image, False), (pair.annotation, True)):
        try:
            content = _bytes(path)
            digest.update(f"{pair.name}\0{len(content)}\0".encode())
            digest.update(content)
            image = _open(content, path)
            sizes.append(image.size)
            if is_annotation:
                _require_in_range(_labels(image, path, labels), path, labels)
            else:
                _decode(image, path)
        except DatasetError as error:
            problems.append(str(error))
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        (width, height), (own_width, own_height) = sizes
        problems.append(
            f"{pair.annotation}: is {own_width}×{own_height} pixels (width×height), its photograph "
            f"{pair.image.name} is {width}×{height}"
        )
    return problems


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{path}: has {path.stat().st_size:,} bytes; at most {MOST_BYTES:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read: {error.strerror or error}") from error


def _open(content: bytes, path: Path) -> Any:
    """Read a file's header."""
    from PIL import Image

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


def _decode(image: Any, path: Path) -> None:
    try:
        image.load()
    except Exception as error:
        raise DatasetError(f"{path}: is damaged ({type(error).__name__}: {error})") from error


def _labels(image: Any, path: Path, labels: Labels) -> np.ndarray:
    sixteen = image.mode.startswith("I")
    if sixteen and labels.num_classes <= 255:
        raise DatasetError(
            f"{path}: has 16 bits a pixel, but labels of {labels.num_classes} classes fit into 8: save it as "
            "8-bit gray, one label a pixel"
        )
    if image.mode == "P" and not labels.palette:
        raise DatasetError(
            f"{path}: is a palette image, whose indices may be labels or not: pass --palette-labels if they "
            "are, or save it as 8-bit gray, one label a pixel"
        )
    if not sixteen and image.mode not in ("L", "P"):
        kind = _WHY_NOT.get(image.mode, f"of the kind {image.mode}")
        raise DatasetError(f"{path}: is {kind}; expected 8-bit gray, one label a pixel")
    _decode(image, path)
    array = np.asarray(image)
    array = array.astype(np.uint16) if sixteen else array
    if labels.mapping is not None:
        if sixteen:
            raise DatasetError(f"{path}: has 16 bits a pixel; ids that are mapped have 8")
        array = labels.mapping[array]
    return array


def _require_in_range(array: np.ndarray, path: Path, labels: Labels) -> None:
    try:
        labels.matrix().update(array, np.zeros_like(array))
    except LabelError as error:
        about = " (after label 0 became ignored and the others moved down by one)"
        mapped = " (after mapping Cityscapes' ids; 254 stands for a value that is no id)"
        why = about if labels.reduce_zero_label else mapped if labels.mapping is not None else ""
        raise DatasetError(f"{path}: {error}{why}") from error
