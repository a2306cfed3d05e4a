"""SegFormer with its dense layers and sequence reductions in 8 bits, as far as TensorFlow goes by itself.

TensorFlow's own oneDNN kernels multiply matrices of int8 (`_QuantizedMatMul`) and convolve them
(`_FusedQuantizedConv2D`), on AMX where there is AMX, and give the product back in float32 or bfloat16. Around
them the network is the bfloat16 export's: there is no product of 8 bits for attention's two products, whose
matrices come in batches, and the two layers that the export keeps in float32 stay so.

Quantised as the kernels are fastest: symmetric, a scale for each output channel of the weights, one for a
whole activation, and that a constant, found beforehand on images ("static"). It is the best case: finding the
range at every call would be another pass over the activation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf

from tf_segformer.inference import InferenceNetwork
from tf_segformer.inference_layers import Linear, tokens

LEVELS = 127  # the largest integer; -128 stays unused, so that the scale is the same on both sides
DENSE = {"attention": ("query", "key", "value"), "mlp": ("dense1", "dense2")}
Names = tuple[int, int, str, str]  # stage, block, part, layer


def quantize(x: tf.Tensor, limit: float) -> tf.Tensor:
    """Round float32 to int8 levels of `limit` / LEVELS; what is beyond the limit is cut off."""
    return tf.raw_ops.QuantizeV2(
        **{"input": x, "min_range": -limit, "max_range": limit, "ensure_minimum_range": 0.0},
        **{"T": tf.qint8, "mode": "SCALED", "round_mode": "HALF_TO_EVEN"},  # these alone run in oneDNN
    ).output


class EightBit:
    """A layer's weights in 8 bits; called as `tf_segformer.inference_layers.Linear` is.

    Args:
        kernel: floating, output channels last.
        bias: one value for each output channel.
        limit: the largest absolute value of the inputs.
        output: dtype of a dense layer's output, float32 or bfloat16.
    """

    dtype = tf.float32  # what it takes

    def __init__(self, kernel: Any, bias: Any, limit: float, output: tf.DType = tf.bfloat16) -> None:
        kernel = np.asarray(kernel, np.float64)
        limits = np.abs(kernel).reshape(-1, kernel.shape[-1]).max(axis=0)
        levels = np.rint(kernel / np.maximum(limits, np.finfo(np.float32).tiny) * LEVELS)
        self.kernel = levels.astype(tf.qint8.as_numpy_dtype)
        self.bias = np.asarray(bias, np.float32)
        self.limit, self.limits = np.float32(limit), limits.astype(np.float32)
        self.output = output

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(N, C_in) float32 → (N, C), one quantising pass and one kernel."""
        attributes = {
            **{"T1": tf.qint8, "T2": tf.qint8, "Tbias": tf.float32, "U": tf.float32, "Tout": self.output},
            "fused_ops": ["BiasAdd", "Dequantize"],
        }
        (product,) = self._operation("_QuantizedMatMul", quantize(x, self.limit), [self.output], attributes)
        product.set_shape((None, self.kernel.shape[-1]))
        return product

    def convolve(self, x: tf.Tensor, stride: int) -> tf.Tensor:
        """(B, H, W, C_in) float32 → (B, H', W', C) float32, without padding."""
        # Quantised as tokens, so that it is the very pass that the query's dense layer makes.
        levels = tf.reshape(quantize(tokens(x), self.limit), tf.shape(x))
        levels.set_shape((None, None, None, x.shape[-1]))
        attributes = {
            **{"Tinput": tf.qint8, "Tfilter": tf.qint8, "Tbias": tf.float32, "Tsummand": tf.qint32},
            **{"out_type": tf.qint32, "strides": [1, stride, stride, 1], "padding": "VALID"},
            "fused_ops": ["BiasAdd"],
        }
        outputs = [tf.qint32, tf.float32, tf.float32]
        sums, _, _ = self._operation("_FusedQuantizedConv2D", levels, outputs, attributes)
        sums.set_shape((None, None, None, self.kernel.shape[-1]))
        # The convolution has no output in float32; this one is small, for the stride is large.
        return tf.cast(tf.bitcast(sums, tf.int32), tf.float32) * (self.limit * self.limits / LEVELS**2)

    def _operation(
        self, kind: str, x: tf.Tensor, outputs: list[tf.DType], attributes: dict[str, Any]
    ) -> list[tf.Tensor]:
        """Make an operation that has no Python function. In a graph only."""
        inputs = [
            *(x, tf.constant(self.kernel, tf.qint8), tf.constant(self.bias)),
            *(tf.constant(limit) for limit in (-self.limit, self.limit, -self.limits, self.limits)),
        ]
        attributes = {
            **{"Tdevice_inputs": [tensor.dtype for tensor in inputs], "Thost_inputs": []},
            **{"Tdevice_outputs": outputs, "Thost_outputs": []},
            **attributes,
        }
        graph, name = tf.compat.v1.get_default_graph(), kind.strip("_")
        protos = {key: attribute(value) for key, value in attributes.items()}
        return list(graph.create_op(kind, inputs, outputs, attrs=protos, name=name).outputs)


