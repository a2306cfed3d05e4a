"""Putting the frame of an animation onto its canvas."""

import tensorflow as tf


def on_canvas(
    pixels: tf.Tensor,
    top: tf.Tensor,
    left: tf.Tensor,
    height: tf.Tensor,
    width: tf.Tensor,
    color: tf.Tensor,
) -> tf.Tensor:
    """Put an image onto a canvas of one colour.

    Args:
        pixels: uint8 [h, w, 3].
        top: row of the canvas at which the image starts, scalar int64.
        left: column of the canvas at which the image starts, scalar int64.
        height: height of the canvas in pixels, scalar int64.
        width: width of the canvas in pixels, scalar int64.
        color: uint8 [3].

    Returns:
        uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: the image does not lie within the canvas.
    """
    bottom = height - top - tf.shape(pixels, tf.int64)[0]
    right = width - left - tf.shape(pixels, tf.int64)[1]
    covered = (top == 0) & (left == 0) & (bottom == 0) & (right == 0)

    def pad() -> tf.Tensor:
        # The colour is taken away and added again, modulo 256: outside there are zeros.
        return tf.pad(pixels - color, [[top, bottom], [left, right], [0, 0]]) + color

    return tf.cond(covered, lambda: pixels, pad)
