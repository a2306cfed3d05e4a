"""8-bit layers against whole numbers by hand, and which layers `benchmarks.eight_bit` counts."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.eight_bit import shapes
from benchmarks.eight_bit_network import LEVELS, EightBit
from benchmarks.multiply_adds import count
from tf_segformer import variant_config

LIMIT = 2.0


def levels(values, limits):
    """Whole numbers of `limits` / LEVELS, in float64; exact, whatever is summed of them."""
    return np.clip(np.rint(values.astype(np.float64) / limits * LEVELS), -LEVELS, LEVELS)


def run(layer_call, x):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        given = tf.compat.v1.placeholder(tf.float32, (*[None] * (x.ndim - 1), x.shape[-1]))
        return session.run(tf.cast(layer_call(given), tf.float32), {given: x})


@pytest.mark.parametrize(("output", "tolerance"), [(tf.float32, 1e-6), (tf.bfloat16, 2.0**-8)])
def test_a_dense_layer_multiplies_whole_numbers(output, tolerance):
    random = np.random.default_rng(0)
    x = random.uniform(-1.2 * LIMIT, 1.2 * LIMIT, (48, 32)).astype(np.float32)  # some beyond the limit
    kernel, bias = random.standard_normal((32, 64)), random.standard_normal(64)
    found = run(EightBit(kernel, bias, LIMIT, output), x)
    limits = np.abs(kernel).max(axis=0)
    expected = levels(x, LIMIT) @ levels(kernel, limits) * (LIMIT * limits / LEVELS**2) + bias
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_a_convolution_does_too():
    random = np.random.default_rng(1)
    x = random.uniform(-LIMIT, LIMIT, (2, 8, 12, 16)).astype(np.float32)
    kernel, bias = random.standard_normal((4, 4, 16, 32)), random.standard_normal(32)
    layer = EightBit(kernel, bias, LIMIT)
    found = run(lambda given: layer.convolve(given, 4), x)
    limits = np.abs(kernel).reshape(-1, 32).max(axis=0)
    patches = levels(x, LIMIT).reshape(2, 2, 4, 3, 4, 16).swapaxes(2, 3).reshape(2, 2, 3, -1)
    scales = LIMIT * limits / LEVELS**2
    # The kernel rounds the bias, too, to a multiple of what a sum's last bit is worth.
    expected = patches @ levels(kernel, limits).reshape(-1, 32) * scales + bias
    assert np.abs(found - expected).max() <= scales.max() + 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("variant", ["b0", "b4"])
def test_the_dense_layers_are_those_that_multiply_adds_counts(variant):
    config = variant_config(variant, num_labels=150)
    parts = count(config, (512, 512))
    of_output_layers = sum(  # their inputs are in bfloat16, and so they stay
        blocks * (512 // 4 // 2**stage) ** 2 * channels**2
        for stage, (channels, blocks) in enumerate(zip(config.hidden_sizes, config.depths, strict=True))
    )
    expected = parts["attention, dense layers"] - of_output_layers + parts["Mix-FFN, dense layers"]
    found = sum(n * a * b * number for (n, a, b, _), number in shapes(config, 512).items())
    assert found == expected
