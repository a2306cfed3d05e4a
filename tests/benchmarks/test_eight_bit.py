"""The 8-bit layers multiply what they should, and the layers counted are those of the network."""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.eight_bit import BFLOAT16, WITH_INPUT, layers, main, shapes
from benchmarks.multiply_adds import count
from tests.rounding import needs_onednn_in_bfloat16
from tf_segformer import variant_config


@needs_onednn_in_bfloat16
@pytest.mark.parametrize(("way", "tolerance"), [(BFLOAT16, 4e-3), (WITH_INPUT, 3e-2)])
def test_a_layer_computes_the_product(way, tolerance):
    x, ways, exact = layers((48, 32, 64))
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        given = tf.compat.v1.placeholder(tf.bfloat16, (None, 32))
        found = session.run(tf.cast(ways[way](given), tf.float32), {given: x[0]})
    error = np.abs(found - exact).max() / np.abs(exact).max()
    assert 1e-4 < error <= tolerance


@pytest.mark.parametrize("variant", ["b0", "b4"])
def test_the_dense_layers_are_those_that_multiply_adds_counts(variant):
    config = variant_config(variant, num_labels=150)
    parts = count(config, (512, 512))
    found = sum(n * a * b * number for (n, a, b), number in shapes(config, 512).items())
    assert found == parts["attention, dense layers"] + parts["Mix-FFN, dense layers"]


def test_where_the_products_cannot_run_the_command_says_why(monkeypatch):
    """TensorFlow would end the process."""
    monkeypatch.setattr("benchmarks.eight_bit.bfloat16_obstacle", lambda: "no AVX-512")
    monkeypatch.setattr("sys.argv", ["eight_bit"])
    with pytest.raises(SystemExit, match="Nothing to measure: no AVX-512"):
        main()
