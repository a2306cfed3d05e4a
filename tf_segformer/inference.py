"""SegFormer's forward pass as a server runs it: the same function as the Keras model's, in fewer steps.

What only training needs is gone, weights that multiply each other are multiplied once (in float64), and
each step has the form that TensorFlow's graph optimiser joins into one oneDNN kernel on a CPU:

- dense layer: a product of matrices (rank 2) and `bias_add` → `_FusedMatMul`;
- LayerNorm: batch norm over "channels" that are the tokens, times gamma plus beta → `_MklLayerNorm`;
- patch embedding and sequence reduction: pad, `conv2d`, `bias_add` → `_FusedConv2D`;
- Mix-FFN: depthwise convolution and `bias_add` → `_FusedDepthwiseConv2dNative`.

Axes: B batch, H W height and width of a feature map, C channels, N = B·H·W tokens, h heads, d = C/h.
A feature map is passed on as tokens (N, C) with its sizes (B, H, W).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.folding import fold_projections
from tf_segformer.layers import LAYER_NORM_EPSILON, require_at_least
from tf_segformer.numerics import ACTIVATIONS, resize_bilinear

Size = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # B, H, W


def scoped(call: Callable[..., Any]) -> Callable[..., Any]:
    """Name the operations of a part's call after the part, below those that call it."""

    @functools.wraps(call)
    def within(part: tf.Module, *args: Any) -> Any:
        with tf.name_scope(part.name):
            return call(part, *args)

    return within


class Prediction(NamedTuple):
    """What `InferenceNetwork` computes, channels last.

    Attributes:
        logits: (B, ⌈H/4⌉, ⌈W/4⌉, num_labels).
        hidden_states: the feature map of every stage, (B, H_i, W_i, C_i).
    """

    logits: tf.Tensor
    hidden_states: tuple[tf.Tensor, ...]


class InferenceNetwork(tf.Module):
    """A segmentation model's forward pass without training.

    Args:
        model: a `TFSegformerForSemanticSegmentation` in float32 or float64. Its weights are copied: what
            becomes of the model later changes nothing here.

    Raises:
        ValueError: the model computes in another dtype.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(name="inference")
        if model.dtype_policy.name not in ("float32", "float64"):
            raise ValueError(
                f"The model's dtype policy is {model.dtype_policy.name}; expected float32 or float64. "
                "Load it with dtype='float32'."
            )
        dtype = model.compute_dtype
        self.dtype = tf.as_dtype(dtype)
        encoder, head = model.segformer.encoder, model.decode_head
        self.stages = [
            Stage(model.config, stage, *parts, dtype)
            for stage, parts in enumerate(
                zip(encoder.patch_embeddings, encoder.blocks, encoder.layer_norms, strict=True)
            )
        ]
        self.head = Head(head, dtype)

    @scoped
    def __call__(self, pixel_values: tf.Tensor) -> Prediction:
        """Segment images.

        Args:
            pixel_values: (B, H, W, channels), floating; cast to the network's dtype.
        """
        x = tf.cast(pixel_values, self.dtype)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return Prediction(self.head(features), tuple(features))


class Stage(tf.Module):
    """Patch embedding, transformer blocks and LayerNorm of one stage."""

    def __init__(
        self, config: Any, number: int, embedding: Any, blocks: list[Any], layer_norm: Any, dtype: str
    ) -> None:
        super().__init__(name=f"stage_{number}")
        self.number = number
        self.reduction = config.sr_ratios[number]
        self.stride = config.strides[number]
        self.padding = config.patch_sizes[number] // 2
        self.embedding = Linear(embedding.proj, dtype)
        self.embedding_norm = Norm(embedding.layer_norm, dtype)
        self.blocks = [Block(block, config.hidden_act, dtype) for block in blocks]
        self.norm = Norm(layer_norm, dtype)

    @scoped
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C_in) → (B, ⌈H/stride⌉, ⌈W/stride⌉, C)."""
        border = [self.padding, self.padding]
        x = self.embedding.convolve(tf.pad(x, [[0, 0], border, border, [0, 0]]), self.stride)
        x = require_at_least(x, self.reduction, self.number)
        size = tuple(tf.unstack(tf.shape(x)[:3]))
        x = self.embedding_norm(tokens(x))
        for block in self.blocks:
            x = block(x, size)
        return feature_map(self.norm(x), size)


