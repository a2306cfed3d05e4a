"""How much of a scene its colours alone give away: two classifiers that see one pixel at a time.

    python -m tf_segformer.scenes.baselines

A model that has learnt something must be better than these by far. Both are fitted on training scenes and
scored on validation scenes. `NearestMean` takes the class whose mean colour is nearest; `NearestNeighbours`
what most of the k nearest pixels of the training scenes are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Protocol

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from tf_segformer.labels import ADE20K
from tf_segformer.scenes.classes import ID, UNLABELLED
from tf_segformer.scenes.scene import draw_scene

# Colours are told apart in steps of 8, so that each of the 32^3 is classified once.
_STEP = 8
_LEVELS = 256 // _STEP
_ROWS_AT_ONCE = 2048


class Classifier(Protocol):
    """Classifies pixels by their colours."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the class numbers, uint8 [height, width], of an image, uint8 [height, width, 3]."""


class NearestMean:
    """The class whose mean colour is nearest.

    Args:
        colors: uint8 [pixels, 3].
        labels: uint8 [pixels], none of them 255.
    """

    def __init__(self, colors: np.ndarray, labels: np.ndarray) -> None:
        self.classes = np.unique(labels)
        self.means = np.array([colors[labels == each].mean(0) for each in self.classes])

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the class numbers, uint8 [height, width], of an image, uint8 [height, width, 3]."""
        away = ((image[..., None, :] - self.means) ** 2).sum(-1)
        return self.classes[away.argmin(-1)]


class NearestNeighbours:
    """What most of the k pixels of the nearest colours are, colours being rounded to steps of 8.

    Args:
        colors: uint8 [pixels, 3].
        labels: uint8 [pixels], none of them 255.
        k: How many neighbours vote; of classes with as many votes the lowest number wins.
    """

    def __init__(self, colors: np.ndarray, labels: np.ndarray, k: int = 25) -> None:
        self.classes, votes = np.unique(labels, return_inverse=True)
        k = min(k, len(labels))
        known = colors.astype(np.float32)
        levels = np.arange(_LEVELS, dtype=np.float32) * _STEP + (_STEP - 1) / 2
        cells = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(-1, 3)
        winners = []
        for start in range(0, len(cells), _ROWS_AT_ONCE):
            asked = cells[start : start + _ROWS_AT_ONCE]
            away = (known**2).sum(1) - 2 * asked @ known.T  # but for a number that all have in common
            nearest = votes[np.argpartition(away, k - 1, axis=1)[:, :k]]
            rows = np.arange(len(asked))[:, None] * len(self.classes)
            counts = np.bincount((rows + nearest).ravel(), minlength=len(asked) * len(self.classes))
            winners.append(counts.reshape(len(asked), -1).argmax(1))
        self.table = self.classes[np.concatenate(winners)].reshape((_LEVELS,) * 3)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the class numbers, uint8 [height, width], of an image, uint8 [height, width, 3]."""
        red, green, blue = np.moveaxis(image // _STEP, -1, 0)
        return self.table[red, green, blue]


def sample_pixels(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]], per_image: int, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Draw labelled pixels from images.

    Args:
        pairs: Images, uint8 [height, width, 3], and label maps, uint8 [height, width] with 255 for none.
        per_image: How many pixels of each, at random and with replacement.
        seed: Decides which.

    Returns:
        Colours, uint8 [pixels, 3], and labels, uint8 [pixels].
    """
    rng = np.random.default_rng(seed)
    colors, labels = [], []
    for image, label_map in pairs:
        at = rng.integers(label_map.size, size=per_image)
        colors.append(image.reshape(-1, 3)[at])
        labels.append(label_map.ravel()[at])
    all_colors, all_labels = np.concatenate(colors), np.concatenate(labels)
    known = all_labels != UNLABELLED
    return all_colors[known], all_labels[known]


def iou_per_class(pairs: Iterable[tuple[np.ndarray, np.ndarray]], classify: Classifier) -> np.ndarray:
    """Score a classifier.

    Args:
        pairs: Images and label maps as in `sample_pixels`.
        classify: What is scored.

    Returns:
        float64 [150]: intersection over union of each class of ADE20K, over all images together; NaN for
        a class that is neither annotated nor predicted on an annotated pixel.
    """
    classes = len(ADE20K)
    matrix = np.zeros((classes, classes), np.int64)
    for image, label_map in pairs:
        known = label_map != UNLABELLED
        cells = label_map[known].astype(np.int64) * classes + classify(image)[known]
        matrix += np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    with np.errstate(invalid="ignore"):
        return matrix.diagonal() / union


def draw_pairs(split: str, count: int, seed: int, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Draw square scenes as images and label maps."""
    for index in range(count):
        scene = draw_scene(seed, index, size, size, split)
        yield scene.image, scene.labels


def main(
    train: Annotated[int, typer.Option(help="Training scenes to learn colours from.", min=1)] = 200,
    test: Annotated[int, typer.Option(help="Validation scenes to be scored on.", min=1)] = 100,
    size: Annotated[int, typer.Option(help="Side of the scenes in pixels.", min=32)] = 256,
    seed: Annotated[int, typer.Option(help="Series of scenes.", min=0)] = 0,
    pixels: Annotated[int, typer.Option(help="Pixels of each training scene.", min=1)] = 50,
    k: Annotated[int, typer.Option(help="Neighbours that vote.", min=1)] = 25,
) -> None:
    """Print the mIoU that colours alone reach on drawn scenes."""
    console = Console()
    with console.status("Drawing scenes"):
        colors, labels = sample_pixels(draw_pairs("training", train, seed, size), pixels)
        held_out = list(draw_pairs("validation", test, seed, size))
    with console.status("Classifying colours"):
        scores = [
            iou_per_class(held_out, classify)
            for classify in (NearestMean(colors, labels), NearestNeighbours(colors, labels, k))
        ]
    table = Table("class", "nearest mean", f"{k} nearest neighbours", title="IoU by colour alone")
    for name, number in ID.items():
        table.add_row(name, *(f"{score[number]:.3f}" for score in scores))
    table.add_section()
    table.add_row("mIoU", *(f"{np.nanmean(score):.3f}" for score in scores))
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
