"""Looks through a whole dataset before hours are spent on it, and reports everything wrong at once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tf_segformer.datasets.pairs import Dataset, DatasetError, Pair
from tf_segformer.datasets.reading import IGNORE_INDEX, MaskRules, read_image, read_stored, to_classes

# Problems that are listed in full; the rest is counted.
LISTED = 50


@dataclass(frozen=True)
class Contents:
    """What a checked dataset holds.

    Attributes:
        images: Photographs.
        pixels: int64 (num_labels,), pixels of each class.
        unlabelled: Pixels that are not labelled.
        digest: SHA-256 over the names, the pixels and the labels: whether two runs saw the same data.
    """

    images: int
    pixels: np.ndarray
    unlabelled: int
    digest: str


def check(
    datasets: Sequence[Dataset], rules: MaskRules, tick: Callable[[], None] = lambda: None
) -> list[Contents]:
    """Decode every file and report every problem of all datasets together.

    Args:
        datasets: What to check, e.g. the training and the validation split.
        rules: How their masks are read.
        tick: Called after each pair.

    Returns:
        What each holds.

    Raises:
        DatasetError: naming each wrong file, a line each; or a dataset holds no labelled pixel at all.
    """
    problems = [problem for dataset in datasets for problem in dataset.problems]
    contents = []
    for dataset in datasets:
        digest, counts = hashlib.sha256(), np.zeros(256, np.int64)
        for pair in dataset.pairs:
            problems += _problems_of(pair, rules, digest, counts)
            tick()
        found = counts[: rules.num_labels]
        if not problems and not found.any():
            problems.append(f"{dataset.name}: no pixel of its {len(dataset.pairs)} masks is labelled")
        contents.append(Contents(len(dataset.pairs), found, int(counts[IGNORE_INDEX]), digest.hexdigest()))
    if problems:
        lines = [f" - {line}" for line in problems[:LISTED]]
        if len(problems) > LISTED:
            lines.append(f" - and {len(problems) - LISTED} more")
        names = " and ".join(dataset.name for dataset in datasets)
        pairs = sum(len(dataset.pairs) for dataset in datasets)
        number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DatasetError(
            f"{names}: {number} in {pairs} pairs of files; nothing was run:\n" + "\n".join(lines)
        )
    return contents


def _problems_of(pair: Pair, rules: MaskRules, digest: hashlib._Hash, counts: np.ndarray) -> list[str]:
    problems, sizes = [], []
    for path, read in ((pair.image, read_image), (pair.mask, lambda path: read_stored(path, rules))):
        try:
            array = read(path)
            sizes.append(array.shape[:2])
            digest.update(f"{pair.name}\0{array.shape}\0".encode())
            digest.update(array.tobytes())
            if array.ndim == 2:
                counts += np.bincount(to_classes(array, path, rules).ravel(), minlength=256)
        except DatasetError as error:
            problems.append(str(error))
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        (height, width), (own_height, own_width) = sizes
        problems.append(
            f"{pair.mask}: is {own_width}×{own_height} pixels (width×height), its photograph "
            f"{pair.image.name} is {width}×{height}"
        )
    return problems
