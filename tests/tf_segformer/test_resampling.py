"""Resizing as Pillow does it, bit for bit, by any filter, at any size, in both pass orders."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.tf_segformer.pixel_cases import (
    DIRECTIONS,
    FILTERS,
    INSTALLED,
    PICTURES,
    random_sizes,
    resize_by_pillow,
    resize_difference,
    resize_in_graph,
)
from tf_segformer import resampling
from tf_segformer.resampling_filters import resampling_weights

pictures = st.sampled_from(sorted(PICTURES))
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    resample=st.sampled_from(sorted(FILTERS.values())),
    picture=pictures,
    direction=st.sampled_from(DIRECTIONS),
    seed=seeds,
)
def test_the_installed_pillow(resample, picture, direction, seed):
    random = np.random.default_rng(seed)
    h, w, height, width = random_sizes(direction, random)
    pixels = PICTURES[picture](h, w, random)
    assert resize_difference(pixels, height, width, resample, INSTALLED) == 0


side = st.integers(1, 120)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    resample=st.sampled_from([resampling.BILINEAR, resampling.LANCZOS]),
    picture=pictures,
    sizes=st.tuples(side, side, side, side),
    seed=seeds,
)
@example(resample=2, picture="noise", sizes=(120, 70, 64, 64), seed=0)  # the two orders differ here
def test_columns_first_as_up_to_pillow_12(resample, picture, sizes, seed):
    pixels = PICTURES[picture](*sizes[:2], np.random.default_rng(seed))
    assert resize_difference(pixels, *sizes[2:], resample, "pillow<13") == 0


@pytest.mark.skipif(INSTALLED != "pillow>=13", reason="older Pillows have one order only")
@pytest.mark.parametrize(
    ("size", "rows_first"),
    [((84, 74), False), ((85, 74), True), ((65, 64), True), ((65, 60), True), ((64, 60), False)],
)
def test_rows_are_first_where_the_height_shrinks_more_than_twice_as_much(size, rows_first):
    """At the rule's edges, to 64 x 64; and the pass order shows."""
    pixels = PICTURES["noise"](*size, np.random.default_rng(0))
    new, old = (resize_by_pillow(pixels, 64, 64, 2, order) for order in resampling.PASS_ORDERS)
    assert np.any(new != old) == (rows_first and size[1] != 64)
    assert resize_difference(pixels, 64, 64, 2, INSTALLED) == 0


@pytest.mark.parametrize("resample", FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 1), (1, 1, 50, 3), (50, 3, 1, 1), (1, 2000, 3, 7), (2000, 1, 1, 2000), (7, 9, 7, 9)]
)
def test_the_smallest_and_the_narrowest(resample, sizes):
    pixels = PICTURES["noise"](*sizes[:2], np.random.default_rng(0))
    assert resize_difference(pixels, *sizes[2:], resample, INSTALLED) == 0


def test_so_many_taps_that_rounding_errors_overshoot():
    """20,919 weights of 2**22 / 20,919 = 200.502 each become 201: a full level becomes 256.1."""
    pixels = np.full((20_919, 1, 3), 255, np.uint8)
    assert resize_difference(pixels, 1, 1, resampling.BOX, INSTALLED) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    resample=st.sampled_from(sorted({*FILTERS.values()} - {resampling.NEAREST})),
    sizes=st.tuples(st.integers(1, 5000), st.integers(1, 600)),
)
@example(resample=resampling.LANCZOS, sizes=(4, 15))  # of those tried, the largest sums of the high parts
@example(resample=resampling.BOX, sizes=(915, 2))  # and of the low ones
def test_the_sums_are_exact_in_float32(resample, sizes):
    """Whatever the pixels and the order of summation: no sum of whole numbers reaches 2**24."""
    in_size, out_size = map(tf.constant, sizes)
    positions, high, low = resampling._blocks(in_size, out_size, resample)
    weights = resampling_weights(in_size, out_size, resample)[1]
    total = high / resampling._HIGH_UNIT * 128 + low * 128
    np.testing.assert_array_equal(
        tf.reduce_sum(tf.reshape(total, [-1, total.shape[-1]])[: sizes[1]], axis=1),
        tf.reduce_sum(weights, axis=1),
    )
    if positions.shape[1] <= resampling._FLOAT32_POSITIONS:
        largest = []
        for part, unit in ((high, resampling._HIGH_UNIT), (low, 2.0**-7)):
            whole = part.numpy().astype(float) / unit
            np.testing.assert_array_equal(whole, np.round(whole))
            largest.append(255 * np.abs(whole).sum(axis=-1).max())
        assert max(largest) < 2**24
        assert largest[0] + largest[1] / 128 + 2**14 < 2**24  # the total with its half a level


