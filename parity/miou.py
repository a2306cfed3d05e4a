"""Mean intersection over union, from one confusion matrix that images are added to.

A matrix of K × K counts in int64 is all that is kept of a dataset: it is exact, does not depend on the
order of the images or on how they are grouped, and two of them add up. The definitions are
mmsegmentation's (`mmseg.evaluation.IoUMetric`), with T the true label, P the predicted one, and pixels
of the ignore index left out of both:

* IoU of a class: |T ∩ P| ÷ |T ∪ P|; accuracy of a class: |T ∩ P| ÷ |T|.
* mIoU and mean accuracy: the mean over the classes for which it is defined. A class that neither the
  truth nor the prediction has anywhere has no IoU (0 ÷ 0) and is left out; so is, from the mean
  accuracy, one that the truth does not have.
* pixel accuracy: the share of pixels with the true label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Pixels counted at a time: bounds the temporaries to about 100 MB for any image.
CHUNK = 1 << 22
IGNORE_INDEX = 255
# K × K int64 counts: 128 MB.
MOST_CLASSES = 4096


class LabelError(ValueError):
    """A label map cannot be counted: its values, type or shape are wrong."""


@dataclass(frozen=True)
class Scores:
    """What a confusion matrix says; shares are 0 to 1, and NaN where they are not defined.

    Attributes:
        iou: float64 (K,), per class.
        accuracy: float64 (K,), per class.
        mean_iou: mean of the IoUs that are defined.
        mean_accuracy: mean of the class accuracies that are defined.
        pixel_accuracy: share of the scored pixels that have the true label.
        true_pixels: int64 (K,), pixels of each class in the truth.
        predicted_pixels: int64 (K,), pixels of each class in the prediction.
        correct: scored pixels that have the true label.
        absent: classes that neither side has, left out of the mean IoU.
        ignored: pixels of the ignore index.
    """

    iou: np.ndarray
    accuracy: np.ndarray
    mean_iou: float
    mean_accuracy: float
    pixel_accuracy: float
    true_pixels: np.ndarray
    predicted_pixels: np.ndarray
    correct: int
    absent: tuple[int, ...]
    ignored: int

    @property
    def scored(self) -> int:
        """Pixels that were scored."""
        return int(self.true_pixels.sum())


class ConfusionMatrix:
    """Counts of (true label, predicted label) over any number of label maps.

    Args:
        num_classes: K; the classes are 0 to K - 1.
        ignore_index: true label whose pixels are not scored, after a reduction; None: there is none.
        reduce_zero_label: whether the truth's 0 means "not labelled" and its classes begin at 1, as in
            ADE20K: 0 becomes the ignore index, any other label moves down by one, and the ignore index
            stays what it is (mmsegmentation's `reduce_zero_label`).

    Attributes:
        counts: int64 (K, K); row: true label, column: predicted label.
        ignored: pixels of the ignore index.

    Raises:
        ValueError: there is no class or there are too many, or zero is reduced without an ignore index.
    """

    def __init__(
        self, num_classes: int, *, ignore_index: int | None = IGNORE_INDEX, reduce_zero_label: bool = False
    ) -> None:
        if not 1 <= num_classes <= MOST_CLASSES:
            raise ValueError(f"num_classes is {num_classes}; expected 1 to {MOST_CLASSES}")
        if reduce_zero_label and ignore_index is None:
            raise ValueError(
                "reduce_zero_label turns label 0 into the ignore index, but ignore_index is None"
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.ignored = 0

    def update(self, truth: np.ndarray, prediction: np.ndarray) -> None:
        """Count label maps; nothing is counted if they cannot all be.

        Args:
            truth: integers of any shape: one label map (H, W), a batch (B, H, W), …
            prediction: integers of the same shape. Where the truth is ignored, any value will do.

        Raises:
            LabelError: the shapes differ, a type is not an integer, or a label is out of range.
        """
        for name, labels in (("truth", truth), ("prediction", prediction)):
            if labels.dtype.kind not in "iu":
                raise LabelError(f"the {name} is of type {labels.dtype}; expected integers")
        if truth.shape != prediction.shape:
            raise LabelError(f"shapes differ: truth {truth.shape}, prediction {prediction.shape}")
        classes = self.num_classes
        counts, ignored = np.zeros(classes * classes, np.int64), 0
        true_labels, predicted_labels = truth.reshape(-1), prediction.reshape(-1)
        for start in range(0, true_labels.size, CHUNK):
            true, scored = self._true_labels(true_labels[start : start + CHUNK])
            predicted = predicted_labels[start : start + CHUNK][scored].astype(np.int64)
            true = true[scored]
            _require_range("truth", true, classes)
            _require_range("prediction", predicted, classes)
            ignored += scored.size - true.size
            counts += np.bincount(true * classes + predicted, minlength=classes * classes)
        self.counts += counts.reshape(classes, classes)
        self.ignored += ignored

    def add(self, other: ConfusionMatrix) -> None:
        """Add the counts of another matrix, made in another process, say.

        Raises:
            ValueError: it was counted by other rules.
        """
        for rule in ("num_classes", "ignore_index", "reduce_zero_label"):
            ours, theirs = getattr(self, rule), getattr(other, rule)
            if ours != theirs:
                raise ValueError(f"matrices of different rules do not add up: {rule} is {ours} and {theirs}")
        self.counts += other.counts
        self.ignored += other.ignored

    def scores(self) -> Scores:
        """The scores of what was counted so far; means of no class at all are NaN."""
        both = np.diagonal(self.counts)
        true, predicted = self.counts.sum(axis=1), self.counts.sum(axis=0)
        union = true + predicted - both
        iou, accuracy = _share(both, union), _share(both, true)
        total, correct = int(true.sum()), int(both.sum())
        return Scores(
            iou=iou,
            accuracy=accuracy,
            mean_iou=_mean(iou),
            mean_accuracy=_mean(accuracy),
            pixel_accuracy=correct / total if total else float("nan"),
            true_pixels=true,
            predicted_pixels=predicted,
            correct=correct,
            absent=tuple(int(label) for label in np.flatnonzero(union == 0)),
            ignored=self.ignored,
        )

    def _true_labels(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels as int64 after the reduction, and which of them are scored."""
        # uint64 labels above int64's range become negative, which is out of range as well.
        true = labels.astype(np.int64)
        if self.ignore_index is None:
            return true, np.ones(true.shape, bool)
        scored = true != self.ignore_index
        if self.reduce_zero_label:
            scored &= true != 0
            true -= 1
            # Label ignore_index + 1 would become the ignore index: mmsegmentation's comes out so, too.
            scored &= true != self.ignore_index
        return true, scored


def _require_range(name: str, labels: np.ndarray, classes: int) -> None:
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        wrong = np.unique(labels[(labels < 0) | (labels >= classes)])
        some = ", ".join(map(str, wrong[:5])) + (", …" if wrong.size > 5 else "")
        raise LabelError(f"the {name} has labels outside 0 to {classes - 1}: {some}")


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """NumPy's nanmean, which is mmsegmentation's mean to the last bit, but quiet about no values."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
