"""Softmax attention whose memory is bounded: where there are many scores, some queries at a time.

The first stage of an image of 512 × 512 pixels has 4 million scores, of 2048 × 2048 a billion, 4.3 GB in
float32 and as much again for their softmax. In smaller parts, large images are also faster:
`python -m benchmarks.attention`.

Axes: B batch, h heads, N queries, M keys, d = C/h.
"""

from __future__ import annotations

import functools
from typing import Any

import tensorflow as tf

from tf_segformer.grid import Dimension

MAX_SCORES = 1 << 22  # at a time, 17 MB in float32: those of 512 × 512 pixels at once


def are_few(queries: Dimension, heads: Dimension, keys: Dimension, max_scores: int = MAX_SCORES) -> tf.Tensor:
    """Return whether all scores may be computed at once, a boolean scalar.

    Args:
        queries: B·N, an int32 scalar, as are the others.
        heads: h.
        keys: M.
        max_scores: that are held at a time.
    """
    return tf.reduce_prod(tf.cast(tf.stack((queries, heads, keys)), tf.int64)) <= max_scores


def attend(
    query: tf.Tensor,
    key: tf.Tensor,
    value: tf.Tensor,
    *,
    few: tf.Tensor | None = None,
    max_scores: int = MAX_SCORES,
) -> tf.Tensor:
    """Return softmax(query · keyᵀ) · value (section 3.1, eq. 1; the scale is in the query).

    Args:
        query: (B, h, N, d), floating.
        key: (B, h, M, d).
        value: (B, h, M, d).
        few: what `are_few` says of them, where that is known; layers of one size have it in common.
        max_scores: that are held at a time, or those of one query.

    Returns:
        (B, h, N, d).
    """
    if few is None:
        batch, heads, count, _ = tf.unstack(tf.shape(query))
        few = are_few(batch * count, heads, tf.shape(key)[2], max_scores)
    attended = tf.cond(
        few,
        lambda: _attend_at_once(query, key, value),
        lambda: _by_rows(query.dtype, max_scores)(query, key, value),
    )
    return tf.ensure_shape(attended, query.shape)


def _attend_at_once(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    scores = tf.matmul(query, key, transpose_b=True)  # (B, h, N, M)
    shape = tf.shape(scores)
    probabilities = tf.nn.softmax(tf.reshape(scores, (-1, shape[-1])))  # at rank 2 it is faster
    return tf.matmul(tf.reshape(probabilities, shape), value)


@functools.cache
def _by_rows(dtype: tf.DType, max_scores: int) -> Any:
    """Return a function of query, key and value, one for all layers of a graph.

    It is not inlined: what a graph does not call costs nothing.
    """

    def attend_by_rows(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
        count = tf.shape(query)[2]
        of_one = tf.reduce_prod(tf.shape(query, tf.int64)[:2]) * tf.shape(key, tf.int64)[2]
        most = tf.cast(tf.maximum(max_scores // of_one, 1), tf.int32)
        steps = -(-count // most)
        step = -(-count // steps)  # parts of about one size

        def some(i: tf.Tensor, done: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            attended = _attend_at_once(query[:, :, i * step : (i + 1) * step], key, value)
            return i + 1, done.write(i, tf.transpose(attended, (2, 0, 1, 3)))

        done = tf.TensorArray(dtype, steps, infer_shape=False, element_shape=[None] * 4)
        _, done = tf.while_loop(lambda i, _: i < steps, some, (0, done), parallel_iterations=1)
        return tf.transpose(done.concat(), (1, 2, 0, 3))

    return tf.function(
        attend_by_rows,
        input_signature=[tf.TensorSpec([None] * 4, dtype)] * 3,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
