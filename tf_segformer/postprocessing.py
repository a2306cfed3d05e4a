"""From logits to labels: the label map at the photograph's own size.

The reference resizes the logits to the photograph's size and takes the argmax, and so holds
height x width x classes numbers. Here only the tiles (see `tiling.py`) whose four corners do not
agree are computed, and of those only the classes that can win.
"""

from __future__ import annotations

import tensorflow as tf

from tf_segformer import tiling


def label_map(logits: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Return the winning class of every pixel, as `post_process_semantic_segmentation` does.

    The result is the argmax of the logits resized as PyTorch's `interpolate(mode="bilinear",
    align_corners=False)` resizes them: for each pixel, first the two neighbours in the row above
    and in the row below are blended, then the two results, all in float32. It may differ from the
    reference only where that finds two classes equal to within the rounding of these few
    operations. Ties go to the lowest class, NaN wins over every number (as in `torch.argmax`), and
    one class alone (a binary model) is 0 everywhere. Beside the result itself, the memory needed is
    bounded by a few tens of megabytes, whatever the logits and sizes.

    It runs in a graph, with any shape dynamic; map it over a batch with `tf.map_fn`.

    Args:
        logits: float32 [h, w, K] of one image; other floats than float64 are computed in float32.
        height: Height of the photograph in pixels, a Python int or an integer scalar. Smaller than
            h is possible, and 0, which gives an empty map.
        width: Its width.

    Returns:
        int32 [height, width], 0 to K - 1.

    Raises:
        ValueError: If the logits are known not to have three axes.
        tf.errors.InvalidArgumentError: If an axis of the logits is empty, or a size is negative.
    """
    return tf.cast(compact_label_map(logits, height, width), tf.int32)


def compact_label_map(logits: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Return `label_map`'s result in the smallest dtype that holds every class: uint8, uint16 or int32.

    A large photograph's label map is then not copied at four times its size on its way into a file.
    """
    logits, rows, columns = tiling.place(logits, height, width)
    labels = tf.cond(
        # What is not finite makes the sum so (and a sum that overflows is merely taken for it).
        tf.reduce_all(tf.math.is_finite(tf.reduce_sum(logits, axis=-1))),
        lambda: _by_tiles(logits, tiling.cut(rows), tiling.cut(columns)),
        lambda: tf.cast(_by_rows(logits, rows, columns), _smallest_dtype(logits.shape[-1])),
    )
    return tiling.trim(labels, height, width)


def _by_tiles(logits: tf.Tensor, rows: tiling.Tiles, columns: tiling.Tiles) -> tf.Tensor:
    """The label map of finite logits."""
    classes = tf.shape(logits)[-1]
    dtype = _smallest_dtype(logits.shape[-1])
    corner, *others = tiling.corners(_winner(logits), rows, columns)
    mixed = tf.reduce_any([tf.not_equal(corner, other) for other in others], axis=0)
    # The table of tiles begins with one tile of each class.
    pure = tf.tile(tf.range(classes)[:, None, None], [1, columns.size, rows.size])
    pure = tf.cast(pure, dtype)

    def contest(resized: tf.Tensor, tile: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        return tf.cast(_contest(resized, tile, label), dtype)

    def band(start: tf.Tensor, stop: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        blended = tf.reshape(mixed[start:stop], [-1])
        tiles = tf.cast(tf.where(mixed[start:stop]), tf.int32) + tf.stack([start, 0])
        labels = tiling.reduce_contenders(logits, rows, columns, tiles, contest, dtype)
        entry = classes + tf.cumsum(tf.cast(blended, tf.int32)) - 1
        entry = tf.where(blended, entry, tf.reshape(corner[start:stop], [-1]))
        return tf.concat([pure, labels], 0), tf.reshape(entry, [stop - start, -1])

    return tiling.assemble(rows, columns, classes, band, dtype)


def _smallest_dtype(classes: int | None) -> tf.DType:
    """Return what class numbers fit in, so that a large label map is not held twice as int32."""
    if classes is None or classes > 1 << 16:
        return tf.int32
    return tf.uint8 if classes <= 1 << 8 else tf.uint16


def _contest(resized: tf.Tensor, tile: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
    """Return the winner [tiles, Q, P] of contenders [m, Q, P]: of equals, the lowest class."""
    best = tf.gather(tf.math.segment_max(resized, tile), tile)
    # A product is much faster than a `where`; the lowest class has the largest negative.
    wins = tf.cast(tf.equal(resized, best), tf.float32)
    rank = tf.cast(label - 2**23, tf.float32)[:, None, None]
    return tf.cast(tf.math.segment_min(wins * rank, tile), tf.int32) + 2**23


def _winner(values: tf.Tensor) -> tf.Tensor:
    """Argmax over the last axis; of equals the lowest class, as TensorFlow's CPU kernel gives it."""
    return tf.argmax(values, axis=-1, output_type=tf.int32)


def _by_rows(logits: tf.Tensor, rows: tiling.Axis, columns: tiling.Axis) -> tf.Tensor:
    """The label map of any logits, NaN and infinities included: slow, some rows at a time."""
    classes, height, width = tf.shape(logits)[-1], tf.size(rows.first), tf.size(columns.first)
    step = tf.maximum(tiling.BUDGET // (width * classes), 1)
    x = columns.weight[:, None]

    def some_rows(start: tf.Tensor, parts: tf.TensorArray) -> tuple:
        some = slice(start, start + step)
        y = rows.weight[some, None, None]
        above, below = (
            (1 - x) * tf.gather(line, columns.first, axis=1) + x * tf.gather(line, columns.second, axis=1)
            for line in (tf.gather(logits, rows.first[some]), tf.gather(logits, rows.second[some]))
        )
        resized = (1 - y) * above + y * below
        nan = tf.math.is_nan(resized)
        any_nan = tf.reduce_any(nan, axis=-1, keepdims=True)
        resized = tf.where(any_nan, tf.cast(nan, resized.dtype), resized)
        return start + step, parts.write(start // step, _winner(resized))

    parts = tf.TensorArray(tf.int32, -(-height // step), infer_shape=False, element_shape=[None, None])
    _, parts = tf.while_loop(lambda start, _: start < height, some_rows, (0, parts), parallel_iterations=1)
    return parts.concat()
