"""Pillow's `Image.resize` on uint8 pixels as plain TensorFlow ops, equal bit for bit.

Pillow resamples one axis at a time. Each output position is a weighted sum of the input positions
under the filter, which is widened by the scale when shrinking (antialiasing). Weights are computed
in float64, normalised and rounded to 22-bit fixed point, and each pass ends in uint8, so the order
of the two passes is visible in the result. Pillow 13 changed that order (python-pillow/Pillow
pull request 9549).

Axis legend: h, w input height and width; H, W output height and width; T taps of the filter;
B blocks of `_BLOCK` neighbouring output positions; K input positions under a block; N the rest.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

from tf_segformer.resampling_filters import FILTERS, WEIGHT_BITS, resampling_weights

NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING = range(6)  # PIL.Image.Resampling

PassOrder = Literal["pillow>=13", "pillow<13"]
PASS_ORDERS: tuple[PassOrder, ...] = ("pillow>=13", "pillow<13")

# Measured: with blocks of 8 the matrix products waste little on zeros (K is (8 + 2) scales long, a
# filter 2); with larger chunks the memory grows, with smaller ones threads wait for each other.
_BLOCK = 8
_CHUNK = 1 << 20
_ALIGNED_ROWS = 64  # that many rows of any width end on a cache line: slicing them copies nothing

# Products are taken in float32, several times as fast as float64. A weight of 22 bits times a level
# of 8 does not fit its 24, so weights are split, 128 high + low with low from -64 to 63. Counted in
# their units, all sums stay below 2**24 and are exact in any order: 255 * 2**15 for high (half as
# much again under filters with negative lobes), 255 * 64 for low and each of up to 1,024 positions.
_LOW_BITS = 7
_HIGH_UNIT = 2.0 ** (_LOW_BITS - WEIGHT_BITS)  # of a level
_FLOAT32_POSITIONS = 1024

_OVERSHOOTING = (BICUBIC, LANCZOS)


class _Blocks(NamedTuple):
    """The weights of neighbouring output positions as small dense matrices.

    Attributes:
        positions: int32 [B, K], the input positions under each block of `_BLOCK` outputs.
        high: float32 [B, _BLOCK, K], multiples of `_HIGH_UNIT`; zero outside each output's filter.
        low: float32 [B, _BLOCK, K], the rest, in units of `_HIGH_UNIT`.
    """

    positions: tf.Tensor
    high: tf.Tensor
    low: tf.Tensor


def resize(
    pixels: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    resample: int = BILINEAR,
    *,
    pass_order: PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Resize an image as `PIL.Image.Image.resize((width, height), resample)` does, bit for bit.

    It runs on the CPU. Products must be of float32's precision, which is TensorFlow's default: with
    `TF_SET_ONEDNN_FPMATH_MODE=BF16`, or Grappler's automatic bfloat16, levels are off by up to 3.

    Args:
        pixels: uint8 [h, w, C], of any size, static or dynamic.
        height: the output height in pixels, an int or a scalar int32 tensor.
        width: the output width in pixels.
        resample: a `PIL.Image.Resampling` number: NEAREST 0, LANCZOS 1, BILINEAR 2, BICUBIC 3,
            BOX 4, HAMMING 5.
        pass_order: which Pillow to follow. Up to Pillow 12 columns are always resampled first.
            From 13 on rows are, where the height shrinks by more than twice as many pixels as
            the width.

    Returns:
        uint8 [height, width, C].

    Raises:
        ValueError: `resample` or `pass_order` is not one of the above.
    """
    if resample != NEAREST and resample not in FILTERS:
        raise ValueError(
            f"resample={resample!r} is not supported; expected a PIL.Image.Resampling number from "
            "0 to 5 (NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING)."
        )
    if pass_order not in PASS_ORDERS:
        raise ValueError(f"pass_order={pass_order!r} is unknown; expected one of {PASS_ORDERS}.")
    # A GPU may take float32 products in TF32, in which the sums would not be exact.
    with tf.device("/CPU:0"):
        return _resize(pixels, height, width, resample, pass_order)


