"""The network as graph functions, traced once and shared by all signatures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from serving.graph import Tensors, graph_function
from tf_segformer.inference import InferenceNetwork

# So many pixels of a batch are in the network at a time, but at least one image: with more, memory would grow
# with the batch (docs/decisions/0015-memory.md).
PIXELS_AT_A_TIME = 512 * 512


class TracedNetwork(NamedTuple):
    """Graph functions of pixel values float32 [N, H, W, channels], each of which returns a dict.

    Attributes:
        logits: ``logits`` [N, h, w, K].
        features: ``hidden_state_0`` to ``hidden_state_3``, the output of each stage [N, h, w, C].
    """

    logits: Any
    features: Any


def pixel_values_spec(channels: int) -> tf.TensorSpec:
    """The network's input: float32 [N, H, W, channels]."""
    return tf.TensorSpec([None, None, None, channels], tf.float32, name="pixel_values")


def trace_network(network: InferenceNetwork, channels: int) -> TracedNetwork:
    """Make graph functions of a network.

    A batch goes through it in parts of up to `PIXELS_AT_A_TIME`, so that memory does not grow with it.

    Args:
        network: what is traced.
        channels: of the pixel values.
    """

    def segment(pixel_values: tf.Tensor) -> Tensors:
        prediction = network(pixel_values)
        states = {f"hidden_state_{i}": state for i, state in enumerate(prediction.hidden_states)}
        return {"logits": prediction.logits, **states}

    spec = pixel_values_spec(channels)
    # One copy of the network in the file. What a caller leaves out of its answer is not computed there.
    at_once = graph_function(segment, spec)
    shapes = at_once.get_concrete_function().output_shapes

    def of(*names: str) -> Any:
        def run(pixel_values: tf.Tensor) -> Tensors:
            return in_parts(at_once, pixel_values, {name: shapes[name] for name in names})

        return graph_function(run, spec)

    return TracedNetwork(of("logits"), of(*(name for name in shapes if name != "logits")))


def in_parts(
    call: Callable[[tf.Tensor], Tensors], images: tf.Tensor, shapes: dict[str, tf.TensorShape]
) -> Tensors:
    """Return what a function makes of a batch, calling it with one part of the images after the other.

    Args:
        call: float32 [n, H, W, C], n at least 1, to tensors float32 [n, ...] by name.
        images: [N, H, W, C], N may be 0.
        shapes: the static shapes of what is wanted of the function's answer.
    """
    shape = tf.shape(images)
    # oneDNN's convolution gives an empty batch the shape of its input, without an error: one image of
    # zeros goes through instead, and is left out of the answer.
    some = tf.cond(
        tf.equal(shape[0], 0), lambda: tf.zeros(tf.concat([[1], shape[1:]], axis=0)), lambda: images
    )
    some = tf.ensure_shape(some, images.shape)
    count = tf.maximum(shape[0], 1)
    step = tf.clip_by_value(PIXELS_AT_A_TIME // tf.maximum(shape[1] * shape[2], 1), 1, count)
    parts = -(-count // step)

    def run(i: tf.Tensor, *done: tf.TensorArray) -> tuple[tf.Tensor | tf.TensorArray, ...]:
        outputs = call(some[i * step : (i + 1) * step])
        return i + 1, *(array.write(i, outputs[name]) for name, array in zip(shapes, done, strict=True))

    nothing = [
        tf.TensorArray(tf.float32, parts, infer_shape=False, element_shape=shape) for shape in shapes.values()
    ]
    _, *done = tf.while_loop(lambda i, *_: i < parts, run, (0, *nothing), parallel_iterations=1)
    # The only part is not copied.
    joined = tf.cond(
        tf.equal(parts, 1),
        lambda: [array.read(0) for array in done],
        lambda: [array.concat() for array in done],
    )
    return {
        name: tf.ensure_shape(tensor[: shape[0]], shapes[name])
        for name, tensor in zip(shapes, joined, strict=True)
    }
