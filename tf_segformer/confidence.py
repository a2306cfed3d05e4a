"""How sure the model is, per pixel and per class: the published models give no such map.

All three measures are taken of the softmax over the classes of the logits resized to the
photograph's size, as for the label map. A class that is nowhere in a tile (see `tiling.py`) near
the winner is left out of the softmax there; all that are left out hold less than 1/2000 of the
probability together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

from tf_segformer import tiling

Measure = Literal["probability", "margin", "entropy"]

LEFT_OUT = 1 / 2000  # of the probability: an eighth of a step of the uint8 values


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
    logits, *axes = tiling.place(logits, height, width)
    rows, columns = map(tiling.cut, axes)
    classes = tf.shape(logits)[-1]
    finite = tf.math.is_finite(logits)
    logits = tf.where(finite, logits, tf.zeros([], logits.dtype))
    sound = tf.reduce_all(tiling.corners(tf.reduce_all(finite, axis=-1), rows, columns), axis=0)
    slack = tf.math.log(tf.cast(classes, logits.dtype) / LEFT_OUT)
    guess = tf.fill([1, rows.size, columns.size], 1.0 if measure == "entropy" else 0.0)

    def reduction(resized: tf.Tensor, tile: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        del label
        below = resized - tf.gather(tf.math.segment_max(resized, tile), tile)
        return tf.cast(_MEASURES[measure](below, tile, classes), tf.float32)

    def band(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        whole = tf.reshape(sound[start:stop], [-1])
        tiles = tf.cast(tf.where(sound[start:stop]), tf.int32) + tf.stack([start, 0])
        values = tiling.reduce_contenders(
            logits, rows, columns, tiles, slack, reduction, tf.float32
        )
        table = tf.cast(tf.round(255 * tf.concat([guess, values], 0)), tf.uint8)
        entry = tf.where(whole, tf.cumsum(tf.cast(whole, tf.int32)), 0)
        return table, tf.reshape(entry, [stop - start, -1])

    picture = tiling.assemble(rows, columns, classes, band, tf.uint8)
    return tiling.trim(picture, height, width)


def class_statistics(
    labels: tf.Tensor, confidence: tf.Tensor, classes: int | tf.Tensor
) -> ClassStatistics:
    """Return the share and the mean confidence of each class of a photograph.

    Args:
        labels: int32 [height, width], a label map.
        confidence: uint8 [height, width], its confidence map.
        classes: K.
    """
    labels = tf.reshape(labels, [-1])
    values = tf.cast(tf.reshape(confidence, [-1]), tf.float64) / 255
    counts = tf.cast(tf.math.bincount(labels, minlength=classes, maxlength=classes), tf.float64)
    sums = tf.math.bincount(
        labels, weights=values, minlength=classes, maxlength=classes, dtype=tf.float64
    )
    share = tf.math.divide_no_nan(counts, tf.reduce_sum(counts))
    mean = tf.math.divide_no_nan(sums, counts)
    return ClassStatistics(tf.cast(share, tf.float32), tf.cast(mean, tf.float32))


# Each takes the resized logits minus the winner's [m, P, Q], and the pairs' tiles [m].


def _probability(below: tf.Tensor, tile: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    del classes
    return 1 / tf.math.segment_sum(tf.exp(below), tile)


def _margin(below: tf.Tensor, tile: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    del classes
    odds = tf.exp(below)
    first = tf.cast(tf.equal(below, 0), odds.dtype)
    second = tf.math.segment_max(odds * (1 - first), tile)
    tied = tf.greater(tf.math.segment_sum(first, tile), 1)
    second = tf.where(tied, tf.ones([], odds.dtype), second)
    return (1 - second) / tf.math.segment_sum(odds, tile)


def _entropy(below: tf.Tensor, tile: tf.Tensor, classes: tf.Tensor) -> tf.Tensor:
    odds = tf.exp(below)
    total = tf.math.segment_sum(odds, tile)
    entropy = tf.math.log(total) - tf.math.segment_sum(odds * below, tile) / total
    return entropy / tf.math.log(tf.cast(tf.maximum(classes, 2), entropy.dtype))


_MEASURES: dict[str, Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "probability": _probability,
    "margin": _margin,
    "entropy": _entropy,
}
