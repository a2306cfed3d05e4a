"""Photographs and their annotations on disk: which belong together, and how labels are stored.

Three layouts are known:

* ``ade20k``: `images/validation/*.jpg`, `annotations/validation/*.png`; 0 is "not labelled".
* ``cityscapes``: `leftImg8bit/val/CITY/*_leftImg8bit.png`, `gtFine/val/CITY/*_gtFine_labelTrainIds.png`
  or, where those were not made, `*_gtFine_labelIds.png`, whose 34 ids are mapped to the 19 train ids.
* ``folders``: any two folders, a photograph and its annotation by the same relative path but for the
  extension (and an ending of the annotation's name).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.miou import IGNORE_INDEX, ConfusionMatrix

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp")
ANNOTATION_EXTENSIONS = (".png", ".bmp", ".gif")
# Cityscapes' ids of its 19 evaluated classes, in the order of their train ids (cityscapesScripts,
# `helpers/labels.py`). Every other id is not evaluated.
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
CITYSCAPES_HIGHEST_ID = 33


class DatasetError(ValueError):
    """A dataset is not there or not whole; the message names every file that is wrong."""


@dataclass(frozen=True)
class Pair:
    """One photograph and its annotation.

    Attributes:
        name: the photograph's path below its folder, without the extension.
        image: the photograph's file.
        annotation: the annotation's file.
    """

    name: str
    image: Path
    annotation: Path


@dataclass(frozen=True)
class Labels:
    """How an annotation's pixels are to be read.

    Attributes:
        num_classes: classes of the model.
        ignore_index: label that is not scored; None: there is none.
        reduce_zero_label: whether 0 means "not labelled" and classes begin at 1.
        mapping: uint8 (256,), from stored ids to labels before any reduction; None: they are the same.
        palette: whether the indices of a palette image are accepted as labels.
    """

    num_classes: int
    ignore_index: int | None = IGNORE_INDEX
    reduce_zero_label: bool = False
    mapping: np.ndarray | None = None
    palette: bool = False

    def matrix(self) -> ConfusionMatrix:
        """An empty confusion matrix that counts by these rules."""
        return ConfusionMatrix(
            self.num_classes, ignore_index=self.ignore_index, reduce_zero_label=self.reduce_zero_label
        )


@dataclass(frozen=True)
class Dataset:
    """The pairs of one dataset and how their labels are stored.

    Attributes:
        name: what to call it in reports: the folder's name and the split.
        layout: ``ade20k``, ``cityscapes`` or ``folders``.
        pairs: sorted by name.
        reduce_zero_label: what the layout says about label 0.
        mapping: from stored ids to labels, as in `Labels`.
        problems: what is wrong so far, a line a file: photographs without annotation and the reverse.
    """

    name: str
    layout: str
    pairs: tuple[Pair, ...]
    reduce_zero_label: bool
    mapping: np.ndarray | None
    problems: tuple[str, ...]


def find_ade20k(data: Path, split: str = "validation") -> Dataset:
    """ADE20K's scene parsing layout.

    Raises:
        DatasetError: a folder is missing or empty.
    """
    images, annotations = data / "images" / split, data / "annotations" / split
    pairs, problems = _pair_up(_by_name(images, IMAGE_EXTENSIONS), _by_name(annotations, (".png",)))
    return Dataset(f"{data.name} {split}", "ade20k", pairs, True, None, problems)


def find_cityscapes(data: Path, split: str = "val") -> Dataset:
    """Cityscapes' layout; train ids if there are any, else ids, which are mapped.

    Raises:
        DatasetError: a folder is missing or empty.
    """
    images = _by_name(data / "leftImg8bit" / split, IMAGE_EXTENSIONS, "_leftImg8bit")
    folder = data / "gtFine" / split
    kinds = {
        ending: _by_name(folder, (".png",), ending, allow_none=True)
        for ending in ("_gtFine_labelTrainIds", "_gtFine_labelIds")
    }
    train_ids, ids = kinds.values()
    if not train_ids and not ids:
        raise DatasetError(
            f"{folder} holds neither *_gtFine_labelTrainIds.png nor *_gtFine_labelIds.png: give the folder "
            "that holds leftImg8bit/ and gtFine/ of Cityscapes"
        )
    pairs, problems = _pair_up(images, train_ids or ids)
    mapping = None if train_ids else cityscapes_mapping()
    return Dataset(f"{data.name} {split}", "cityscapes", pairs, False, mapping, problems)


def find_folders(images: Path, annotations: Path, annotation_ending: str = "") -> Dataset:
    """Any two folders.

    Args:
        images: folder of photographs, searched with its subfolders.
        annotations: folder of annotations.
        annotation_ending: what an annotation's name has more than its photograph's, before the
            extension, e.g. ``_mask``.

    Raises:
        DatasetError: a folder is missing or empty.
    """
    pairs, problems = _pair_up(
        _by_name(images, IMAGE_EXTENSIONS), _by_name(annotations, ANNOTATION_EXTENSIONS, annotation_ending)
    )
    return Dataset(f"{images.name} and {annotations.name}", "folders", pairs, False, None, problems)


def find_dataset(data: Path, layout: str = "auto", split: str | None = None) -> Dataset:
    """Find a dataset by its layout, or tell the layout from the folders that are there.

    Args:
        data: the dataset's folder.
        layout: ``ade20k``, ``cityscapes``, ``folders`` (`images/` and `annotations/` below) or ``auto``.
        split: subfolder; by default the layout's own name of the validation split.

    Raises:
        DatasetError: the folder is missing, or of no known layout.
    """
    if not data.is_dir():
        raise DatasetError(f"there is no folder {data}: give the folder of a dataset")
    if layout == "auto":
        layout = _layout_of(data, split)
    if layout == "cityscapes":
        return find_cityscapes(data, split or "val")
    if layout == "ade20k":
        return find_ade20k(data, split or "validation")
    if layout == "folders":
        below = split or "."
        return find_folders(data / "images" / below, data / "annotations" / below)
    raise ValueError(f"unknown layout {layout!r}; expected ade20k, cityscapes, folders or auto")


def cityscapes_mapping() -> np.ndarray:
    """uint8 (256,): Cityscapes' ids to train ids; what is not evaluated to 255, and no id to 254.

    254 is out of range, so that a value which is no id at all is reported. The id -1 (license plate) is
    stored as 255.
    """
    mapping = np.full(256, IGNORE_INDEX - 1, np.uint8)
    mapping[: CITYSCAPES_HIGHEST_ID + 1] = mapping[255] = IGNORE_INDEX
    mapping[list(CITYSCAPES_IDS)] = np.arange(len(CITYSCAPES_IDS))
    return mapping


def _layout_of(data: Path, split: str | None) -> str:
    if (data / "leftImg8bit").is_dir() and (data / "gtFine").is_dir():
        return "cityscapes"
    if (data / "images" / (split or "validation")).is_dir():
        return "ade20k"
    raise DatasetError(
        f"{data} is of no layout that is known by its folders: expected images/validation and "
        "annotations/validation (ADE20K) or leftImg8bit/val and gtFine/val (Cityscapes). "
        "Give any other as two folders: --images DIR --annotations DIR"
    )


def _by_name(
    folder: Path, extensions: Iterable[str], ending: str = "", *, allow_none: bool = False
) -> dict[str, list[Path]]:
    """The files below a folder, by relative path without ending and extension."""
    if not folder.is_dir():
        raise DatasetError(f"there is no folder {folder}")
    allowed = set(extensions)
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in allowed and path.stem.endswith(ending) and path.is_file() and not hidden:
            name = path.relative_to(folder).with_suffix("").as_posix()
            found.setdefault(name[: len(name) - len(ending)], []).append(path)
    if not found and not allow_none:
        kinds = ", ".join(f"*{ending}{extension}" for extension in sorted(allowed))
        raise DatasetError(f"{folder} is empty: it holds no file {kinds}")
    return found


def _pair_up(
    images: dict[str, list[Path]], annotations: dict[str, list[Path]]
) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    pairs, problems = [], []
    for name in sorted(images.keys() | annotations.keys()):
        image, annotation = images.get(name, []), annotations.get(name, [])
        for files in (image, annotation):
            if len(files) > 1:
                names = " and ".join(path.name for path in files)
                problems.append(f"{files[0]}: more than one file of this name: {names}")
        if not annotation:
            problems.append(f"{image[0]}: no annotation of the name {name}")
        elif not image:
            problems.append(f"{annotation[0]}: no photograph of the name {name}")
        else:
            pairs.append(Pair(name, image[0], annotation[0]))
    return tuple(pairs), tuple(problems)
