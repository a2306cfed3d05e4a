"""How sure the model is, per pixel and per class: the published models give no such map.

All three measures are taken of the softmax over the classes of the logits resized to the
photograph's size, as for the label map; a few rows of pixels are computed at a time. A class that
is nowhere in such a row near the winner is left out of its softmax; all that are left out hold
less than 1/2000 of the probability together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

from tf_segformer import tiling

Measure = Literal["probability", "margin", "entropy"]

LEFT_OUT = 1 / 2000  # of the probability: an eighth of a step of the uint8 values
BUDGET = 1 << 22  # elements of the largest temporary, 16 MB of float32


class ClassStatistics(NamedTuple):
    """What a photograph holds of each class.

    Attributes:
        share: float32 [K], the class's share of the pixels; the classes found are those above 0.
        confidence: float32 [K], the mean of the confidence map over its pixels, 0 to 1; 0 for a
            class that was not found.
    """

    share: tf.Tensor
    confidence: tf.Tensor


def confidence_map(
    logits: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    measure: Measure = "probability",
) -> tf.Tensor:
    """Return a measure of confidence for every pixel, as round(255 x measure).

    - "probability": the softmax probability of the winning class; 255 is certain, 255 / K a guess.
    - "margin": the winner's probability minus the second's; 0 is a tie. 255 for one class alone.
    - "entropy": the entropy of the softmax divided by log K, its maximum; here 0 is certain and
      255 is a guess.

    A value may be off by one from that of the whole softmax. Where one of the four logits around
    a pixel is not finite in some class, the value is a guess's: 0, or 255 for the entropy. Memory
    is bounded as in `label_map`.

    Args:
        logits: float32 [h, w, K] of one image.
        height: Height of the photograph in pixels, a Python int or an integer scalar.
        width: Its width.
        measure: One of the three above.

    Returns:
        uint8 [height, width].

    Raises:
        ValueError: If the measure is none of the three, or the logits do not have three axes.
        tf.errors.InvalidArgumentError: If an axis of the logits is empty, or a size is negative.
    """
    if measure not in _MEASURES:
        raise ValueError(f"measure is {measure!r}; expected one of {', '.join(_MEASURES)}.")
    logits, rows, columns = tiling.place(logits, height, width)
    classes, pixels = tf.shape(logits)[-1], tf.size(columns.first)
    bands = tiling.cut(rows, tf.maximum(BUDGET // (pixels * classes), 1))
    right = columns.weight[:, None]

    def band(i: tf.Tensor, parts: tf.TensorArray) -> tuple:
        ends = tf.stack([bands.first[i], bands.second[i]])
        lines = tf.gather(logits, ends)  # [2, w, K]
        sound = tf.reduce_all(tf.math.is_finite(lines), axis=[0, 2])  # [w]
        lines = _possible_classes(tf.where(sound[:, None], lines, tf.zeros([], lines.dtype)))  # [2, w, K']
        wide = (1 - right) * tf.gather(lines, columns.first, axis=1)
        wide += right * tf.gather(lines, columns.second, axis=1)  # [2, W, K']
        below = rows.weight[bands.start[i] : bands.start[i + 1]]
        # A product of matrices blends the two lines five times as fast as adding them up.
        resized = tf.matmul(tf.stack([1 - below, below], axis=1), tf.reshape(wide, [2, -1]))
        resized = tf.reshape(resized, [-1, pixels, tf.shape(lines)[-1]])  # [P, W, K']
        values = _MEASURES[measure](tf.nn.softmax(resized), classes)
        whole = tf.gather(sound, columns.first) & tf.gather(sound, columns.second)
        values = tf.where(whole, values, 1.0 if measure == "entropy" else 0.0)
        return i + 1, parts.write(i, tf.cast(tf.round(255 * values), tf.uint8))

    count = tf.size(bands.first)
    parts = tf.TensorArray(tf.uint8, count, infer_shape=False, element_shape=[None, None])
    _, parts = tf.while_loop(lambda i, _: i < count, band, (0, parts), parallel_iterations=1)
    return tiling.trim(parts.concat(), height, width)


def class_statistics(labels: tf.Tensor, confidence: tf.Tensor, classes: int | tf.Tensor) -> ClassStatistics:
    """Return the share and the mean confidence of each class of a photograph.

    Args:
        labels: int32 [height, width], a label map.
        confidence: uint8 [height, width], its confidence map.
        classes: K.
    """
    labels = tf.reshape(labels, [-1])
    values = tf.cast(tf.reshape(confidence, [-1]), tf.float64) / 255
    counts = tf.cast(tf.math.bincount(labels, minlength=classes, maxlength=classes), tf.float64)
    sums = tf.math.bincount(labels, weights=values, minlength=classes, maxlength=classes, dtype=tf.float64)
    share = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    mean = tf.math.divide_no_nan(sums, counts)
    return ClassStatistics(tf.cast(share, tf.float32), tf.cast(mean, tf.float32))


def _possible_classes(lines: tf.Tensor) -> tf.Tensor:
    """Leave out what is nowhere near the winner between two lines of logits [2, w, K]."""
    right = tf.concat([lines[:, 1:], lines[:, -1:]], axis=1)
    lowest = tf.reduce_min(tf.minimum(lines, right), axis=0)  # [w, K], in each cell
    highest = tf.reduce_max(tf.maximum(lines, right), axis=0)
    winner = tf.reduce_max(lowest, axis=-1, keepdims=True)  # is nowhere in the cell below this
    near = tf.math.log(tf.cast(tf.shape(lines)[-1], lines.dtype) / LEFT_OUT)
    return tf.boolean_mask(lines, tf.reduce_any(highest > winner - near, axis=0), axis=2)


# The measures take probabilities [..., K'] and K, and return [...], each 0 to 1.


def _probability(probabilities: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    del classes
    return tf.reduce_max(probabilities, axis=-1)


def _margin(probabilities: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    del classes
    largest = tf.math.top_k(probabilities, tf.minimum(tf.shape(probabilities)[-1], 2)).values
    return 2 * largest[..., 0] - tf.reduce_sum(largest, axis=-1)  # of one class alone, itself


def _entropy(probabilities: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    entropy = -tf.reduce_sum(tf.math.xlogy(probabilities, probabilities), axis=-1)
    return entropy / tf.math.log(tf.cast(tf.maximum(classes, 2), entropy.dtype))


_MEASURES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "probability": _probability,
    "margin": _margin,
    "entropy": _entropy,
}
