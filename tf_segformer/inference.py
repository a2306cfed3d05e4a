"""SegFormer's forward pass as a server runs it: the same function as the Keras model's, in fewer steps.

What only training needs is gone, weights that multiply each other are multiplied once (in float64), and
each step has the form that TensorFlow's graph optimiser joins into one oneDNN kernel on a CPU:

- dense layer: a product of matrices (rank 2) and `bias_add` → `_FusedMatMul`;
- residual connection: `add_n` of such a layer and what it is added to → the same `_FusedMatMul`. With `+`
  the optimiser would have to prove that the shapes are equal, and cannot;
- LayerNorm: batch norm over "channels" that are the tokens, times gamma plus beta → `_MklLayerNorm`;
- patch embedding: pad, `conv2d`, `bias_add` → `_FusedConv2D`; sequence reduction: a dense layer of patches;
- Mix-FFN: depthwise convolution and `bias_add` → `_FusedDepthwiseConv2dNative`; GELU behind a product with
  an identity matrix → `_FusedMatMul`.

Axes: B batch, H W height and width of a feature map, C channels, N = B·H·W tokens, h heads, d = C/h.
A feature map is passed on as tokens (N, C), with its `Grid`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.attention_rows import are_few, attend
from tf_segformer.folding import fold_projections
from tf_segformer.grid import Grid, Patches
from tf_segformer.inference_layers import (
    Linear,
    Norm,
    Numbers,
    Weight,
    enlarged_sum,
    gelu,
    numbers_of,
    scoped,
)
from tf_segformer.layers import require_at_least
from tf_segformer.numerics import ACTIVATIONS
from tf_segformer.packed_weights import PackedWeights


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
        precision: None for the model's own, or ``bfloat16``: all but the patch embedding of the images is
            then computed in it (sums within a step in float32), and the weights are constants of the graph
            in it. What is answered is float32 still, rounded so.
        constants: whether all weights are constants in any precision, and not only those of convolutions. A
            graph of them is faster, but slower to load, the more so the larger they are.

    Raises:
        ValueError: the model computes in another dtype, or there is no such precision.
    """

    def __init__(self, model: Any, precision: str | None = None, constants: bool = False) -> None:
        super().__init__(name="inference")
        if model.dtype_policy.name not in ("float32", "float64"):
            raise ValueError(
                f"The model's dtype policy is {model.dtype_policy.name}; expected float32 or float64. "
                "Load it with dtype='float32'."
            )
        numbers = numbers_of(precision or model.compute_dtype)
        numbers = numbers._replace(constant=numbers.constant or constants)
        self.dtype = tf.as_dtype(numbers.images)
        encoder, head = model.segformer.encoder, model.decode_head
        self.stages = [
            Stage(model.config, stage, *parts, numbers)
            for stage, parts in enumerate(
                zip(encoder.patch_embeddings, encoder.blocks, encoder.layer_norms, strict=True)
            )
        ]
        self.head = Head(head, numbers)
        self.weights = PackedWeights(
            part for part in self.submodules if isinstance(part, Weight) and not part.is_constant
        )

    @scoped
    def __call__(self, pixel_values: tf.Tensor) -> Prediction:
        """Segment images.

        Args:
            pixel_values: (B, H, W, channels), floating; cast to the network's dtype.
        """
        x = tf.cast(pixel_values, self.dtype)
        features = []
        with self.weights.read():
            for stage in self.stages:
                x = stage(x)
                features.append(x)
            outputs = (self.head(features), *features)
        logits, *states = (tf.cast(tensor, self.dtype) for tensor in outputs)
        return Prediction(logits, tuple(states))


class Layout(NamedTuple):
    """What all blocks of a stage make of its feature map's sizes.

    Attributes:
        grid: of the tokens.
        patches: those whose tokens become keys and values.
        few: whether attention may compute all scores at once.
    """

    grid: Grid
    patches: Patches
    few: tf.Tensor

    @classmethod
    def of(cls, grid: Grid, reduction: int, heads: int) -> Layout:
        """Return that of a stage."""
        patches = Patches(grid, reduction)
        return cls(grid, patches, are_few(grid.count, heads, patches.height * patches.width))


