"""From one photograph's pixels to its logits, whole or window by window, in plain TensorFlow ops.

Axis legend: h, w the photograph's height and width; H, W those of the network's input; K classes;
P, Q the windows' height and width; n windows.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_segformer import resampling
from tf_segformer.preprocessing import ImageProcessing, normalize
from tf_segformer.resizing import LOGIT_STRIDE, Resizing, resize_by

Network = Callable[[tf.Tensor], tf.Tensor]


def segment_logits(
    pixels: tf.Tensor,
    processing: ImageProcessing,
    resizing: Resizing,
    network: Network,
    classes: int,
    *,
    batch: int = 4,
    pass_order: resampling.PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Run the network on one photograph under any policy.

    `postprocessing.label_map(logits, h, w)` makes a label map at the photograph's own size of the
    result. For several photographs of different sizes, map this over them.

    Args:
        pixels: uint8 [h, w, 3], RGB, any size.
        processing: the checkpoint's preprocessing.
        resizing: the policy.
        network: float32 pixel values [n, H, W, 3] to logits [n, H/4, W/4, K].
        classes: K.
        batch: under "sliding-window", how many windows go through the network at a time.
        pass_order: which Pillow the resizing follows, see `resampling.resize`.

    Returns:
        float32 [ceil(H/4), ceil(W/4), K], with H and W as `resizing.network_size` says.

    Raises:
        ValueError: the policy's options do not fit the checkpoint, see `Resizing.completed`.
    """
    resized = resize_by(pixels, processing, resizing, pass_order=pass_order)
    return resized_logits(resized, processing, resizing, network, classes, batch=batch)


def resized_logits(
    pixels: tf.Tensor,
    processing: ImageProcessing,
    resizing: Resizing,
    network: Network,
    classes: int,
    *,
    batch: int = 4,
) -> tf.Tensor:
    """Run the network on the pixels, uint8 [H, W, 3], that `resize_by` gave of one photograph.

    The other arguments, and what is returned, are those of `segment_logits`.
    """

    def logits(pixels: tf.Tensor) -> tf.Tensor:
        return network(normalize(pixels, processing))

    plan = resizing.completed(processing)
    if plan.window and plan.stride:
        # Each window is normalised by itself: a large photograph's bytes are a twelfth of its
        # float64 values, and nothing is gained by having those at once.
        return sliding_logits(pixels, logits, classes, plan.window, plan.stride, batch=batch)
    return tf.ensure_shape(logits(pixels[tf.newaxis])[0], [None, None, classes])


def sliding_logits(
    pixel_values: tf.Tensor,
    network: Network,
    classes: int,
    window: tuple[int, int],
    stride: tuple[int, int],
    *,
    batch: int = 4,
) -> tf.Tensor:
    """Run the network on overlapping windows and average their logits.

    Windows start at multiples of `stride` from the upper left corner, row by row; the last of a
    row, and the last row, are moved back so that they end with the picture. All origins are
    multiples of 4, so every window's logits lie on the picture's own grid of logits, and are
    averaged there, each window counting the same.

    Source: the paper's evaluation on Cityscapes, windows of 1024 with a stride of 768, averages
    the logits after resizing them to pixels. The resize is linear, so inside a window the two
    differ by nothing but rounding; they differ within 2 pixels of a window's edge, where the
    resize of one window's logits has no neighbour to blend with.

    Beside the result (H/4 x W/4 x K floats: 450 MB for 12 megapixels and 150 classes) it needs
    the pixels, and what the network needs for `batch` windows. In a graph the sums are kept
    in place; called eagerly they are copied once per window.

    Args:
        pixel_values: [H, W, 3] of any dtype that the network takes, H and W multiples of 4 and not
            below the window's.
        network: pixel values [n, P, Q, 3] to logits [n, P/4, Q/4, K].
        classes: K.
        window: P and Q in pixels, multiples of 4.
        stride: vertical and horizontal distance of the windows in pixels, multiples of 4, at most
            the window's.
        batch: how many windows go through the network at a time.

    Returns:
        float32 [H/4, W/4, K].

    Raises:
        ValueError: `window`, `stride` or `batch` is not as above.
        tf.errors.InvalidArgumentError: H or W is not as above, or the network's logits are not.
    """
    Resizing("sliding-window", window=window, stride=stride)  # checks them
    if batch < 1:
        raise ValueError(f"batch is {batch}, expected at least 1 window at a time.")
    shape = tf.shape(pixel_values)[:2]
    checks = [
        tf.debugging.assert_greater_equal(shape, window, "The picture is smaller than the window."),
        tf.debugging.assert_equal(shape % LOGIT_STRIDE, 0, "The picture's sides are not multiples of 4."),
    ]
    with tf.control_dependencies(checks):
        grid = tf.identity(shape) // LOGIT_STRIDE
    rows, columns = window[0] // LOGIT_STRIDE, window[1] // LOGIT_STRIDE
    tops = _origins(grid[0], rows, stride[0] // LOGIT_STRIDE)
    lefts = _origins(grid[1], columns, stride[1] // LOGIT_STRIDE)
    origins = tf.reshape(tf.stack(tf.meshgrid(tops, lefts, indexing="ij"), axis=-1), [-1, 2])

    def cut(origin: tf.Tensor) -> tf.Tensor:
        begin = tf.concat([origin * LOGIT_STRIDE, [0]], axis=0)
        return tf.slice(pixel_values, begin, [*window, 3])

    def some_windows(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        some = origins[start : start + batch]
        windows = tf.map_fn(cut, some, fn_output_signature=tf.TensorSpec([*window, 3], pixel_values.dtype))
        logits = tf.ensure_shape(tf.cast(network(windows), tf.float32), [None, rows, columns, classes])

        def add(i: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i + 1, _add_at(total, some[i], logits[i])

        count = tf.shape(some)[0]
        _, total = tf.while_loop(lambda i, _: i < count, add, (0, total), parallel_iterations=1)
        return start + batch, total

    total = tf.zeros([grid[0], grid[1], classes])
    _, total = tf.while_loop(
        lambda start, _: start < tf.shape(origins)[0],
        some_windows,
        (0, total),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, classes])),
        parallel_iterations=1,
    )
    over_rows, over_columns = _windows_over(grid[0], tops, rows), _windows_over(grid[1], lefts, columns)
    return total / (over_rows[:, None] * over_columns[None, :])[:, :, None]


def _origins(size: tf.Tensor, window: int, stride: int) -> tf.Tensor:
    """Where the windows along an axis begin, int32 [n]; all in logits."""
    count = -(-(size - window) // stride) + 1
    return tf.minimum(tf.range(count) * stride, size - window)


def _windows_over(size: tf.Tensor, origins: tf.Tensor, window: int) -> tf.Tensor:
    """How many windows lie over each logit of an axis, float32 [size]."""
    position = tf.range(size)[:, None]
    return tf.math.count_nonzero(
        (position >= origins) & (position < origins + window), axis=1, dtype=tf.float32
    )


def _add_at(total: tf.Tensor, origin: tf.Tensor, part: tf.Tensor) -> tf.Tensor:
    """Add a part [r, c, K] to the total [R, C, K], its upper left corner at the origin."""
    begin, end = origin, origin + tf.shape(part)[:2]
    part += total[begin[0] : end[0], begin[1] : end[1]]
    # This op reuses the total's memory where nothing else needs it.
    updated = tf.raw_ops.TensorStridedSliceUpdate(
        input=total, begin=begin, end=end, strides=[1, 1], value=part
    )
    return tf.ensure_shape(updated, total.shape)
