"""Attention over some queries at a time is attention."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tf_segformer import attention_rows
from tf_segformer.attention_rows import attend


def softmax_attention(query, key, value):
    scores = np.einsum("bhnd,bhmd->bhnm", query, key)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    return np.einsum("bhnm,bhmd->bhnd", scores / scores.sum(-1, keepdims=True), value)


@pytest.fixture
def taken(monkeypatch):
    """How many scores are computed at a time, in a list that grows."""
    at_once, taken = attention_rows._attend_at_once, []

    def recorded(query, key, value):
        shape = tf.concat([tf.shape(query)[:3], tf.shape(key)[2:3]], axis=0)
        tf.numpy_function(lambda shape: taken.append(int(np.prod(shape))), [shape], [])
        return at_once(query, key, value)

    monkeypatch.setattr(attention_rows, "_attend_at_once", recorded)
    attention_rows._by_rows.cache_clear()
    yield taken
    attention_rows._by_rows.cache_clear()


@pytest.mark.parametrize(
    ("limit", "parts"),
    [
        (2 * 3 * 37 * 5, [37]),
        (2 * 3 * 37 * 5 - 1, [19, 18]),
        (2 * 3 * 10 * 5, [10, 10, 10, 7]),
        (1, [1] * 37),
    ],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_scores_are_computed_for_some_queries_at_a_time(taken, limit, parts, dtype):
    random = np.random.default_rng(0)
    shapes = (2, 3, 37, 4), (2, 3, 5, 4), (2, 3, 5, 4)
    tensors = [random.standard_normal(shape).astype(dtype) for shape in shapes]
    attend_limited = functools.partial(attend, max_scores=limit)
    run = tf.function(attend_limited, input_signature=[tf.TensorSpec([None, None, None, 4], dtype)] * 3)
    found = run(*tensors)
    assert taken == [2 * 3 * 5 * queries for queries in parts]
    assert found.dtype == dtype
    expected = softmax_attention(*(tensor.astype(np.float64) for tensor in tensors))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14 if dtype == "float64" else 1e-6)


def test_what_is_known_of_the_scores_is_not_asked_again(taken):
    tensors = [tf.zeros(shape) for shape in ((2, 3, 37, 4), (2, 3, 5, 4), (2, 3, 5, 4))]
    run = tf.function(functools.partial(attend, max_scores=1))
    run(*tensors, few=attention_rows.are_few(2 * 37, 3, 5, 2 * 37 * 3 * 5))
    assert taken == [2 * 37 * 3 * 5]
    taken.clear()
    run(*tensors, few=attention_rows.are_few(2 * 37, 3, 5, 2 * 37 * 3 * 5 - 1))
    assert len(taken) == 37


def test_more_scores_than_an_int32_holds_are_not_few():
    assert not attention_rows.are_few(2**20, 8, 2**14)
