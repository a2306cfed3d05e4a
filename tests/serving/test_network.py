import re
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.util import _pywrap_util_port  # the one place that tells whether oneDNN runs

from serving.network import trace_network


@pytest.fixture(scope="module")
def network(keras_model):
    return trace_network(keras_model.fold_for_inference(), 3).get_concrete_function()


def test_shapes_and_the_free_batch_dimension_are_kept(network, keras_model):
    shapes = {name: output.shape.as_list() for name, output in network.structured_outputs.items()}
    assert shapes["logits"] == [None, None, None, keras_model.config.num_labels]
    assert [shapes[f"hidden_state_{i}"][-1] for i in range(4)] == keras_model.config.hidden_sizes


def test_an_empty_batch_gives_an_empty_answer(network, keras_model):
    logits = network(tf.zeros([0, 64, 96, 3]))["logits"]
    assert logits.shape == (0, 16, 24, keras_model.config.num_labels)


def test_the_models_own_refusal_of_tiny_images_is_kept(network):
    """TensorFlow would return uninitialised memory where a kernel is larger than its input."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        network(tf.zeros([1, 8, 8, 3]))


def test_weights_are_in_the_file_once(version_dir, keras_model):
    """The fold leaves fewer weights than the checkpoint has, never two forms of one."""
    reader = tf.train.load_checkpoint(str(version_dir / "variables" / "variables"))
    shapes = reader.get_variable_to_shape_map()
    saved = sum(
        int(np.prod(shape)) for name, shape in shapes.items() if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    assert 0 < saved < sum(int(np.prod(weight.shape)) for weight in keras_model.weights)


def test_a_loader_makes_variables_and_signatures_and_nothing_else(version_dir, network):
    """Each object, and each variable's place in every function, costs time at load."""
    saved = saved_model_pb2.SavedModel.FromString((version_dir / "saved_model.pb").read_bytes())
    nodes = saved.meta_graphs[0].object_graph_def.nodes
    kinds = Counter(node.WhichOneof("kind") for node in nodes)
    assert kinds["variable"] == len(network.captured_inputs)
    assert kinds["user_object"] == 3  # the module, its list of variables, and the map of signatures
    assert kinds["bare_concrete_function"] == len(saved.meta_graphs[0].signature_def) - 1  # and an init op


@pytest.mark.skipif(not _pywrap_util_port.IsMklEnabled(), reason="this TensorFlow runs without oneDNN")
def test_every_step_is_fused_when_served(version_dir, keras_model):
    """Where the graph optimiser no longer finds a pattern, a server is slower and nothing else tells."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version_dir))
        signature = loaded.signature_def["logits"]
        values = {signature.inputs["pixel_values"].name: np.zeros([1, 64, 96, 3], np.float32)}
        options, metadata = tf.compat.v1.RunOptions(output_partition_graphs=True), tf.compat.v1.RunMetadata()
        session.run(signature.outputs["logits"].name, values, options, metadata)
    nodes = [node for graph in metadata.partition_graphs for node in graph.node]
    ran = Counter(re.sub("^_(Mkl(Native)?)?", "", node.op) for node in nodes)
    depths, ratios = keras_model.config.depths, keras_model.config.sr_ratios
    reduced = sum(depth for depth, ratio in zip(depths, ratios, strict=True) if ratio > 1)
    assert ran["FusedMatMul"] == 6 * sum(depths) + 1
    assert ran["LayerNorm"] == 2 * sum(depths) + 2 * len(depths) + reduced
    assert ran["FusedDepthwiseConv2dNative"] == sum(depths)