def _resize(
    pixels: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, resample: int, pass_order: PassOrder
) -> tf.Tensor:
    out_h, out_w = tf.convert_to_tensor(height, tf.int32), tf.convert_to_tensor(width, tf.int32)
    in_h, in_w = tf.shape(pixels)[0], tf.shape(pixels)[1]
    static_size = [tf.get_static_value(out_h), tf.get_static_value(out_w)]
    if resample == NEAREST:
        resized = tf.gather(pixels, _nearest_positions(in_h, out_h), axis=0)
        resized = tf.gather(resized, _nearest_positions(in_w, out_w), axis=1)
        return tf.ensure_shape(resized, [*static_size, pixels.shape[-1]])

    # Outside of the branches below, so that they are computed at the same time.
    of_h, of_w = _blocks(in_h, out_h, resample), _blocks(in_w, out_w, resample)

    def rows(image: tf.Tensor) -> tf.Tensor:
        return tf.cond(in_h == out_h, lambda: image, lambda: _resample_rows(image, out_h, of_h, resample))

    def columns(image: tf.Tensor) -> tf.Tensor:
        return tf.cond(in_w == out_w, lambda: image, lambda: _resample_columns(image, out_w, of_w, resample))

    if pass_order == "pillow<13":
        resized = rows(columns(pixels))
    else:
        rows_first = (out_h < in_h) & (in_h - out_h > 2 * (in_w - out_w))
        resized = tf.cond(rows_first, lambda: columns(rows(pixels)), lambda: rows(columns(pixels)))
    return tf.ensure_shape(resized, [*static_size, pixels.shape[-1]])


def _nearest_positions(in_size: tf.Tensor, out_size: tf.Tensor) -> tf.Tensor:
    """Return int32 [out_size], the input position nearest to each output position."""
    scale = tf.cast(in_size, tf.float64) / tf.cast(out_size, tf.float64)
    # Pillow adds the scale up step by step, and the sum's rounding errors decide at a tie.
    steps = tf.concat([[scale * 0.5], tf.fill([out_size - 1], scale)], axis=0)
    return tf.cast(tf.cumsum(steps), tf.int32)


