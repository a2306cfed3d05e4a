import re
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.util import _pywrap_util_port  # the one place that tells whether oneDNN runs

import serving.network
import serving.signatures
from serving.network import in_parts, trace_network
from serving.options import ExportOptions
from serving.signatures import fold, trace_signatures
from tests.serving.saved_graphs import constant_bytes, logits_of, numbers_in
from tf_segformer.labels import label_set_for
from tf_segformer.preprocessing import ImageProcessing


@pytest.fixture(scope="module")
def traced(keras_model):
    return trace_network(keras_model.fold_for_inference(), 3)


@pytest.fixture(scope="module")
def network(traced):
    return traced.logits.get_concrete_function()


@pytest.fixture(scope="module")
def of_variables(keras_model, tmp_path_factory):
    """A SavedModel of the signature `logits` as a larger model's is: its weights are variables."""
    folder = tmp_path_factory.mktemp("of-variables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving.signatures, "CONSTANT_BYTES", 0)
        labels = label_set_for(keras_model.config)
        module, signatures = trace_signatures(keras_model, ImageProcessing(), labels, names=["logits"])
    tf.saved_model.save(module, str(folder), signatures)
    return folder


def test_shapes_and_the_free_batch_dimension_are_kept(traced, network, keras_model):
    (logits,) = network.structured_outputs.values()
    assert logits.shape.as_list() == [None, None, None, keras_model.config.num_labels]
    states = traced.features.get_concrete_function().structured_outputs
    assert [states[f"hidden_state_{i}"].shape[-1] for i in range(4)] == keras_model.config.hidden_sizes


def test_an_empty_batch_gives_an_empty_answer(traced, network, keras_model):
    logits = network(tf.zeros([0, 64, 96, 3]))["logits"]
    assert logits.shape == (0, 16, 24, keras_model.config.num_labels)
    states = traced.features(tf.zeros([0, 64, 96, 3]))
    assert states["hidden_state_3"].shape == (0, 2, 3, keras_model.config.hidden_sizes[3])


@pytest.mark.parametrize(
    ("images", "pixels", "parts"),
    [(5, 64 * 96, [1] * 5), (5, 2 * 64 * 96, [2, 2, 1]), (4, 10**6, [4]), (2, 1, [1, 1]), (0, 10**6, [1])],
)
def test_a_batch_goes_through_in_parts_of_so_many_pixels(monkeypatch, images, pixels, parts):
    monkeypatch.setattr(serving.network, "PIXELS_AT_A_TIME", pixels)
    taken = []

    def network(some):
        tf.numpy_function(lambda count: taken.append(int(count)), [tf.shape(some)[0]], [])
        return {"first": some[:, 0, 0], "all": tf.reduce_sum(some, axis=(1, 2)), "unused": some}

    shapes = {"first": tf.TensorShape([None, 3]), "all": tf.TensorShape([None, 3])}
    spec = tf.TensorSpec([None, None, None, 3])
    run = tf.function(lambda x: in_parts(network, x, shapes), input_signature=[spec], autograph=False)
    values = np.random.default_rng(0).integers(0, 9, [images, 64, 96, 3]).astype(np.float32)
    found = run(values)
    assert taken == parts
    np.testing.assert_array_equal(found["first"], values[:, 0, 0])
    np.testing.assert_array_equal(found["all"], values.sum((1, 2)))
    assert set(found) == set(shapes)


def test_the_models_own_refusal_of_tiny_images_is_kept(network):
    """TensorFlow would return uninitialised memory where a kernel is larger than its input."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        network(tf.zeros([1, 8, 8, 3]))


def test_a_small_models_weights_are_constants_in_the_file_once(version_dir, of_variables, keras_model):
    """All signatures share them."""
    assert variables_of(version_dir) == {}
    weights = numbers_in(keras_model.fold_for_inference())
    assert 1 <= constant_bytes(version_dir) / (4 * weights) < 1.1


def test_a_larger_models_convolutions_are_constants(of_variables, keras_model):
    """Without AVX-512, oneDNN convolves with a variable kernel up to ten times as slowly."""
    network = keras_model.fold_for_inference()
    convolved = [*(stage.embedding for stage in network.stages), network.head.first]
    weights = sum(int(np.prod(each.shape)) for layer in convolved for each in (layer.kernel, layer.bias))
    assert numbers_in(network, constant=True) == weights
    assert 1 <= constant_bytes(of_variables) / (4 * weights) < 1.3


def test_variables_and_constants_answer_the_same(version_dir, of_variables):
    """But for the order of sums, which differs with how oneDNN lays out weights."""
    values = np.random.default_rng(0).standard_normal([1, 64, 96, 3]).astype(np.float32)
    of_constants, other = (logits_of(folder, values)[0] for folder in (version_dir, of_variables))
    np.testing.assert_allclose(other, of_constants, rtol=0, atol=3e-6 * np.abs(of_constants).max())


def test_float16_on_disk_needs_variables(keras_model):
    assert fold(keras_model, ExportOptions(weights="float16")).variables
    assert not fold(keras_model, ExportOptions()).variables


def test_a_larger_models_weights_are_in_the_file_once(of_variables, keras_model):
    """The fold leaves fewer weights than the checkpoint has, never two forms of one."""
    saved = sum(int(np.prod(shape)) for shape in variables_of(of_variables).values())
    assert saved == numbers_in(keras_model.fold_for_inference(), constant=False)
    assert numbers_in(keras_model.fold_for_inference()) < keras_model.count_params()


def test_a_loader_makes_variables_and_signatures_and_nothing_else(of_variables, network):
    """Each object, and each variable's place in every function, costs time at load."""
    saved = saved_model_pb2.SavedModel.FromString((of_variables / "saved_model.pb").read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    kinds = Counter(node.WhichOneof("kind") for node in nodes)
    assert kinds["variable"] == len({id(each) for each in network.captured_inputs})
    assert kinds["user_object"] == 3  # the module, its list of variables, and the map of signatures
    assert kinds["bare_concrete_function"] == len(saved.meta_graphs[0].signature_def) - 1  # and an init op


@pytest.mark.skipif(not _pywrap_util_port.IsMklEnabled(), reason="this TensorFlow runs without oneDNN")
@pytest.mark.parametrize("weights", ["constants", "variables"])
def test_every_step_is_fused_when_served(weights, version_dir, of_variables, keras_model):
    """Where the graph optimiser no longer finds a pattern, a server is slower and nothing else tells."""
    folder = version_dir if weights == "constants" else of_variables
    _, nodes = logits_of(folder, np.zeros([1, 64, 96, 3], np.float32))
    ran = Counter(re.sub("^_(Mkl(Native)?)?", "", node.op) for node in nodes)
    depths, ratios = keras_model.config.depths, keras_model.config.sr_ratios
    reduced = sum(depth for depth, ratio in zip(depths, ratios, strict=True) if ratio > 1)
    assert ran["FusedMatMul"] == 7 * sum(depths) + reduced + 1
    assert sum(b"GeluExact" in node.attr["fused_ops"].list.s for node in nodes) == sum(depths)
    assert ran["LayerNorm"] == 2 * sum(depths) + 2 * len(depths) + reduced
    assert ran["FusedDepthwiseConv2dNative"] == sum(depths)
    assert (ran["ReadVariableOp"] == 0) == (weights == "constants")


def variables_of(folder):
    """The shapes of the variables in a SavedModel's checkpoint."""
    shapes = tf.train.load_checkpoint(str(folder / "variables" / "variables")).get_variable_to_shape_map()
    return {name: shape for name, shape in shapes.items() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"}
