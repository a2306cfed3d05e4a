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
        top: row of the canvas at which the image starts, scalar int32.
        left: column of the canvas at which the image starts, scalar int32.
        height: height of the canvas in pixels, scalar int32.
        width: width of the canvas in pixels, scalar int32.
        color: uint8 [3].

    Returns:
        uint8 [height, width, 3].

    Raises:
        tf.errors.InvalidArgumentError: the image does not lie within the canvas.
    """
    bottom = height - top - tf.shape(pixels)[0]
    right = width - left - tf.shape(pixels)[1]
    covered = (top == 0) & (left == 0) & (bottom == 0) & (right == 0)

    def pad() -> tf.Tensor:
        margins = [[top, bottom], [left, right]]
        channels = [tf.pad(pixels[:, :, i], margins, constant_values=color[i]) for i in range(3)]
        return tf.stack(channels, axis=-1)

    return tf.cond(covered, lambda: pixels, pad)
