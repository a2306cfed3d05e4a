"""Weights of one shape in one variable: each is what it was, wherever it is read."""

from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer.test_inference import error, images, random_model
from tf_segformer.inference_layers import Weight, numbers_of
from tf_segformer.packed_weights import PackedWeights

SHAPES = {"kernel": (4, 16), "bias": (16,), "gamma": (16,), "beta": (16,), "other": (3,)}


@pytest.fixture
def values():
    """Five weights by name, each value once; two are of shapes that no other has."""
    return {name: np.full(shape, i, np.float32) for i, (name, shape) in enumerate(SHAPES.items())}


@pytest.fixture
def weights(values):
    numbers = numbers_of("float32")
    return [Weight(value, "float32", numbers, name) for name, value in values.items()]


def test_only_weights_of_one_shape_and_dtype_share_a_variable(weights):
    weights.append(Weight(np.zeros(16), "float64", numbers_of("float64"), "bias"))
    packed = PackedWeights(weights)
    assert [stack.variable.shape for stack in packed.stacks] == [(3, 16)]
    assert [len(weight.variables) for weight in weights] == [1, 0, 0, 0, 1, 1]


def test_each_weight_is_read_as_it_was_eagerly_and_in_a_graph(weights, values):
    packed = PackedWeights(weights)

    @tf.function(autograph=False)
    def read():
        with packed.read():
            return [weight() for weight in weights]

    for eager, traced, value in zip([weight() for weight in weights], read(), values.values(), strict=True):
        np.testing.assert_array_equal(eager, value)
        np.testing.assert_array_equal(traced, value)
    operations = Counter(node.op for node in read.get_concrete_function().graph.as_graph_def().node)
    assert (operations["ReadVariableOp"], operations["Unpack"]) == (3, 1)


def test_reading_copies_nothing():
    numbers = numbers_of("float32")
    packed = PackedWeights([Weight(np.full([2, 16], i), "float32", numbers, "kernel") for i in range(3)])
    (stack,) = packed.stacks
    stacked = np.asarray(memoryview(stack.variable.value()))
    for weight in stack.unstack():
        assert np.shares_memory(np.asarray(memoryview(weight)), stacked)


def test_a_network_has_a_variable_for_each_shape():
    network = random_model("float32").fold_for_inference()
    weights = [part for part in network.submodules if isinstance(part, Weight)]
    shapes = [tuple(part.shape) for part in weights if not part.is_constant]
    assert len(network.variables) == len(set(shapes)) < len(shapes) / 2
    assert sum(variable.shape.num_elements() for variable in network.variables) == sum(map(np.prod, shapes))


def test_the_optimiser_keeps_every_gamma_and_beta():
    """With free sizes it makes LayerNorm one kernel, and would take the first weight of each stack."""
    model = random_model("float32")
    spec = tf.TensorSpec([None, None, None, 3])
    traced = tf.function(model.fold_for_inference(), input_signature=[spec], autograph=False)
    values = images(64, 96, "float32")
    assert error(traced(values).logits, model(values).logits) <= 1e-5
