"""The resized logits of a photograph, tile by tile and class by class, never held as a whole.

PyTorch's `interpolate(mode="bilinear", align_corners=False)` makes every pixel a convex combination
of the four logits around it. The pixels between the same four logits are a *cell*; a cell, or a
part of it where cells are large, is a *tile*. In a tile no class can win whose largest corner is
below another's smallest corner, so only few classes, its *contenders*, are computed at its pixels.

Axes: h, w of the logits; H, W of the photograph; K classes; R rows and C columns of tiles; P, Q
rows and columns of pixels in a tile; n tiles; m pairs of a tile and a contender.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

LARGEST_TILE = 32  # pixels along an axis
BUDGET = 1 << 19  # elements of the largest temporary: 2 MB of float32, which caches still hold


class Axis(NamedTuple):
    """Where the pixels along one axis lie between the logits, each of length H (or W).

    A pixel's value is `(1 - weight) * logits[first] + weight * logits[second]`. `cell` numbers the
    gaps between logits; -1 is the half gap before the first, where `weight` is 0.
    """

    first: tf.Tensor
    second: tf.Tensor
    weight: tf.Tensor
    cell: tf.Tensor


class Tiles(NamedTuple):
    """One axis cut into tiles of up to `size` pixels, none of which spans two cells.

    Attributes:
        size: P (or Q), int32 scalar.
        start: [R + 1] the first pixel of each tile, and the number of pixels.
        first: [R] the logit at the tile's low side.
        second: [R] the logit at its high side.
        weight: [R, P] the pixels' weights; beyond a shorter tile's end, of no meaning.
        of: [H] the tile of each pixel.
        offset: [H] its place in the tile.
    """

    size: tf.Tensor
    start: tf.Tensor
    first: tf.Tensor
    second: tf.Tensor
    weight: tf.Tensor
    of: tf.Tensor
    offset: tf.Tensor


def place(logits: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tuple[tf.Tensor, Axis, Axis]:
    """Check the logits [h, w, K] and the size of a photograph; return them and its two axes.

    An empty photograph is given one pixel, which `trim` takes away again.

    Raises:
        ValueError: If the logits are known not to have three axes.
        tf.errors.InvalidArgumentError: If an axis of the logits is empty, or a size is negative.
    """
    logits = tf.convert_to_tensor(logits)
    if logits.shape.rank not in (None, 3):
        raise ValueError(
            f"The logits have the shape {logits.shape}; expected [h, w, classes] of one image. "
            "For a batch, map this function over it with tf.map_fn."
        )
    logits = tf.ensure_shape(logits, [None, None, None])
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)
    height, width = tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    checks = [
        tf.debugging.assert_positive(tf.shape(logits), "The logits are empty."),
        tf.debugging.assert_non_negative([height, width], "The size is negative."),
    ]
    with tf.control_dependencies(checks):
        logits = tf.identity(logits)  # so that nothing is made of them, and fails, before they are checked
        h, w = tf.unstack(tf.shape(logits)[:2])
        rows = pixel_axis(h, tf.maximum(height, 1), logits.dtype)
        columns = pixel_axis(w, tf.maximum(width, 1), logits.dtype)
    return logits, rows, columns


def trim(picture: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Take away the pixel that `place` gave an empty picture [H, W], and set the static shape."""
    height, width = tf.cast(height, tf.int32), tf.cast(width, tf.int32)
    picture = picture[:height, :width]
    picture.set_shape([tf.get_static_value(height), tf.get_static_value(width)])
    return picture


def pixel_axis(source: tf.Tensor, target: tf.Tensor, dtype: tf.DType) -> Axis:
    """Return PyTorch's interpolation along an axis, in the order of operations of its CPU kernel.

    Args:
        source: How many logits the axis has, int32 scalar.
        target: How many pixels, int32 scalar.
        dtype: float32, as PyTorch computes for float32 logits, or float64.
    """
    scale = tf.cast(source, dtype) / tf.cast(target, dtype)
    position = (tf.cast(tf.range(target), dtype) + 0.5) * scale - 0.5
    cell = tf.minimum(tf.cast(tf.floor(position), tf.int32), source - 1)
    first = tf.maximum(cell, 0)
    second = tf.minimum(first + 1, source - 1)
    weight = tf.maximum(position, 0.0) - tf.cast(first, dtype)
    return Axis(first, second, weight, cell)


