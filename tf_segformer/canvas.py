"""Putting the frame of an animation onto its canvas."""

from collections.abc import Sequence

import tensorflow as tf


def first_frame_on_canvas(
    frames: tf.Tensor,
    count: int,
    place: Sequence[tf.Tensor],
    height: tf.Tensor,
    width: tf.Tensor,
    color: tf.Tensor,
) -> tf.Tensor:
    """Put the first of the frames that were decoded onto a canvas of one colour.

    Args:
        frames: uint8 [n, h, w, 3].
        count: how many there must be.
        place: row and column of the canvas at which the frame starts, and the height and width that
            it must have, scalar int64 each. It lies within the canvas.
        height: height of the canvas in pixels, scalar int64.
        width: width of the canvas in pixels, scalar int64.
        color: uint8 [3].

    Returns:
        uint8 [height, width, 3], serialized; an empty string where frames are missing or of another size.
    """
    top, left, frame_height, frame_width = place
    expected = tf.stack([tf.constant(count, tf.int64), frame_height, frame_width])
    is_whole = tf.reduce_all(tf.shape(frames, tf.int64)[:3] == expected, axis=0)
    bottom = height - top - frame_height
    right = width - left - frame_width
    covered = (top == 0) & (left == 0) & (bottom == 0) & (right == 0)

    def pad() -> tf.Tensor:
        # The colour is taken away and added again, modulo 256: outside there are zeros.
        return tf.pad(frames[0] - color, [[top, bottom], [left, right], [0, 0]]) + color

    def placed() -> tf.Tensor:
        return tf.io.serialize_tensor(tf.cond(covered, lambda: frames[0], pad))

    return tf.cond(is_whole, placed, lambda: tf.constant(b""))
