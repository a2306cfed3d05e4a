"""Counts of (true class, predicted class), and the scores that follow from them.

The definitions are mmsegmentation's (`mmseg.evaluation.IoUMetric`), with T the true class, P the predicted
one, and pixels that are not labelled left out of both: IoU |T ∩ P| ÷ |T ∪ P|, accuracy |T ∩ P| ÷ |T|. Means
are over the classes for which the quotient is defined.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.datasets.reading import IGNORE_INDEX


@dataclass(frozen=True)
class Scores:
    """What the counts say; shares are 0 to 1, and NaN where they are not defined.

    Attributes:
        mean_iou: Over the classes that the truth or the prediction has.
        mean_accuracy: Over the classes that the truth has.
        pixel_accuracy: Share of the labelled pixels with the true class.
        iou: float64 (K,).
        accuracy: float64 (K,).
        true_pixels: int64 (K,), labelled pixels of each class.
        predicted_pixels: int64 (K,), labelled pixels predicted as each class.
    """

    mean_iou: float
    mean_accuracy: float
    pixel_accuracy: float
    iou: np.ndarray
    accuracy: np.ndarray
    true_pixels: np.ndarray
    predicted_pixels: np.ndarray


def confusion(truth: np.ndarray, prediction: np.ndarray, num_labels: int) -> np.ndarray:
    """Count the labelled pixels of a label map.

    Args:
        truth: (h, w), classes below `num_labels` or `IGNORE_INDEX`.
        prediction: (h, w), classes below `num_labels`.
        num_labels: K.

    Returns:
        int64 (K, K); row: true class, column: predicted class.

    Raises:
        ValueError: the shapes differ, or a class is out of range.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"the truth is {truth.shape}, the prediction {prediction.shape}; expected the same")
    labelled = truth != IGNORE_INDEX
    true, predicted = truth[labelled].astype(np.int64), prediction[labelled].astype(np.int64)
    for name, labels in (("truth", true), ("prediction", predicted)):
        if labels.size and not 0 <= labels.min() <= labels.max() < num_labels:
            raise ValueError(
                f"the {name} has classes from {labels.min()} to {labels.max()}; expected 0 to "
                f"{num_labels - 1}"
            )
    return np.bincount(true * num_labels + predicted, minlength=num_labels**2).reshape(num_labels, num_labels)


def scores(counts: np.ndarray) -> Scores:
    """The scores of a sum of `confusion` matrices."""
    both = np.diagonal(counts)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    iou, accuracy = _share(both, true + predicted - both), _share(both, true)
    total = counts.sum()
    return Scores(
        mean_iou=_mean(iou),
        mean_accuracy=_mean(accuracy),
        pixel_accuracy=float(both.sum() / total) if total else float("nan"),
        iou=iou,
        accuracy=accuracy,
        true_pixels=true,
        predicted_pixels=predicted,
    )


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
