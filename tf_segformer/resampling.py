"""Pillow's `Image.resize` on uint8 pixels as plain TensorFlow ops, equal bit for bit.

Pillow resamples one axis at a time. Each output position is a weighted sum of the input positions
under the filter, which is widened by the scale when shrinking (antialiasing). Weights are computed
in float64, normalised, rounded to 22-bit fixed point, and every pass ends in uint8, so that the
order of the two passes is visible in the
result: Pillow 13 changed it (python-pillow/Pillow pull request 9549).

Axis legend: h, w input height and width; H, W output height and width; T taps of the filter.
"""

import math
from collections.abc import Callable
from typing import Literal

import tensorflow as tf

PassOrder = Literal["pillow>=13", "pillow<13"]

_PRECISION_BITS = 22  # fixed point bits of a weight: 32 less 8 of the pixel less 2 for overshoot

NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING = range(6)  # PIL.Image.Resampling


def _box(x: tf.Tensor) -> tf.Tensor:
    return tf.cast((x > -0.5) & (x <= 0.5), tf.float64)


def _triangle(x: tf.Tensor) -> tf.Tensor:
    return tf.maximum(1.0 - tf.abs(x), 0.0)


def _hamming(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    angle = tf.where(x == 0.0, tf.ones_like(x), x * math.pi)
    # 0.54 and 0.46 are float32 constants in Pillow.
    window = 0.5400000214576721 + 0.46000000834465027 * tf.cos(angle)
    return tf.where(
        x == 0.0, tf.ones_like(x), tf.where(x < 1.0, tf.sin(angle) / angle * window, 0.0)
    )


def _bicubic(x: tf.Tensor) -> tf.Tensor:
    x = tf.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return tf.where(x < 1.0, near, tf.where(x < 2.0, far, 0.0))


def _sinc(x: tf.Tensor) -> tf.Tensor:
    angle = tf.where(x == 0.0, tf.ones_like(x), x * math.pi)
    return tf.where(x == 0.0, tf.ones_like(x), tf.sin(angle) / angle)


def _lanczos(x: tf.Tensor) -> tf.Tensor:
    return tf.where((x >= -3.0) & (x < 3.0), _sinc(x) * _sinc(x / 3.0), 0.0)


_FILTERS: dict[int, tuple[Callable[[tf.Tensor], tf.Tensor], float]] = {
    BOX: (_box, 0.5),
    BILINEAR: (_triangle, 1.0),
    HAMMING: (_hamming, 1.0),
    BICUBIC: (_bicubic, 2.0),
    LANCZOS: (_lanczos, 3.0),
}


def resampling_weights(
    in_size: tf.Tensor, out_size: tf.Tensor, resample: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the fixed-point weights with which Pillow resamples one axis.

    Args:
        in_size: scalar int32, the number of input positions.
        out_size: scalar int32, the number of output positions.
        resample: the filter, a `PIL.Image.Resampling` number other than NEAREST.

    Returns:
        first: int32 [out_size], the first input position under the filter.
        weights: int32 [out_size, T], in units of 2**-22; zero beyond the filter's end.
    """
    kernel, radius = _FILTERS[resample]
    scale = tf.cast(in_size, tf.float64) / tf.cast(out_size, tf.float64)
    filter_scale = tf.maximum(scale, 1.0)
    support = radius * filter_scale
    taps = tf.cast(tf.math.ceil(support), tf.int32) * 2 + 1

    center = (tf.range(tf.cast(out_size, tf.float64), dtype=tf.float64) + 0.5) * scale
    first = tf.maximum(tf.cast(center - support + 0.5, tf.int32), 0)
    end = tf.minimum(tf.cast(center + support + 0.5, tf.int32), in_size)

    position = first[:, None] + tf.range(taps)  # (out_size, T)
    distance = (tf.cast(position, tf.float64) - center[:, None] + 0.5) * (1.0 / filter_scale)
    weights = tf.where(position < end[:, None], kernel(distance), 0.0)
    # The sum runs from the first tap to the last, as in Pillow: tf.reduce_sum adds in another
    # order.
    total = tf.cumsum(weights, axis=1)[:, -1:]
    weights = tf.where(total != 0.0, weights / total, weights)
    half = tf.where(weights < 0.0, tf.constant(-0.5, tf.float64), 0.5)
    return first, tf.cast(half + weights * float(1 << _PRECISION_BITS), tf.int32)


def _resample_rows(pixels: tf.Tensor, out_size: tf.Tensor, resample: int) -> tf.Tensor:
    """Resample the first axis of uint8 [h, ...] to [out_size, ...]."""
    in_size = tf.shape(pixels)[0]
    first, weights = resampling_weights(in_size, out_size, resample)
    source = tf.cast(pixels, tf.int32)
    shape = tf.concat([[out_size], tf.shape(pixels)[1:]], axis=0)

    def add_tap(tap: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        rows = tf.gather(source, tf.minimum(first + tap, in_size - 1))
        return tap + 1, total + rows * weights[:, tap, None, None]

    _, total = tf.while_loop(
        lambda tap, _: tap < tf.shape(weights)[1],
        add_tap,
        (tf.constant(0), tf.fill(shape, 1 << (_PRECISION_BITS - 1))),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None] * pixels.shape.rank)),
    )
    total = tf.bitwise.right_shift(total, _PRECISION_BITS)
    return tf.cast(tf.clip_by_value(total, 0, 255), tf.uint8)


def _resample_columns(pixels: tf.Tensor, out_size: tf.Tensor, resample: int) -> tf.Tensor:
    """Resample the second axis of uint8 [h, w, c] to [h, out_size, c]."""
    columns = tf.transpose(pixels, [1, 0, 2])
    return tf.transpose(_resample_rows(columns, out_size, resample), [1, 0, 2])


def _nearest(in_size: tf.Tensor, out_size: tf.Tensor) -> tf.Tensor:
    """Return int32 [out_size], the input position nearest to each output position."""
    scale = tf.cast(in_size, tf.float64) / tf.cast(out_size, tf.float64)
    # Pillow adds up the steps one by one: their rounding errors decide between neighbours at a tie.
    steps = tf.concat([[scale * 0.5], tf.fill([out_size - 1], scale)], axis=0)
    return tf.cast(tf.cumsum(steps), tf.int32)


def resize(
    pixels: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    resample: int = BILINEAR,
    *,
    pass_order: PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Resize an image as `PIL.Image.Image.resize((width, height), resample)` does, bit for bit.

    Args:
        pixels: uint8 [h, w, 3], of any size, static or dynamic.
        height: the output height in pixels, an int or a scalar int32 tensor.
        width: the output width in pixels.
        resample: a `PIL.Image.Resampling` number: NEAREST 0, LANCZOS 1, BILINEAR 2, BICUBIC 3, BOX
            4, HAMMING 5.
        pass_order: which Pillow to follow. Up to Pillow 12 columns are always resampled first; from
            13 on rows are, where the height shrinks by more than twice what the width shrinks by
            (in pixels).

    Returns:
        uint8 [height, width, 3].

    Raises:
        ValueError: `resample` or `pass_order` is not one of the above.
    """
    if resample != NEAREST and resample not in _FILTERS:
        raise ValueError(
            f"resample={resample!r} is not supported; expected a PIL.Image.Resampling number from "
            "0 to 5 (NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING)."
        )
    if pass_order not in ("pillow>=13", "pillow<13"):
        raise ValueError(
            f"pass_order={pass_order!r} is unknown; expected 'pillow>=13' or 'pillow<13'."
        )
    out_h, out_w = tf.convert_to_tensor(height, tf.int32), tf.convert_to_tensor(width, tf.int32)
    in_h, in_w = tf.shape(pixels)[0], tf.shape(pixels)[1]

    if resample == NEAREST:
        rows = tf.gather(pixels, _nearest(in_h, out_h), axis=0)
        resized = tf.gather(rows, _nearest(in_w, out_w), axis=1)
    else:

        def columns(image: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                in_w == out_w, lambda: image, lambda: _resample_columns(image, out_w, resample)
            )

        def rows_(image: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                in_h == out_h, lambda: image, lambda: _resample_rows(image, out_h, resample)
            )

        rows_first = (out_h < in_h) & (in_h - out_h > 2 * (in_w - out_w))
        if pass_order == "pillow<13":
            rows_first = tf.constant(False)
        resized = tf.cond(
            rows_first, lambda: columns(rows_(pixels)), lambda: rows_(columns(pixels))
        )
    return tf.ensure_shape(
        resized, [tf.get_static_value(out_h), tf.get_static_value(out_w), pixels.shape[-1]]
    )
