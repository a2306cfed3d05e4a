"""The network as one graph function, traced once, in as few bytes as it needs.

Keras names each operation by the path of its layer and makes a constant for every axis and shape it
mentions, so that B4's 62 million weights come with a graph of 5 MB, three quarters of it repeated text.
Names are shortened to the part that tells blocks apart and equal constants are shared; what is
computed stays the same, operation by operation.
"""

from __future__ import annotations

import re
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from serving.graph import Tensors, graph_function


def pixel_values_spec(model: Any) -> tf.TensorSpec:
    """The network's input: float32 [N, H, W, C]."""
    return tf.TensorSpec([None, None, None, model.config.num_channels], tf.float32, name="pixel_values")


def trace_network(model: Any) -> Any:
    """Return a graph function from pixel values to logits and hidden states.

    Args:
        model: a ``TFSegformerForSemanticSegmentation`` made with ``data_format="channels_last"``.

    Returns:
        A ``tf.function`` of float32 [N, H, W, C], traced once, that returns a dict: ``logits``
        [N, h, w, K] and ``hidden_state_0`` to ``hidden_state_3``, the output of each stage.
    """

    def network(pixel_values: tf.Tensor) -> Tensors:
        output = model(pixel_values, output_hidden_states=True, training=False)
        states = {f"hidden_state_{i}": state for i, state in enumerate(output.hidden_states)}
        return {"logits": output.logits, **states}

    spec = pixel_values_spec(model)
    traced = graph_function(network, spec).get_concrete_function()
    graph_def, renamed = compact(traced.graph.as_graph_def())
    captures = [(renamed[inner.op.name], outer) for outer, inner in traced.graph.captures]
    outputs = {
        name: f"{renamed[tensor.op.name]}:{tensor.value_index}"
        for name, tensor in traced.structured_outputs.items()
    }

    def compacted(pixel_values: tf.Tensor) -> Tensors:
        shape = tf.shape(pixel_values)
        # oneDNN's convolution gives an empty batch the shape of its input, without an error: one image of
        # zeros goes through instead, and is left out of the answer.
        some = tf.cond(
            tf.equal(shape[0], 0),
            lambda: tf.zeros(tf.concat([[1], shape[1:]], axis=0)),
            lambda: pixel_values,
        )
        graph = tf.compat.v1.get_default_graph()
        inputs = {name: graph.capture(outer) for name, outer in captures}
        inputs[renamed[traced.inputs[0].op.name]] = some
        tensors = tf.graph_util.import_graph_def(
            graph_def, input_map=inputs, return_elements=list(outputs.values()), name=""
        )
        for tensor, name in zip(tensors, outputs, strict=True):
            tensor.set_shape(traced.structured_outputs[name].shape)
        return {name: tensor[: shape[0]] for name, tensor in zip(outputs, tensors, strict=True)}

    return graph_function(compacted, spec)


def compact(graph_def: GraphDef) -> tuple[GraphDef, dict[str, str]]:
    """Shorten the names of a graph's nodes, merge equal constants, leave the inputs open.

    Returns:
        The smaller graph, and the new name of every old one.
    """
    renamed: dict[str, str] = {}
    constants: dict[bytes, str] = {}
    taken: set[str] = set()
    small = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.op == "Const" and not node.input:
            content = node.attr["value"].SerializeToString(deterministic=True)
            if content in constants:
                renamed[node.name] = constants[content]
                continue
        name = renamed[node.name] = _unused(_short(node.name), taken)
        taken.add(name)
        if node.op == "Const" and not node.input:
            constants[content] = name
        if node.op != "Placeholder":  # an input: whoever imports the graph puts a tensor in its place
            small.node.add().CopyFrom(node)
            small.node[-1].name = name
    for node in small.node:
        inputs = [_rename_input(text, renamed) for text in node.input]
        del node.input[:]
        node.input.extend(dict.fromkeys(inputs) if all(t[0] == "^" for t in inputs) else inputs)
    return small, renamed


def _short(name: str) -> str:
    """The part of an operation's name below the encoder, or below the model."""
    return re.sub(r"^[^/]+/(segformer\w*/)?(encoder\w*/)?", "", name)


def _unused(name: str, taken: set[str]) -> str:
    number, candidate = 0, name
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate


def _rename_input(text: str, renamed: dict[str, str]) -> str:
    """Rename the node in an input, ``name``, ``name:output`` or ``^name``."""
    name, colon, output = text.removeprefix("^").partition(":")
    return f"{text[: text.startswith('^')]}{renamed[name]}{colon}{output}"
