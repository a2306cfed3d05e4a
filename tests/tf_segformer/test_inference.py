"""The inference network computes what the Keras model computes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from transformers import SegformerConfig

from tests.rounding import ROUNDINGS
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.folding import fold_projections
from tf_segformer.grid import Grid, Patches
from tf_segformer.inference_layers import Linear, enlarged_sum, gelu, numbers_of
from tf_segformer.numerics import gelu as exact_gelu
from tf_segformer.numerics import resize_bilinear
from tf_segformer.scenes import draw_scene

TINY = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
BUNDLED = (
    Path(__file__).parents[2] / "examples" / "segformer-scenes"
)  # trained: random networks amplify noise


def random_model(dtype="float64", **fields):
    """A small model whose every weight matters: no bias is zero, no scale is one."""
    model = TFSegformerForSemanticSegmentation(
        SegformerConfig.from_pretrained(TINY, **fields), dtype=dtype, data_format="channels_last"
    )
    random = np.random.default_rng(0)
    for weight in model.weights:
        value = random.normal(0, 0.3, weight.shape)
        if weight.path.endswith(("variance", "gamma")):
            value = random.uniform(0.5, 2.0, weight.shape)
        weight.assign(value)
    return model


def images(height, width, dtype, batch=2):
    return np.random.default_rng(1).standard_normal((batch, height, width, 3)).astype(dtype)


def error(actual, expected):
    """The largest difference in units of the largest value."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    return np.abs(actual - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(
    ("size", "fields"),
    [
        ((64, 64), {}),
        ((50, 70), {}),
        ((96, 32), {"hidden_act": "gelu_new"}),
        ((64, 96), {"hidden_act": "relu"}),
        ((64, 96), {"num_attention_heads": [1, 1, 1, 1]}),
        ((64, 96), {"num_labels": 1}),
    ],
)
def test_in_float64_it_equals_the_model(size, fields):
    model = random_model(**fields)
    network = tf.function(model.fold_for_inference(), autograph=False)
    values = images(*size, "float64")
    expected = model(values, output_hidden_states=True)
    predicted = network(tf.constant(values))
    assert error(predicted.logits, expected.logits) <= 1e-12
    for state, wanted in zip(predicted.hidden_states, expected.hidden_states, strict=True):
        assert error(state, wanted) <= 1e-12


def test_in_float32_it_differs_by_rounding_only():
    """It is as near to the float64 model as the float32 model is, within a factor of two."""
    values = images(64, 96, "float64")
    exact = random_model()(values).logits
    model = random_model("float32")
    values = tf.constant(values, tf.float32)
    folded = tf.function(model.fold_for_inference(), autograph=False)(values).logits
    assert error(folded, exact) <= 2 * error(model(values).logits, exact)


def test_the_batch_and_the_size_are_free():
    network = random_model().fold_for_inference()
    spec = tf.TensorSpec([None, None, None, 3], tf.float64)
    traced = tf.function(network, input_signature=[spec], autograph=False)
    one = images(64, 64, "float64", batch=1)
    assert error(traced(one).logits, network(tf.constant(one)).logits) <= 1e-12
    assert traced(images(33, 95, "float64", batch=3)).logits.shape == (3, 9, 24, 11)


def test_more_blocks_make_no_more_shapes():
    """A server's optimiser goes over all nodes before the first answer."""
    spec = tf.TensorSpec([None, None, None, 3])
    made = []
    for depth in (1, 3):
        network = random_model("float32", depths=[depth] * 4).fold_for_inference()
        graph = tf.function(network, autograph=False).get_concrete_function(spec).graph
        made.append(sum(node.op == "Pack" for node in graph.as_graph_def().node))
    assert made[0] == made[1] > 0


def test_a_map_smaller_than_its_kernel_is_refused():
    network = random_model("float32").fold_for_inference()
    spec = tf.TensorSpec([None, None, None, 3])
    traced = tf.function(network, input_signature=[spec], autograph=False)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too small"):
        traced(images(8, 8, "float32"))


def test_training_the_model_afterwards_changes_nothing():
    model = random_model("float32")
    values = tf.constant(images(64, 64, "float32"))
    network = model.fold_for_inference()
    before = network(values).logits
    for weight in model.weights:
        weight.assign(weight * 1.5)
    np.testing.assert_array_equal(network(values).logits, before)


def test_in_bfloat16_it_differs_by_bfloat16s_rounding():
    """Steps of 8 bits move the logits by 0.2 %; oneDNN's wrong convolution of 16 channels by 1 %."""
    scenes = np.stack([draw_scene(0, index, 128, 160).image for index in range(2)])
    values = scenes.astype(np.float32) / 64 - 2
    model = TFSegformerForSemanticSegmentation.from_pretrained(BUNDLED, data_format="channels_last")
    network = tf.function(model.fold_for_inference("bfloat16"), autograph=False)
    predicted = network(tf.constant(values))
    assert predicted.logits.dtype == tf.float32
    wanted = model(values).logits.numpy()
    assert 1e-5 < np.abs(predicted.logits - wanted).mean() / np.abs(wanted).mean() < ROUNDINGS * 5e-3