def _resample_rows(pixels: tf.Tensor, out_size: tf.Tensor, blocks: _Blocks, resample: int) -> tf.Tensor:
    """Resample the first axis: uint8 [h, w, C] to [out_size, w, C]."""
    in_size, width, channels = tf.unstack(tf.shape(pixels))
    rows = tf.reshape(pixels, [in_size, width * channels])  # (h, N)
    # As many blocks at a time as fit into a chunk.
    count = tf.maximum(_CHUNK // (tf.shape(blocks.positions)[1] * width * channels), 1)
    resampled = _concatenate(
        lambda i: _weighted_sum(rows, _Blocks(*(part[i : i + count] for part in blocks)), resample),
        tf.range(0, tf.shape(blocks.positions)[0], count),
    )
    return tf.reshape(resampled[:out_size], [out_size, width, channels])


def _resample_columns(pixels: tf.Tensor, out_size: tf.Tensor, blocks: _Blocks, resample: int) -> tf.Tensor:
    """Resample the second axis: uint8 [h, w, C] to [h, out_size, C]."""
    height, in_size, channels = tf.unstack(tf.shape(pixels))
    count = tf.maximum(_CHUNK // (in_size * channels), 1)  # rows at a time
    aligned = (count + _ALIGNED_ROWS // 2) // _ALIGNED_ROWS * _ALIGNED_ROWS
    count = tf.where(aligned > 0, aligned, count)

    def resample_chunk(i: tf.Tensor) -> tf.Tensor:
        chunk = tf.reshape(pixels[i : i + count], [-1, in_size * channels])
        columns = tf.reshape(tf.transpose(chunk), [in_size, -1])  # (w, N), N of (C, rows)
        columns = _weighted_sum(columns, blocks, resample)[:out_size]
        return tf.transpose(tf.reshape(columns, [out_size * channels, -1]))

    resampled = _concatenate(resample_chunk, tf.range(0, height, count))
    return tf.reshape(resampled, [height, out_size, channels])


def _blocks(in_size: tf.Tensor, out_size: tf.Tensor, resample: int) -> _Blocks:
    first, weights = resampling_weights(in_size, out_size, resample)  # (out,), (out, T)
    taps = tf.shape(weights)[1]
    blocks = (out_size + _BLOCK - 1) // _BLOCK
    # Repeating the last output fills the last block.
    outputs = tf.minimum(tf.range(blocks * _BLOCK), out_size - 1)
    first = tf.reshape(tf.gather(first, outputs), [blocks, _BLOCK])
    weights = tf.reshape(tf.gather(weights, outputs), [blocks, _BLOCK, taps])
    start = first[:, :1]
    length = tf.reduce_max(first[:, -1:] - start) + taps  # K
    positions = tf.minimum(start + tf.range(length), in_size - 1)
    tap = tf.range(length) - (first - start)[:, :, None]  # (B, _BLOCK, K)
    inside = (tap >= 0) & (tap < taps)
    weights = tf.where(inside, tf.gather(weights, tf.where(inside, tap, 0), batch_dims=2), 0)
    high = tf.bitwise.right_shift(weights + (1 << (_LOW_BITS - 1)), _LOW_BITS)
    low = weights - high * (1 << _LOW_BITS)
    return _Blocks(
        positions,
        tf.cast(high, tf.float32) * _HIGH_UNIT,
        tf.cast(low, tf.float32) * 2.0**-_LOW_BITS,
    )


def _weighted_sum(rows: tf.Tensor, blocks: _Blocks, resample: int) -> tf.Tensor:
    """Return uint8 [B * _BLOCK, N], the rounded weighted sums of uint8 rows [h, N].

    Every sum is exact, so that neither the order of summation nor fused multiply-adds show.
    """
    window = tf.gather(rows, blocks.positions)  # (B, K, N)

    def in_float32() -> tf.Tensor:
        levels = tf.cast(window, tf.float32)
        # Dropping what is below one unit changes no level: halves are whole units.
        low = tf.floor(tf.matmul(blocks.low, levels))
        total = tf.matmul(blocks.high, levels) + low * _HIGH_UNIT + 0.5
        if resample in _OVERSHOOTING:
            total = tf.clip_by_value(total, 0.0, 255.0)
        return tf.cast(total, tf.uint8)

    def in_float64() -> tf.Tensor:
        high, low = (tf.cast(part, tf.float64) for part in (blocks.high, blocks.low))
        total = tf.matmul(high + low * _HIGH_UNIT, tf.cast(window, tf.float64)) + 0.5
        # With so many taps the weights' own rounding errors overshoot, whatever the filter.
        return tf.cast(tf.clip_by_value(total, 0.0, 255.0), tf.uint8)

    fits = tf.shape(blocks.positions)[1] <= _FLOAT32_POSITIONS
    return tf.reshape(tf.cond(fits, in_float32, in_float64), [-1, tf.shape(rows)[1]])


def _concatenate(function: Callable[[tf.Tensor], tf.Tensor], starts: tf.Tensor) -> tf.Tensor:
    """Concatenate `function(start)`, uint8 [any, N], over all starts, some of them in parallel."""
    count = tf.size(starts)
    chunks = tf.TensorArray(tf.uint8, count, element_shape=[None, None], infer_shape=False)
    _, chunks = tf.while_loop(
        lambda i, _: i < count,
        lambda i, chunks: (i + 1, chunks.write(i, function(starts[i]))),
        (tf.constant(0), chunks),
        parallel_iterations=4,
    )
    return chunks.concat()