class Stage(tf.Module):
    """Patch embedding, transformer blocks and LayerNorm of one stage."""

    def __init__(
        self, config: Any, number: int, embedding: Any, blocks: list[Any], layer_norm: Any, numbers: Numbers
    ) -> None:
        super().__init__(name=f"stage_{number}")
        self.number = number
        self.reduction, self.heads = config.sr_ratios[number], config.num_attention_heads[number]
        self.stride = config.strides[number]
        self.padding = config.patch_sizes[number] // 2
        self.dtype = numbers.layers
        of_embedding = numbers.of_images() if number == 0 else numbers
        self.embedding = Linear(embedding.proj, of_embedding.of_convolutions())
        self.embedding_norm = Norm(embedding.layer_norm, of_embedding)
        self.blocks = [Block(block, config.hidden_act, numbers) for block in blocks]
        self.norm = Norm(layer_norm, numbers)

    @scoped
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C_in) → (B, ⌈H/stride⌉, ⌈W/stride⌉, C)."""
        border = [self.padding, self.padding]
        x = self.embedding.convolve(tf.pad(x, [[0, 0], border, border, [0, 0]]), self.stride)
        x = require_at_least(x, self.reduction, self.number)
        layout = Layout.of(grid := Grid.under(x), self.reduction, self.heads)
        x = tf.cast(self.embedding_norm(grid.tokens(x), grid), self.dtype)
        for block in self.blocks:
            x = block(x, layout)
        return grid.feature_map(self.norm(x, grid))


class Block(tf.Module):
    """x + attention(LN(x)), then x + Mix-FFN(LN(x))."""

    def __init__(self, block: Any, activation: str, numbers: Numbers) -> None:
        super().__init__(name=block.name.replace(".", "_"))
        self.norm_1 = Norm(block.layer_norm_1, numbers)
        self.attention = Attention(block.attention, numbers)
        self.norm_2 = Norm(block.layer_norm_2, numbers)
        self.mlp = MixFFN(block.mlp, activation, numbers)

    @scoped
    def __call__(self, x: tf.Tensor, layout: Layout) -> tf.Tensor:
        """(N, C) → (N, C)."""
        x = tf.add_n([self.attention(self.norm_1(x, layout.grid), layout), x])
        return tf.add_n([self.mlp(self.norm_2(x, layout.grid), layout.grid), x])


class Attention(tf.Module):
    """Efficient self-attention (section 3.1, eq. 1-2) with the scale of the scores in the query's weights."""

    def __init__(self, attention: Any, numbers: Numbers) -> None:
        super().__init__(name="attention")
        layer = attention.self_attention
        self.heads, self.head_size = layer.heads, layer.head_size
        self.reduction = layer.reduction
        if self.reduction > 1:
            self.sr = Linear.of_patches(layer.sr, numbers, name="sr")
            self.sr_norm = Norm(layer.layer_norm, numbers)
        self.query = Linear(layer.query, numbers, scale=layer.head_size**-0.5, name="query")
        self.key = Linear(layer.key, numbers, name="key")
        self.value = Linear(layer.value, numbers, name="value")
        self.output = Linear(attention.output_projection.projection, numbers, name="output")

    @scoped
    def __call__(self, x: tf.Tensor, layout: Layout) -> tf.Tensor:
        """(N, C) → (N, C)."""
        grid, patches, few = layout
        reduced = x
        if self.reduction > 1:
            reduced = self.sr_norm(self.sr(patches.of(x)), patches)
        query, key, value = (
            self.split_heads(t, grid) for t in (self.query(x), self.key(reduced), self.value(reduced))
        )
        return self.output(self.merge_heads(attend(query, key, value, few=few), grid))

    def split_heads(self, x: tf.Tensor, grid: Grid) -> tf.Tensor:
        """(N, C) → (B, h, N/B, d)."""
        if self.heads == 1:  # nothing to transpose
            return tf.reshape(x, grid.shapes(grid.batch, 1, -1, self.head_size))
        x = tf.reshape(x, grid.shapes(grid.batch, -1, self.heads, self.head_size))
        return tf.transpose(x, (0, 2, 1, 3))

    def merge_heads(self, x: tf.Tensor, grid: Grid) -> tf.Tensor:
        """(B, h, N/B, d) → (N, C)."""
        if self.heads > 1:
            x = tf.transpose(x, (0, 2, 1, 3))
        return grid.tokens(x, self.heads * self.head_size)


class MixFFN(tf.Module):
    """Dense → depthwise 3×3 convolution → activation → dense (section 3.1, eq. 3)."""

    def __init__(self, mlp: Any, activation: str, numbers: Numbers) -> None:
        super().__init__(name="mlp")
        is_gelu = activation in ("gelu", "gelu_python")
        self.activate: Callable[[tf.Tensor], tf.Tensor] = gelu if is_gelu else ACTIVATIONS[activation]
        self.dense1 = Linear(mlp.dense1, numbers, name="dense1")
        self.dwconv = Linear(mlp.dwconv.dwconv, numbers, name="dwconv")
        self.dense2 = Linear(mlp.dense2, numbers, name="dense2")

    @scoped
    def __call__(self, x: tf.Tensor, grid: Grid) -> tf.Tensor:
        """(N, C) → (N, C)."""
        x = self.dwconv.convolve_depthwise(grid.feature_map(self.dense1(x)))
        return self.dense2(self.activate(grid.tokens(x)))


class Head(tf.Module):
    """The decode head, folded; see `folding`."""

    def __init__(self, head: Any, numbers: Numbers) -> None:
        super().__init__(name="head")
        (first, *kernels), bias = fold_projections(head)
        self.first = Linear.of(first[None, None], bias, numbers.of_convolutions(), name="first")
        self.kernels = [Weight(kernel, numbers.layers, numbers, "kernel") for kernel in kernels]
        kernel, bias = np.asarray(head.classifier.kernel)[0, 0], head.classifier.bias
        self.classifier = Linear.of(kernel, bias, numbers, name="classifier")

    @scoped
    def __call__(self, features: list[tf.Tensor]) -> tf.Tensor:
        """Feature maps (B, H_i, W_i, C_i) → logits (B, H_1, W_1, num_labels)."""
        grids = [Grid.under(feature) for feature in features]
        projected = [
            grid.feature_map(tf.matmul(grid.tokens(feature), kernel()))
            for feature, kernel, grid in zip(features[1:], self.kernels, grids[1:], strict=True)
        ]
        # Added as tokens, so that the optimiser adds the other term within the convolution.
        finest = grids[0]
        coarse = finest.feature_map(enlarged_sum(projected, finest.height, finest.width))
        x = tf.nn.relu(tf.add_n([self.first.convolve(features[0], 1), coarse]))
        return finest.feature_map(self.classifier(finest.tokens(x)))