def cut(axis: Axis, largest: int | tf.Tensor = LARGEST_TILE) -> Tiles:
    """Cut an axis of at least one pixel into tiles of about equal size, at most `largest`."""
    pixel = tf.range(tf.size(axis.cell))
    within = pixel - tf.searchsorted(axis.cell, axis.cell)  # the place in the cell
    longest = tf.reduce_max(within) + 1
    size = -(-longest // -(-longest // largest))
    offset = within % size
    starts = tf.equal(offset, 0)
    start = tf.cast(tf.where(starts), tf.int32)[:, 0]
    first = tf.gather(axis.first, start)
    # Before the first logit the weight of the second is 0: leave it out of the tile's corners.
    second = tf.where(tf.gather(axis.cell, start) < 0, first, tf.gather(axis.second, start))
    pixels = tf.minimum(start[:, None] + tf.range(size), tf.size(pixel) - 1)
    return Tiles(
        size=size,
        start=tf.concat([start, [tf.size(pixel)]], 0),
        first=first,
        second=second,
        weight=tf.gather(axis.weight, pixels),
        of=tf.cumsum(tf.cast(starts, tf.int32)) - 1,
        offset=offset,
    )


def corners(grid: tf.Tensor, rows: Tiles, columns: Tiles) -> list[tf.Tensor]:
    """Return what a grid [h, w] holds at the tiles' corners: four tensors [R, C]."""
    return [
        tf.gather(tf.gather(grid, y), x, axis=1)
        for y in (rows.first, rows.second)
        for x in (columns.first, columns.second)
    ]


def reduce_contenders(
    logits: tf.Tensor,
    rows: Tiles,
    columns: Tiles,
    tiles: tf.Tensor,
    reduction: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    dtype: tf.DType,
) -> tf.Tensor:
    """Compute the contenders' logits at the pixels of some tiles, and reduce them per tile.

    Args:
        logits: [h, w, K], finite.
        rows: The tiles along h.
        columns: The tiles along w.
        tiles: int32 [n, 2], each tile's row and column.
        reduction: Called with a part of the pairs, those of some whole tiles: the resized logits
            [m, Q, P], the pairs' tiles [m], ascending from 0 without a gap, and their classes [m],
            ascending in each tile; returns [tiles, Q, P].
        dtype: Of what the reduction returns.

    Returns:
        [n, Q, P].
    """
    row, column = tiles[:, 0], tiles[:, 1]
    at_corners = [
        tf.gather_nd(logits, tf.stack([tf.gather(y, row), tf.gather(x, column)], axis=1))
        for y in (rows.first, rows.second)
        for x in (columns.first, columns.second)
    ]  # 4 x [n, K]
    lowest = tf.minimum(tf.minimum(*at_corners[:2]), tf.minimum(*at_corners[2:]))
    highest = tf.maximum(tf.maximum(*at_corners[:2]), tf.maximum(*at_corners[2:]))
    floor = tf.reduce_max(lowest, axis=1, keepdims=True)  # the winner is nowhere below this
    # The rounding of the interpolation must not lose a class that ties: 1e-6 is several times it.
    contends = highest >= floor - 1e-6 * tf.abs(floor)
    pairs = tf.where(contends)
    at_corners = [tf.gather_nd(values, pairs)[:, None] for values in at_corners]  # 4 x [m, 1]
    tile, label = tf.unstack(tf.cast(pairs, tf.int32), axis=1)
    n = tf.size(row)
    # Tile i has the pairs ends[i] to ends[i + 1]. (`tf.searchsorted` does not search nothing.)
    (ends,) = tf.unstack(tf.raw_ops.LowerBound(sorted_inputs=tile[None], values=tf.range(n + 1)[None]), 1)
    capacity = BUDGET // (rows.size * columns.size)

    def step(i: tf.Tensor, start: tf.Tensor, parts: tf.TensorArray) -> tuple:
        stop = tf.searchsorted(ends, ends[start, None] + capacity, side="right")[0] - 1
        stop = tf.maximum(stop, start + 1)
        part = slice(ends[start], ends[stop])
        x = tf.gather(columns.weight, tf.gather(column, tile[part]))  # [m, Q]
        y = tf.gather(rows.weight, tf.gather(row, tile[part]))[:, None]  # [m, 1, P]
        top_left, top_right, bottom_left, bottom_right = (values[part] for values in at_corners)
        top = (1 - x) * top_left + x * top_right
        bottom = (1 - x) * bottom_left + x * bottom_right
        resized = (1 - y) * top[:, :, None] + y * bottom[:, :, None]
        reduced = reduction(resized, tile[part] - start, label[part])
        return i + 1, stop, parts.write(i, tf.reshape(reduced, [-1]))

    # Parts are flat and begin with an empty one: eagerly, no part at all could not be concatenated.
    parts = tf.TensorArray(dtype, 1, dynamic_size=True, infer_shape=False, element_shape=[None])
    parts = parts.write(0, tf.zeros([0], dtype))
    _, _, parts = tf.while_loop(lambda i, start, _: start < n, step, (1, 0, parts))
    return tf.reshape(parts.concat(), [n, columns.size, rows.size])


def assemble(
    rows: Tiles,
    columns: Tiles,
    classes: tf.Tensor,
    band: Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    dtype: tf.DType,
) -> tf.Tensor:
    """Put the picture together from bands of tiles.

    A picture's columns are gathered first, one piece of P pixels a tile: pixel by pixel it takes several
    times as long. They are turned, and the rows are gathered, which leaves out what shorter tiles lack.

    Args:
        rows: The tiles along H.
        columns: The tiles along W.
        classes: K, which bounds what a tile may need.
        band: Called with the first tile row of a band and the one after its last; returns a table
            of tiles [any, Q, P] and int32 [rows of tiles, C], the table's entry for each tile.
        dtype: Of the table.

    Returns:
        [H, W].
    """
    pixels = rows.size * columns.size
    tile_rows, tile_columns = tf.shape(rows.weight)[0], tf.shape(columns.weight)[0]
    height = tf.maximum(BUDGET // (tile_columns * tf.maximum(pixels, classes)), 1)

    def step(i: tf.Tensor, bands: tf.TensorArray) -> tuple:
        start = i * height
        stop = tf.minimum(start + height, tile_rows)
        table, entry = band(start, stop)
        span = slice(rows.start[start], rows.start[stop])
        piece = tf.gather(tf.transpose(entry) * columns.size, columns.of) + columns.offset[:, None]
        pieces = tf.gather(tf.reshape(table, [-1, rows.size]), piece)  # [W, tiles, P]
        turned = tf.transpose(tf.reshape(pieces, [tf.size(columns.of), -1]))
        row = (rows.of[span] - start) * rows.size + rows.offset[span]
        return i + 1, bands.write(i, tf.gather(turned, row))

    count = -(-tile_rows // height)
    bands = tf.TensorArray(dtype, count, infer_shape=False, element_shape=[None, None])
    _, bands = tf.while_loop(lambda i, _: i < count, step, (0, bands), parallel_iterations=1)
    return bands.concat()