def test_in_bfloat16_the_weights_are_constants_of_the_graph():
    """OneDNN lays out constants once; variables it would lay out at every product."""
    network = random_model("float32").fold_for_inference("bfloat16")
    assert not network.variables
    spec = tf.TensorSpec([None, None, None, 3])
    graph = tf.function(network, autograph=False).get_concrete_function(spec).graph
    constants = [node for node in graph.as_graph_def().node if node.op == "Const"]
    kept = sum(node.attr["dtype"].type == tf.bfloat16.as_datatype_enum for node in constants)
    linear = [part for part in network.submodules if isinstance(part, Linear)]
    assert kept >= 2 * (len(linear) - 1) > 50  # all but the first convolution


def test_an_unknown_precision_is_refused():
    with pytest.raises(ValueError, match=r"'float8'; expected float32, float64 or bfloat16"):
        random_model("float32").fold_for_inference("float8")


def test_mixed_precision_is_refused():
    model = random_model("mixed_bfloat16")
    with pytest.raises(ValueError, match="mixed_bfloat16; expected float32 or float64"):
        model.fold_for_inference()


def test_the_fold_is_what_its_formula_says():
    """Each linear step on its own, on feature maps of four sizes, against one product a stage."""
    head = random_model().decode_head
    random = np.random.default_rng(2)
    features = [
        tf.constant(random.standard_normal((1, 16 >> i, 24 >> i, channels)))
        for i, channels in enumerate(head.config.hidden_sizes)
    ]
    resized = [resize_bilinear(c.proj(x), 16, 24) for c, x in zip(head.linear_c, features, strict=True)]
    expected = head.batch_norm(head.linear_fuse(tf.concat(resized[::-1], axis=-1)), training=False)
    kernels, bias = fold_projections(head)
    folded = bias + sum(
        resize_bilinear(x @ kernel, 16, 24) for x, kernel in zip(features, kernels, strict=True)
    )
    assert error(folded, expected) <= 1e-13


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("bfloat16", 2**-8)])
@pytest.mark.parametrize("channels", [96, 12])
def test_gelu_is_exact_in_one_pass_and_where_its_width_does_not_divide(channels, dtype, tolerance):
    x = tf.cast(np.random.default_rng(0).normal(0, 3, (7, channels)), dtype)
    exact = exact_gelu(tf.cast(x, tf.float64))
    found = tf.function(gelu, autograph=False)(x)
    assert found.dtype == x.dtype
    assert error(tf.cast(found, tf.float64), exact) <= tolerance


@pytest.mark.parametrize("shape", [(32, 48), (25, 31)])
def test_in_bfloat16_maps_are_enlarged_and_added_as_in_float32(shape):
    maps = [np.random.default_rng(0).standard_normal((2, 16 // k, 24 // k, 5)) for k in (1, 2, 4)]
    maps = [tf.cast(each, tf.bfloat16) for each in maps]
    exact = sum(resize_bilinear(tf.cast(each, tf.float64), *shape) for each in maps)
    found = tf.reshape(enlarged_sum(maps, *map(tf.constant, shape)), (2, *shape, 5))
    assert error(tf.cast(found, tf.float64), exact) <= ROUNDINGS * 2**-7


@pytest.mark.parametrize("channels", [8, 16, 24, 32])
def test_in_bfloat16_a_sequence_is_reduced_as_in_float32(channels):
    """With AMX, oneDNN 3.7 convolves from few channels wrongly."""
    random = np.random.default_rng(0)
    shape = (8, 8, channels, channels)
    layer = SimpleNamespace(kernel=random.standard_normal(shape), bias=random.standard_normal(channels))
    reduction = Linear.of_patches(layer, numbers_of("bfloat16"), "sr")
    x = tf.cast(random.standard_normal((2, 50, 48, channels)), tf.bfloat16)

    @tf.function(autograph=False)
    def reduce(x):
        grid = Grid.under(x)
        return reduction(Patches(grid, 8).of(grid.tokens(x)))

    found = reduce(x)
    kernel = tf.reshape(tf.cast(reduction.kernel(), tf.float64), shape)
    exact = tf.nn.conv2d(tf.cast(x, tf.float64), kernel, 8, "VALID")
    exact += tf.cast(reduction.bias(), tf.float64)
    assert error(tf.cast(found, tf.float64), tf.reshape(exact, (-1, channels))) <= ROUNDINGS * 2**-8
