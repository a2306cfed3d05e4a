"""The network as one graph function, traced once and shared by all signatures."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from serving.graph import Tensors, graph_function
from tf_segformer.inference import InferenceNetwork


def pixel_values_spec(channels: int) -> tf.TensorSpec:
    """The network's input: float32 [N, H, W, channels]."""
    return tf.TensorSpec([None, None, None, channels], tf.float32, name="pixel_values")


def trace_network(network: InferenceNetwork, channels: int) -> Any:
    """Return a graph function from pixel values to logits and hidden states.

    Args:
        network: what is traced.
        channels: of the pixel values.

    Returns:
        A ``tf.function`` of float32 [N, H, W, channels] that returns a dict: ``logits`` [N, h, w, K] and
        ``hidden_state_0`` to ``hidden_state_3``, the output of each stage.
    """

    def segment(pixel_values: tf.Tensor) -> Tensors:
        shape = tf.shape(pixel_values)
        # oneDNN's convolution gives an empty batch the shape of its input, without an error: one image of
        # zeros goes through instead, and is left out of the answer.
        some = tf.cond(
            tf.equal(shape[0], 0),
            lambda: tf.zeros(tf.concat([[1], shape[1:]], axis=0)),
            lambda: pixel_values,
        )
        some = tf.ensure_shape(some, [None, None, None, channels])
        prediction = network(some)
        outputs = {"logits": prediction.logits}
        outputs |= {f"hidden_state_{i}": state for i, state in enumerate(prediction.hidden_states)}
        return {name: tensor[: shape[0]] for name, tensor in outputs.items()}

    return graph_function(segment, pixel_values_spec(channels))
