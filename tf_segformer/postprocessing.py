"""From logits to labels: the label map at the photograph's own size."""

from __future__ import annotations

import tensorflow as tf


def label_map(logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Return the winning class of every pixel, as `post_process_semantic_segmentation` does.

    Args:
        logits: float32 [h, w, K] of one image.
        height: Height of the photograph in pixels, a Python int or an int32 scalar.
        width: Its width.

    Returns:
        int32 [height, width], 0 to K - 1.
    """
    rows, columns = (
        _interpolation(*a) for a in ((tf.shape(logits)[0], height), (tf.shape(logits)[1], width))
    )
    y0, y1, wy = rows
    x0, x1, wx = columns
    wx, wy = wx[:, None], wy[:, None, None]
    r = tf.gather(logits, x0, axis=1) * (1 - wx) + tf.gather(logits, x1, axis=1) * wx
    r = tf.gather(r, y0) * (1 - wy) + tf.gather(r, y1) * wy
    return tf.argmax(r, axis=-1, output_type=tf.int32)


def _interpolation(source: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    scale = tf.cast(source, tf.float32) / tf.cast(target, tf.float32)
    position = tf.maximum((tf.range(tf.cast(target, tf.float32)) + 0.5) * scale - 0.5, 0.0)
    first = tf.minimum(tf.cast(position, tf.int32), source - 1)
    return first, tf.minimum(first + 1, source - 1), position - tf.cast(first, tf.float32)
