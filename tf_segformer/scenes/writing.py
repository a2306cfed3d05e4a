"""Scenes as a data set on disk, in ADE20K's layout."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tf_segformer.scenes.scene import SPLITS, check_size, draw_scene

MOST = 1_000_000
_AT_ONCE = 16  # scenes handed to a process together


@dataclass(frozen=True)
class Order:
    """What is to be drawn.

    Attributes:
        count: Scenes, the first of the series.
        seed: The series.
        height: Rows of each.
        width: Columns of each.
        split: "training" or "validation".

    Raises:
        ValueError: A number is out of range, or there is no such split.
    """

    count: int
    seed: int
    height: int
    width: int
    split: str

    def __post_init__(self) -> None:
        check_size(self.height, self.width)
        if not 1 <= self.count <= MOST:
            raise ValueError(f"The count is {self.count}; expected 1 to {MOST} scenes.")
        if self.seed < 0:
            raise ValueError(f"The seed is {self.seed}; expected a whole number from 0.")
        if self.split not in SPLITS:
            raise ValueError(f"The split is {self.split!r}; expected {' or '.join(SPLITS)}.")


def write_scenes(
    folder: Path, order: Order, processes: int = 1, tick: Callable[[], None] = lambda: None
) -> None:
    """Write scenes as `images/SPLIT/*.jpg` and `annotations/SPLIT/*.png`.

    An annotation is an 8-bit gray PNG of ADE20K's class numbers plus one; 0 is "not labelled". All files
    are written into the folder `SPLIT.unfinished` and moved into place when the last is done. An error or
    an interrupt removes that folder; what is left of a killed run is refused by the next one.
    `scenes-SPLIT.json` tells what was drawn.

    Args:
        folder: The data set's; made if it does not exist.
        order: What to draw.
        processes: How many draw at a time; the files are the same.
        tick: Called after each scene.

    Raises:
        FileExistsError: The split is there already, whole or unfinished.
        OSError: The folder cannot be written.
    """
    unfinished = folder / f"{order.split}.unfinished"
    _require_free(folder, order.split, unfinished)
    for kind in ("images", "annotations"):
        (unfinished / kind).mkdir(parents=True)
    try:
        for _ in _written(unfinished, order, processes):
            tick()
        for kind in ("annotations", "images"):
            (folder / kind).mkdir(exist_ok=True)
            (unfinished / kind).rename(folder / kind / order.split)
        text = json.dumps(asdict(order), indent=1) + "\n"
        (folder / f"scenes-{order.split}.json").write_text(text, encoding="utf-8")
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _require_free(folder: Path, split: str, unfinished: Path) -> None:
    for there in (folder / "images" / split, folder / "annotations" / split):
        if there.exists():
            raise FileExistsError(
                f"{there} exists already and is not overwritten. Give another folder, or remove it."
            )
    if unfinished.exists():
        raise FileExistsError(
            f"{unfinished} is what a killed run has left, or one that is still at work. Remove it if none is."
        )


def _written(folder: Path, order: Order, processes: int) -> Iterator[int]:
    """Write every scene, and yield its number once it is there."""
    if processes == 1:
        for index in range(order.count):
            yield _write_one(folder, order, index)
        return
    # a fork would copy a process in which TensorFlow has threads
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        numbers = range(order.count)
        folders, orders = [folder] * order.count, [order] * order.count
        yield from pool.map(_write_one, folders, orders, numbers, chunksize=_AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)


def _write_one(folder: Path, order: Order, index: int) -> int:
    scene = draw_scene(order.seed, index, order.height, order.width, order.split)
    name = f"scene_{index:06d}"
    (folder / "images" / f"{name}.jpg").write_bytes(scene.jpeg)
    stored = scene.labels + np.uint8(1)  # 255, of no class, comes round to 0
    Image.fromarray(stored).save(folder / "annotations" / f"{name}.png")
    return index