def attribute(value: Any) -> tf.compat.v1.AttrValue:
    """Return an operation's attribute: a dtype, a string, or a list of dtypes, integers or strings."""
    proto = tf.compat.v1.AttrValue()
    if isinstance(value, tf.DType):
        proto.type = value.as_datatype_enum
    elif isinstance(value, str):
        proto.s = value.encode()
    else:
        proto.list.SetInParent()
        for entry in value:
            if isinstance(entry, tf.DType):
                proto.list.type.append(entry.as_datatype_enum)
            elif isinstance(entry, str):
                proto.list.s.append(entry.encode())
            else:
                proto.list.i.append(entry)
    return proto


def dense_layers(network: InferenceNetwork) -> Iterator[tuple[Names, Linear]]:
    """Give the dense layers that can be in 8 bits: those whose input is in float32."""
    for stage, blocks in enumerate(part.blocks for part in network.stages):
        for number, block in enumerate(blocks):
            for part, layers in DENSE.items():
                for layer in layers:
                    yield (stage, number, part, layer), getattr(getattr(block, part), layer)


def input_limits(network: InferenceNetwork, images: np.ndarray) -> dict[Names, float]:
    """Return the largest absolute value that comes into each dense layer.

    Args:
        network: in float32.
        images: pixel values, (B, H, W, 3).
    """
    names = {id(layer): name for name, layer in dense_layers(network)}
    found: dict[Names, float] = {}
    unchanged = Linear.__call__

    def note(layer: Linear, x: tf.Tensor) -> tf.Tensor:
        if id(layer) in names:
            found[names[id(layer)]] = float(tf.reduce_max(tf.abs(x)))
        return unchanged(layer, x)

    with patch.object(Linear, "__call__", note):
        network(tf.constant(images))
    return found


def eight_bit_network(model: Any, images: np.ndarray) -> InferenceNetwork:
    """Return a model's network in 8 bits. It can be called in a graph.

    Args:
        model: a `TFSegformerForSemanticSegmentation` in float32.
        images: pixel values, (B, H, W, 3), on which the ranges are found.
    """
    exact, network = InferenceNetwork(model), InferenceNetwork(model, "bfloat16")
    limits = input_limits(exact, images)
    for name, layer in dense_layers(exact):
        stage, number, part, own = name
        # What is added to the residual connection is in float32 as it is.
        output = tf.float32 if own == "dense2" else tf.bfloat16
        block = getattr(network.stages[stage].blocks[number], part)
        setattr(block, own, EightBit(layer.kernel(), layer.bias(), limits[name], output))
        if own == "query" and block.reduction > 1:  # it takes what the query takes
            sr = exact.stages[stage].blocks[number].attention.sr
            block.sr = EightBit(sr.kernel(), sr.bias(), limits[name])
    return network
