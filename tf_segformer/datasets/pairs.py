"""Which photographs and masks belong together.

Two layouts are known:

* ADE20K's scene parsing: `images/SPLIT/*.jpg`, `annotations/SPLIT/*.png`, SPLIT being `training` or
  `validation`; 0 is "not labelled" and the classes begin at 1.
* any two folders: a photograph and its mask have the same relative path but for the extension.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
MASK_EXTENSIONS = (".png", ".bmp")
# Names that the folder of masks has in DATA, beside `images`.
MASK_FOLDERS = ("masks", "annotations", "labels")
# What is held back for validation where the data has no split of its own.
VALIDATION_SHARE = 0.1


class DatasetError(ValueError):
    """A dataset is not there or not whole; the message names every file that is wrong."""


@dataclass(frozen=True)
class Pair:
    """A photograph and its mask.

    Attributes:
        name: The photograph's path below its folder, without the extension.
        image: The photograph's file.
        mask: The mask's file.
    """

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Dataset:
    """Pairs of photographs and masks.

    Attributes:
        name: What to call it: the folder's name and the split.
        pairs: Sorted by name.
        reduce_zero_label: Whether 0 in a mask means "not labelled" and the classes begin at 1.
        problems: What is wrong so far, a line a file: photographs without a mask and the reverse.
    """

    name: str
    pairs: tuple[Pair, ...]
    reduce_zero_label: bool = False
    problems: tuple[str, ...] = ()


def find_split(data: Path, split: str) -> Dataset:
    """One split of a folder in ADE20K's layout.

    Args:
        data: The folder that holds `images/` and `annotations/`.
        split: `training` or `validation`.

    Raises:
        DatasetError: a folder is missing or empty.
    """
    found = find_folders(data / "images" / split, data / "annotations" / split)
    return replace(found, name=f"{data.name} {split}", reduce_zero_label=True)


def find_folders(images: Path, masks: Path) -> Dataset:
    """Any two folders, searched with their subfolders.

    Raises:
        DatasetError: a folder is missing or empty.
    """
    pairs, problems = _pair_up(_by_name(images, IMAGE_EXTENSIONS), _by_name(masks, MASK_EXTENSIONS))
    return Dataset(f"{images.parent.name} {images.name}", pairs, problems=problems)


def find_training(data: Path, *, seed: int = 0) -> tuple[Dataset, Dataset]:
    """The photographs to train on and those to validate on, by the layout that is there.

    Two plain folders have no split: a tenth of the photographs, at least one, is held back for
    validation, drawn by `seed` from the sorted names.

    Raises:
        DatasetError: the folder is missing, of no known layout, or holds too little.
    """
    if is_ade20k(data):
        training = find_split(data, "training")
        if (data / "images" / "validation").is_dir():
            return training, find_split(data, "validation")
        return held_back(training, seed)
    return held_back(_plain(data), seed)


def find_evaluation(data: Path, split: str | None = None) -> Dataset:
    """The photographs to evaluate on: ADE20K's split (by default `validation`), or all of two folders.

    Raises:
        DatasetError: the folder is missing or of no known layout.
    """
    if split is not None or is_ade20k(data):
        return find_split(data, split or "validation")
    return _plain(data)


def held_back(dataset: Dataset, seed: int) -> tuple[Dataset, Dataset]:
    """Split a dataset into what is trained on and what is held back; see `find_training`.

    Raises:
        DatasetError: there are fewer than two pairs, but no other problems.
    """
    count = len(dataset.pairs)
    if count < 2 and not dataset.problems:
        raise DatasetError(
            f"{dataset.name} holds {count} pair of a photograph and its mask; expected at least 2, one to "
            "train on and one to validate on"
        )
    order = np.random.default_rng(seed).permutation(count)
    back = set(order[: max(1, round(VALIDATION_SHARE * count))].tolist())
    parts = [
        tuple(pair for index, pair in enumerate(dataset.pairs) if (index in back) is held)
        for held in (False, True)
    ]
    return (
        replace(dataset, name=f"{dataset.name} training", pairs=parts[0]),
        replace(dataset, name=f"{dataset.name} held back", pairs=parts[1], problems=()),
    )


def is_ade20k(data: Path) -> bool:
    """Whether the folder has ADE20K's layout; raises DatasetError if there is no such folder."""
    if not data.is_dir():
        raise DatasetError(f"there is no folder {data}: give the folder of a dataset")
    return any((data / "images" / split).is_dir() for split in ("training", "validation"))


def _plain(data: Path) -> Dataset:
    for name in MASK_FOLDERS:
        if (data / "images").is_dir() and (data / name).is_dir():
            return replace(find_folders(data / "images", data / name), name=data.name)
    raise DatasetError(
        f"{data} is of no known layout: expected images/training and annotations/training (ADE20K's), or "
        f"images/ and one of {', '.join(f'{name}/' for name in MASK_FOLDERS)}. Give any other two folders as "
        "--images DIR --masks DIR"
    )


def _by_name(folder: Path, extensions: Iterable[str]) -> dict[str, list[Path]]:
    """The files below a folder, by relative path without the extension."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in extensions and path.is_file() and not hidden:
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
    if not found:
        kinds = ", ".join(f"*{extension}" for extension in sorted(extensions))
        raise DatasetError(f"{folder} is empty: it holds no file {kinds}")
    return found


def _pair_up(
    images: dict[str, list[Path]], masks: dict[str, list[Path]]
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    pairs, problems = [], []
    for name in sorted(images.keys() | masks.keys()):
        image, mask = images.get(name, []), masks.get(name, [])
        for files in (image, mask):
            if len(files) > 1:
                names = " and ".join(path.name for path in files)
                problems.append(f"{files[0]}: more than one file of this name: {names}")
        if not mask:
            problems.append(f"{image[0]}: no mask of the name {name}")
        elif not image:
            problems.append(f"{mask[0]}: no photograph of the name {name}")
        else:
            pairs.append(Pair(name, image[0], mask[0]))
    return tuple(pairs), tuple(problems)
