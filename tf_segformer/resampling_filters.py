"""The filters of Pillow's `Image.resize` and their fixed-point weights, equal to the last bit.

Every float64 operation is the one that Pillow's C code does, in its order: a weight next to a
rounding boundary would otherwise come out different.
"""

import math
from collections.abc import Callable

import tensorflow as tf

WEIGHT_BITS = 22  # of a fixed-point weight: 32 less 8 of the pixel less 2 for overshoot


def _box(x: tf.Tensor) -> tf.Tensor:
    return tf.cast((x > -0.5) & (x <= 0.5), tf.float64)


def _triangle(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _hamming(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    angle = tf.where(x == 0.0, tf.ones_like(x), x * math.pi)
    # 0.54 and 0.46 are float32 constants in Pillow.
    window = 0.5400000214576721 + 0.46000000834465027 * tf.cos(angle)
    lobe = tf.where(x < 1.0, tf.sin(angle) / angle * window, 0.0)
    return tf.where(x == 0.0, tf.ones_like(x), lobe)


def _cubic(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _sinc(x: tf.Tensor) -> tf.Tensor:
    angle = tf.where(x == 0.0, tf.ones_like(x), x * math.pi)
    return tf.where(x == 0.0, tf.ones_like(x), tf.sin(angle) / angle)


def _lanczos(x: tf.Tensor) -> tf.Tensor:
    return tf.where((x >= -3.0) & (x < 3.0), _sinc(x) * _sinc(x / 3.0), 0.0)


# PIL.Image.Resampling number: the filter and its radius, in output positions
FILTERS: dict[int, tuple[Callable[[tf.Tensor], tf.Tensor], float]] = {
    1: (_lanczos, 3.0),
    2: (_triangle, 1.0),
    3: (_cubic, 2.0),
    4: (_box, 0.5),
    5: (_hamming, 1.0),
}


def resampling_weights(in_size: tf.Tensor, out_size: tf.Tensor, resample: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the weights with which Pillow resamples one axis.

    Args:
        in_size: scalar int32, the number of input positions.
        out_size: scalar int32, the number of output positions.
        resample: the filter, a `PIL.Image.Resampling` number from 1 to 5.

    Returns:
        first: int32 [out_size], the first input position under the filter, non-decreasing.
        weights: int32 [out_size, T], in units of 2**-22; zero beyond the filter's end.
    """
    kernel, radius = FILTERS[resample]
    scale = tf.cast(in_size, tf.float64) / tf.cast(out_size, tf.float64)
    filter_scale = tf.maximum(scale, 1.0)
    support = radius * filter_scale
    taps = tf.cast(tf.math.ceil(support), tf.int32) * 2 + 1

    center = (tf.range(tf.cast(out_size, tf.float64), dtype=tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(center - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(center + support + 0.5, tf.int32), in_size)

    position = first[:, None] + tf.range(taps)  # (out_size, T)
    distance = tf.cast(position, tf.float64) - center[:, None] + 0.5
    weights = kernel(distance * (1.0 / filter_scale))
    weights = tf.where(position < end[:, None], weights, 0.0)
    # tf.cumsum adds from the first tap to the last, as Pillow does; tf.reduce_sum does not.
    total = tf.cumsum(weights, axis=1)[:, -1:]
    weights = tf.where(total != 0.0, weights / total, weights)
    half = tf.where(weights < 0.0, tf.constant(-0.5, tf.float64), 0.5)
    return first, tf.cast(half + weights * float(1 << WEIGHT_BITS), tf.int32)