@pytest.mark.parametrize("resample", [resampling.BILINEAR, resampling.LANCZOS])
@pytest.mark.parametrize(("height", "fits"), [(240, True), (2400, False)])
def test_float64_takes_over_where_sums_could_be_too_large(resample, height, fits):
    positions = resampling._blocks(tf.constant(height), tf.constant(4), resample).positions
    assert (positions.shape[1] <= resampling._FLOAT32_POSITIONS) == fits
    for picture in PICTURES.values():
        pixels = picture(height, 3, np.random.default_rng(0))
        assert resize_difference(pixels, 4, 3, resample, INSTALLED) == 0


def test_the_products_stay_on_the_cpu():
    """A GPU may take them in TF32."""
    graph = resize_in_graph(resampling.BILINEAR, INSTALLED).get_concrete_function().graph.as_graph_def()
    nodes = [node for function in graph.library.function for node in function.node_def]
    products = [node for node in nodes if "MatMul" in node.op]
    assert products
    assert {node.device for node in products} == {"/device:CPU:0"}


def test_sine_and_cosine_are_the_c_librarys():
    """Pillow calls libm; the weights of LANCZOS and HAMMING rest on TensorFlow giving the same."""
    angles = np.random.default_rng(0).uniform(0, 3 * math.pi, 100_000)
    for ours, theirs in ((tf.sin, math.sin), (tf.cos, math.cos)):
        np.testing.assert_array_equal(ours(angles), [theirs(angle) for angle in angles])


def sinc(x):
    return math.sin(x * math.pi) / (x * math.pi) if x else 1.0


def lanczos(x):
    return sinc(x) * sinc(x / 3) if -3 <= x < 3 else 0.0


def hamming(x):
    # Pillow's constants are of float32.
    window = float(np.float32(0.54)) + float(np.float32(0.46)) * math.cos(x * math.pi)
    return sinc(abs(x)) * window if 0 < abs(x) < 1 else float(x == 0)


def weights_in_python(kernel, radius, in_size, out_size, position):
    """Pillow's fixed-point weights of one output position, in Python's floats: libm's sine."""
    scale = max(in_size / out_size, 1.0)
    centre = (position + 0.5) * (in_size / out_size)
    first = max(int(centre - radius * scale + 0.5), 0)
    end = min(int(centre + radius * scale + 0.5), in_size)
    weights = [kernel((i + first - centre + 0.5) * (1.0 / scale)) for i in range(end - first)]
    total = 0.0
    for weight in weights:
        total += weight
    return first, [int(math.copysign(0.5, w) + w / total * (1 << 22)) for w in weights]


@pytest.mark.parametrize(
    ("resample", "kernel", "radius"), [(resampling.LANCZOS, lanczos, 3), (resampling.HAMMING, hamming, 1)]
)
def test_weights_are_right_to_the_last_bit(resample, kernel, radius):
    """A weight that is off by one shows in few pixels, so weights are compared themselves."""
    in_graph = tf.function(
        lambda i, o: resampling_weights(i, o, resample),
        input_signature=[tf.TensorSpec([], tf.int32)] * 2,
        autograph=False,
    )
    random = np.random.default_rng(0)
    for _ in range(60):
        in_size, out_size = np.exp(random.uniform(0, 6.5, 2)).astype(int).tolist()
        first, weights = (tensor.numpy() for tensor in in_graph(in_size, out_size))
        for position in random.integers(0, out_size, 5).tolist():
            expected_first, expected = weights_in_python(kernel, radius, in_size, out_size, position)
            assert first[position] == expected_first
            found = weights[position]
            assert found[: len(expected)].tolist() == expected
            assert not found[len(expected) :].any()


def test_static_sizes_give_static_shapes():
    in_graph = tf.function(lambda pixels: resampling.resize(pixels, 5, 7))
    concrete = in_graph.get_concrete_function(tf.TensorSpec([None, None, 3], tf.uint8))
    assert concrete.structured_outputs.shape == (5, 7, 3)


def test_one_channel_and_four():
    for channels in (1, 4):
        pixels = np.random.default_rng(0).integers(0, 256, (9, 8, channels), np.uint8)
        whole = resampling.resize(pixels, 4, 5)
        for channel in range(channels):
            alone = resampling.resize(pixels[..., channel : channel + 1], 4, 5)
            np.testing.assert_array_equal(whole[..., channel : channel + 1], alone)


def test_unknown_filters_and_orders_are_refused():
    with pytest.raises(ValueError, match=r"resample=6 is not supported; expected .* 0 to 5"):
        resampling.resize(tf.zeros([2, 2, 3], tf.uint8), 4, 4, 6)
    with pytest.raises(ValueError, match="pass_order='pillow' is unknown; expected one of"):
        resampling.resize(tf.zeros([2, 2, 3], tf.uint8), 4, 4, pass_order="pillow")
