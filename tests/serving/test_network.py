import numpy as np
import pytest
import tensorflow as tf

from serving.network import compact, trace_network


@pytest.fixture(scope="module")
def network(keras_model):
    return trace_network(keras_model).get_concrete_function()


def test_compaction_changes_no_value(network, keras_model):
    values = np.random.default_rng(1).standard_normal((2, 64, 96, 3), np.float32)
    plain = tf.function(lambda x: keras_model(x, training=False).logits, autograph=False)
    np.testing.assert_array_equal(network(tf.constant(values))["logits"], plain(values))


def test_compaction_saves_more_than_half(network, keras_model):
    def whole(pixel_values):
        output = keras_model(pixel_values, output_hidden_states=True, training=False)
        return output.logits, output.hidden_states

    spec = tf.TensorSpec([None, None, None, 3], tf.float32)
    plain = tf.function(whole, autograph=False).get_concrete_function(spec)
    sizes = [function.function_def.ByteSize() for function in (network, plain)]
    assert sizes[0] < 0.6 * sizes[1], sizes


def test_shapes_and_the_free_batch_dimension_are_kept(network, keras_model):
    shapes = {name: output.shape.as_list() for name, output in network.structured_outputs.items()}
    assert shapes["logits"] == [None, None, None, keras_model.config.num_labels]
    assert [shapes[f"hidden_state_{i}"][-1] for i in range(4)] == keras_model.config.hidden_sizes


def test_the_models_own_refusal_of_tiny_images_is_kept(network):
    """TensorFlow would return uninitialised memory where a kernel is larger than its input."""
    with pytest.raises(tf.errors.InvalidArgumentError):
        network(tf.zeros([1, 8, 8, 3]))


def test_variables_are_shared_with_the_model_not_copied(network, keras_model):
    bias = next(weight for weight in keras_model.weights if weight.path.endswith("classifier/bias"))
    values = tf.zeros([1, 64, 64, 3])
    before = network(values)["logits"].numpy()
    old = bias.numpy()
    try:
        bias.assign(old + 1.0)
        after = network(values)["logits"].numpy()
    finally:
        bias.assign(old)
    np.testing.assert_allclose(after, before + 1.0, rtol=1e-5)


def test_compact_merges_equal_constants_only():
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, [], name="model/segformer_1/encoder_1/x")
        with tf.name_scope("model/segformer_1/encoder_1/block"):
            y = (x + tf.constant(1.0)) * tf.constant(1.0) * tf.constant(1.5) + tf.cast(
                tf.constant(1), tf.float32
            )
            with tf.control_dependencies([tf.debugging.assert_less(x, 9.0)]):
                y = tf.identity(y, name="y")
    small, renamed = compact(graph.as_graph_def())
    constants = [node for node in small.node if node.op == "Const" and not node.input]
    assert len({node.attr["value"].SerializeToString() for node in constants}) == len(constants)
    assert renamed["model/segformer_1/encoder_1/block/y"] == "block/y"
    assert len({node.name for node in small.node}) == len(small.node)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        x = tf.compat.v1.placeholder(tf.float32, [])
        inputs = {renamed["model/segformer_1/encoder_1/x"]: x}
        (y,) = tf.graph_util.import_graph_def(small, inputs, ["block/y:0"], name="")
        assert session.run(y, {x: 2.0}) == 5.5
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(y, {x: 10.0})