class Block(tf.Module):
    """x + attention(LN(x)), then x + Mix-FFN(LN(x))."""

    def __init__(self, block: Any, activation: str, dtype: str) -> None:
        super().__init__(name=block.name.replace(".", "_"))
        self.norm_1 = Norm(block.layer_norm_1, dtype)
        self.attention = Attention(block.attention, dtype)
        self.norm_2 = Norm(block.layer_norm_2, dtype)
        self.mlp = MixFFN(block.mlp, activation, dtype)

    @scoped
    def __call__(self, x: tf.Tensor, size: Size) -> tf.Tensor:
        """(N, C) → (N, C)."""
        x = self.attention(self.norm_1(x), size) + x
        return self.mlp(self.norm_2(x), size) + x


class Attention(tf.Module):
    """Efficient self-attention (section 3.1, eq. 1-2) with the scale of the scores in the query's weights."""

    def __init__(self, attention: Any, dtype: str) -> None:
        super().__init__(name="attention")
        layer = attention.self_attention
        self.heads, self.head_size = layer.heads, layer.head_size
        self.reduction = layer.reduction
        if self.reduction > 1:
            self.sr = Linear(layer.sr, dtype, name="sr")
            self.sr_norm = Norm(layer.layer_norm, dtype)
        self.query = Linear(layer.query, dtype, scale=layer.head_size**-0.5, name="query")
        self.key = Linear(layer.key, dtype, name="key")
        self.value = Linear(layer.value, dtype, name="value")
        self.output = Linear(attention.output_projection.projection, dtype, name="output")

    @scoped
    def __call__(self, x: tf.Tensor, size: Size) -> tf.Tensor:
        """(N, C) → (N, C)."""
        reduced = x
        if self.reduction > 1:
            reduced = self.sr.convolve(feature_map(x, size), self.reduction)
            reduced = self.sr_norm(tokens(reduced))
        batch = size[0]
        query, key, value = (
            self.split_heads(t, batch) for t in (self.query(x), self.key(reduced), self.value(reduced))
        )
        probabilities = tf.nn.softmax(tf.matmul(query, key, transpose_b=True))  # (B, h, Nq, Nkv)
        return self.output(self.merge_heads(tf.matmul(probabilities, value)))

    def split_heads(self, x: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """(N, C) → (B, h, N/B, d)."""
        if self.heads == 1:  # nothing to transpose
            return tf.reshape(x, (batch, 1, -1, self.head_size))
        return tf.transpose(tf.reshape(x, (batch, -1, self.heads, self.head_size)), (0, 2, 1, 3))

    def merge_heads(self, x: tf.Tensor) -> tf.Tensor:
        """(B, h, N/B, d) → (N, C)."""
        if self.heads > 1:
            x = tf.transpose(x, (0, 2, 1, 3))
        return tf.reshape(x, (-1, self.heads * self.head_size))


class MixFFN(tf.Module):
    """Dense → depthwise 3×3 convolution → activation → dense (section 3.1, eq. 3).

    GELU(y) is √½ z (1 + erf z) with z = √½ y. Both factors are in the weights before and after it.
    """

    def __init__(self, mlp: Any, activation: str, dtype: str) -> None:
        super().__init__(name="mlp")
        is_gelu = activation in ("gelu", "gelu_python")
        scale = np.sqrt(0.5) if is_gelu else 1.0
        self.activate: Callable[[tf.Tensor], tf.Tensor] = _scaled_gelu if is_gelu else ACTIVATIONS[activation]
        self.dense1 = Linear(mlp.dense1, dtype, name="dense1")
        self.dwconv = Linear(mlp.dwconv.dwconv, dtype, scale=scale, name="dwconv")
        self.dense2 = Linear(mlp.dense2, dtype, kernel_scale=scale, name="dense2")

    @scoped
    def __call__(self, x: tf.Tensor, size: Size) -> tf.Tensor:
        """(N, C) → (N, C)."""
        x = self.dwconv.convolve_depthwise(feature_map(self.dense1(x), size))
        return self.dense2(tokens(self.activate(x)))


class Head(tf.Module):
    """The decode head, folded; see `folding`."""

    def __init__(self, head: Any, dtype: str) -> None:
        super().__init__(name="head")
        folded = fold_projections(head)
        self.kernels = [tf.Variable(kernel, trainable=False, dtype=dtype) for kernel in folded.kernels]
        self.bias = tf.Variable(folded.bias, trainable=False, dtype=dtype)
        self.classifier = Linear(head.classifier, dtype, name="classifier")

    @scoped
    def __call__(self, features: list[tf.Tensor]) -> tf.Tensor:
        """Feature maps (B, H_i, W_i, C_i) → logits (B, H_1, W_1, num_labels)."""
        sizes = [tuple(tf.unstack(tf.shape(feature)[:3])) for feature in features]
        first, *others = (
            tf.matmul(tokens(feature), kernel) for feature, kernel in zip(features, self.kernels, strict=True)
        )
        _, height, width = sizes[0]
        x = feature_map(tf.nn.bias_add(first, self.bias), sizes[0])
        for projected, size in zip(others, sizes[1:], strict=True):
            x += resize_bilinear(feature_map(projected, size), height, width)
        return self.classifier.convolve(tf.nn.relu(x), 1)


class Linear(tf.Module):
    """Kernel and bias of a Keras dense, convolution or depthwise convolution layer."""

    def __init__(
        self, layer: Any, dtype: str, scale: float = 1.0, kernel_scale: float = 1.0, name: str | None = None
    ) -> None:
        super().__init__(name=name)
        kernel, bias = (np.asarray(weight, np.float64) * scale for weight in (layer.kernel, layer.bias))
        self.kernel = tf.Variable(kernel * kernel_scale, trainable=False, dtype=dtype, name="kernel")
        self.bias = tf.Variable(bias, trainable=False, dtype=dtype, name="bias")

    @scoped
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(N, C_in) → (N, C)."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel), self.bias)

    @scoped
    def convolve(self, x: tf.Tensor, stride: int) -> tf.Tensor:
        """(B, H, W, C_in) → (B, H', W', C), without padding."""
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel, stride, "VALID"), self.bias)

    @scoped
    def convolve_depthwise(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C) → (B, H, W, C), padded with zeros."""
        return tf.nn.bias_add(tf.nn.depthwise_conv2d(x, self.kernel, (1, 1, 1, 1), "SAME"), self.bias)


class Norm(tf.Module):
    """Gamma and beta of a LayerNorm."""

    def __init__(self, layer: Any, dtype: str) -> None:
        super().__init__(name="norm")
        self.gamma = tf.Variable(np.asarray(layer.gamma), trainable=False, dtype=dtype, name="gamma")
        self.beta = tf.Variable(np.asarray(layer.beta), trainable=False, dtype=dtype, name="beta")

    @scoped
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(N, C) → (N, C)."""
        return _normalize(x) * self.gamma + self.beta


def _normalize(x: tf.Tensor) -> tf.Tensor:
    """Zero mean and unit variance for each row of `x` (N, C)."""
    if x.dtype == tf.float64:  # the fused operation has no float64
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    count, channels = tf.shape(x)[0], x.shape[1]
    normalized, _, _ = tf.compat.v1.nn.fused_batch_norm(
        tf.reshape(x, (1, count, channels, 1)),
        scale=tf.ones([count]),
        offset=tf.zeros([count]),
        epsilon=LAYER_NORM_EPSILON,
        data_format="NCHW",
    )
    return tf.reshape(normalized, (count, channels))


def _scaled_gelu(z: tf.Tensor) -> tf.Tensor:
    return z * (1.0 + tf.math.erf(z))


def tokens(x: tf.Tensor) -> tf.Tensor:
    """(B, H, W, C) → (N, C)."""
    return tf.reshape(x, (-1, x.shape[-1]))


def feature_map(x: tf.Tensor, size: Size) -> tf.Tensor:
    """(N, C) → (B, H, W, C)."""
    return tf.reshape(x, (*size, x.shape[-1]))
