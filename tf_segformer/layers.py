"""The encoder's layers, in call order (arXiv 2105.15203, section 3).

Axes: B batch, H W height and width of a feature map, C channels, N = H·W tokens, h heads, d = C/h. Feature
maps stay (B, H, W, C) throughout, so that height and width travel with the tensor; only attention
flattens them to tokens.

A layer's name is the one its weights have in the published checkpoints: the path of the variable
`segformer/encoder/block.0.0/mlp/dense1/kernel` is where `weights.py` looks.
"""

import keras
import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.numerics import ACTIVATIONS
from tf_segformer.taps import tap

# The reference's LayerNorms run with PyTorch's default; none of them reads `config.layer_norm_eps`.
LAYER_NORM_EPSILON = 1e-5


def layer_norm(name: str, dtype: keras.DTypePolicy) -> keras.layers.LayerNormalization:
    """LayerNorm over the channels, with the epsilon of the reference."""
    return keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name=name, dtype=dtype)


def dimensions(x: tf.Tensor) -> list[int | tf.Tensor]:
    """The sizes of `x`: Python integers where they are known at trace time, scalar tensors elsewhere."""
    dynamic = tf.shape(x)
    return [dynamic[axis] if size is None else size for axis, size in enumerate(x.shape)]


class SegformerLayer(keras.layers.Layer):
    """Base of the layers below: built from a config, saved and restored with it."""

    def __init__(self, config: SegformerConfig, **kwargs) -> None:
        super().__init__(**kwargs)
        self.config = config
        self.initializer = keras.initializers.RandomNormal(stddev=config.initializer_range)

    def dense(self, units: int, name: str) -> keras.layers.Dense:
        """A dense layer over the channels, initialised as the reference initialises it."""
        return keras.layers.Dense(
            units, kernel_initializer=self.initializer, name=name, dtype=self.dtype_policy
        )

    def conv(self, filters: int, kernel_size: int, name: str, **kwargs) -> keras.layers.Conv2D:
        """A convolution without padding, initialised as the reference initialises it."""
        return keras.layers.Conv2D(
            filters,
            kernel_size,
            kernel_initializer=self.initializer,
            name=name,
            dtype=self.dtype_policy,
            data_format="channels_last",
            **kwargs,
        )


class OverlapPatchEmbedding(SegformerLayer):
    """Overlapping patch embedding of stage i: a strided convolution, then LayerNorm (section 3.1)."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name=f"patch_embeddings.{stage}", **kwargs)
        self.in_channels = config.num_channels if stage == 0 else config.hidden_sizes[stage - 1]
        self.out_channels = config.hidden_sizes[stage]
        patch_size = config.patch_sizes[stage]
        self.pad = keras.layers.ZeroPadding2D(
            patch_size // 2, data_format="channels_last", dtype=self.dtype_policy
        )
        self.proj = self.conv(self.out_channels, patch_size, name="proj", strides=config.strides[stage])
        self.layer_norm = layer_norm("layer_norm", self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.proj.build((None, None, None, self.in_channels))
        self.layer_norm.build((None, None, None, self.out_channels))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C_in) → (B, ⌈H/stride⌉, ⌈W/stride⌉, C)."""
        x = tap(self, "proj", self.proj(self.pad(x)))
        return tap(self, "layer_norm", self.layer_norm(x))


class EfficientSelfAttention(SegformerLayer):
    """Multi-head attention whose keys and values come from a reduced feature map (section 3.1, eq. 1-2)."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name="self", **kwargs)
        self.channels = config.hidden_sizes[stage]
        self.heads = config.num_attention_heads[stage]
        self.head_size = self.channels // self.heads
        self.reduction = config.sr_ratios[stage]
        self.query = self.dense(self.channels, name="query")
        self.key = self.dense(self.channels, name="key")
        self.value = self.dense(self.channels, name="value")
        if self.reduction > 1:
            self.sr = self.conv(self.channels, self.reduction, name="sr", strides=self.reduction)
            self.layer_norm = layer_norm("layer_norm", self.dtype_policy)
        self.dropout = keras.layers.Dropout(config.attention_probs_dropout_prob, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        shape = (None, None, None, self.channels)
        for projection in (self.query, self.key, self.value):
            projection.build(shape)
        if self.reduction > 1:
            self.sr.build(shape)
            self.layer_norm.build(shape)

    def split_heads(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C) → (B, h, N, d)."""
        batch, height, width, _ = dimensions(x)
        x = tf.reshape(x, (batch, height * width, self.heads, self.head_size))  # (B, N, h, d)
        return tf.transpose(x, (0, 2, 1, 3))  # (B, h, N, d)

    def merge_heads(self, x: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
        """(B, h, N, d) → (B, H, W, C), with the batch, height and width of `like`."""
        x = tf.transpose(x, (0, 2, 1, 3))  # (B, N, h, d)
        return tf.reshape(x, dimensions(like))  # (B, H, W, C)

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, H, W, C) → the attended map (B, H, W, C) and the probabilities (B, h, Nq, Nkv)."""
        reduced = x
        if self.reduction > 1:
            reduced = tap(self, "sr", self.sr(x))  # (B, ⌊H/r⌋, ⌊W/r⌋, C)
            reduced = tap(self, "layer_norm", self.layer_norm(reduced))
        query = tap(self, "query", self.query(x))
        key = tap(self, "key", self.key(reduced))
        value = tap(self, "value", self.value(reduced))

        scores = tf.matmul(self.split_heads(query), self.split_heads(key), transpose_b=True)
        scores = scores * self.head_size**-0.5  # (B, h, Nq, Nkv)
        probabilities = tap(self, "probabilities", tf.nn.softmax(scores, axis=-1))
        weights = self.dropout(probabilities, training=training)
        context = self.merge_heads(tf.matmul(weights, self.split_heads(value)), like=query)
        return tap(self, "context", context), probabilities


class AttentionOutput(SegformerLayer):
    """The projection after the heads are merged."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name="output", **kwargs)
        self.channels = config.hidden_sizes[stage]
        self.projection = self.dense(self.channels, name="dense")
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.projection.build((None, None, None, self.channels))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        return self.dropout(tap(self, "dense", self.projection(x)), training=training)


class Attention(SegformerLayer):
    """Efficient self-attention and its output projection."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name="attention", **kwargs)
        self.self_attention = EfficientSelfAttention(config, stage, dtype=self.dtype_policy)
        self.output_projection = AttentionOutput(config, stage, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.self_attention.build()
        self.output_projection.build()

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, H, W, C) → the attended map (B, H, W, C) and the probabilities (B, h, Nq, Nkv)."""
        context, probabilities = self.self_attention(x, training=training)
        return self.output_projection(context, training=training), probabilities


class DepthwiseConv(SegformerLayer):
    """The 3×3 depthwise convolution that stands in for a position embedding (section 3.1)."""

    def __init__(self, config: SegformerConfig, channels: int, **kwargs) -> None:
        super().__init__(config, name="dwconv", **kwargs)
        self.channels = channels
        self.dwconv = keras.layers.DepthwiseConv2D(
            3,
            padding="same",
            depthwise_initializer=self.initializer,
            name="dwconv",
            dtype=self.dtype_policy,
            data_format="channels_last",
        )

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.dwconv.build((None, None, None, self.channels))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        return tap(self, "dwconv", self.dwconv(x))


class MixFFN(SegformerLayer):
    """Mix-FFN: dense → depthwise 3×3 convolution → activation → dense (section 3.1, eq. 3)."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name="mlp", **kwargs)
        self.channels = config.hidden_sizes[stage]
        self.hidden = int(self.channels * config.mlp_ratios[stage])
        self.dense1 = self.dense(self.hidden, name="dense1")
        self.dwconv = DepthwiseConv(config, self.hidden, dtype=self.dtype_policy)
        self.dense2 = self.dense(self.channels, name="dense2")
        self.dropout = keras.layers.Dropout(config.hidden_dropout_prob, dtype=self.dtype_policy)

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.dense1.build((None, None, None, self.channels))
        self.dwconv.build()
        self.dense2.build((None, None, None, self.hidden))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """(B, H, W, C) → (B, H, W, C)."""
        x = tap(self, "dense1", self.dense1(x))
        x = self.dwconv(x)
        x = tap(self, "activation", ACTIVATIONS[self.config.hidden_act](x))
        x = self.dropout(x, training=training)
        x = tap(self, "dense2", self.dense2(x))
        return self.dropout(x, training=training)


class TransformerBlock(SegformerLayer):
    """x + attention(LN(x)), then x + Mix-FFN(LN(x)), with stochastic depth on both branches."""

    def __init__(
        self, config: SegformerConfig, stage: int, index: int, drop_path_rate: float, **kwargs
    ) -> None:
        super().__init__(config, name=f"block.{stage}.{index}", **kwargs)
        self.channels = config.hidden_sizes[stage]
        self.layer_norm_1 = layer_norm("layer_norm_1", self.dtype_policy)
        self.attention = Attention(config, stage, dtype=self.dtype_policy)
        self.layer_norm_2 = layer_norm("layer_norm_2", self.dtype_policy)
        self.mlp = MixFFN(config, stage, dtype=self.dtype_policy)
        # DropPath (arXiv 1603.09382): one draw per sample keeps or drops the whole branch.
        self.drop_path = keras.layers.Dropout(
            drop_path_rate, noise_shape=(None, 1, 1, 1), dtype=self.dtype_policy
        )

    def build(self, input_shape=None) -> None:  # noqa: D102
        shape = (None, None, None, self.channels)
        self.layer_norm_1.build(shape)
        self.attention.build()
        self.layer_norm_2.build(shape)
        self.mlp.build()

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """(B, H, W, C) → the block's output (B, H, W, C) and its attention (B, h, Nq, Nkv)."""
        normed = tap(self, "layer_norm_1", self.layer_norm_1(x))
        attended, probabilities = self.attention(normed, training=training)
        x = self.drop_path(attended, training=training) + x
        normed = tap(self, "layer_norm_2", self.layer_norm_2(x))
        x = self.drop_path(self.mlp(normed, training=training), training=training) + x
        return tap(self, "", x), probabilities


class Encoder(SegformerLayer):
    """The hierarchical encoder (MiT): per stage a patch embedding, blocks and a LayerNorm."""

    def __init__(self, config: SegformerConfig, **kwargs) -> None:
        super().__init__(config, name="encoder", **kwargs)
        last_block = max(sum(config.depths) - 1, 1)
        self.patch_embeddings, self.blocks, self.layer_norms = [], [], []
        for stage, depth in enumerate(config.depths):
            self.patch_embeddings.append(OverlapPatchEmbedding(config, stage, dtype=self.dtype_policy))
            earlier = sum(config.depths[:stage])
            self.blocks.append(
                [
                    TransformerBlock(
                        config,
                        stage,
                        index,
                        # grows linearly over all blocks, from 0 to the configured rate
                        drop_path_rate=config.drop_path_rate * (earlier + index) / last_block,
                        dtype=self.dtype_policy,
                    )
                    for index in range(depth)
                ]
            )
            self.layer_norms.append(layer_norm(f"layer_norm.{stage}", self.dtype_policy))

    def build(self, input_shape=None) -> None:  # noqa: D102
        for stage, channels in enumerate(self.config.hidden_sizes):
            self.patch_embeddings[stage].build()
            for block in self.blocks[stage]:
                block.build()
            self.layer_norms[stage].build((None, None, None, channels))

    def call(self, x: tf.Tensor, training: bool | None = None) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """Pixel values (B, H, W, channels) → feature maps (B, H_i, W_i, C_i) and all attentions."""
        features, attentions = [], []
        for stage, embed in enumerate(self.patch_embeddings):
            x = embed(x)
            x = require_at_least(x, self.config.sr_ratios[stage], stage)
            for block in self.blocks[stage]:
                x, probabilities = block(x, training=training)
                attentions.append(probabilities)
            x = tap(self, f"layer_norm.{stage}", self.layer_norms[stage](x))
            features.append(x)
        return features, attentions


def require_at_least(x: tf.Tensor, kernel: int, stage: int) -> tf.Tensor:
    """Return `x` (B, H, W, C) if the sequence reduction's kernel fits into it.

    PyTorch refuses a smaller map. TensorFlow 2.21's convolution returns uninitialised memory instead.

    Raises:
        ValueError: a side known at trace time is too small.
        tf.errors.InvalidArgumentError: a side only known at run time is.
    """
    if kernel <= 1:
        return x
    message = (
        f"The image is too small: the feature map of stage {stage} has fewer than {kernel} rows or columns, "
        f"the kernel of its sequence reduction (config.sr_ratios[{stage}] = {kernel}). Resize the image up "
        "first."
    )
    height, width = x.shape[1:3]
    if any(side is not None and side < kernel for side in (height, width)):
        raise ValueError(f"{message} Found {height} × {width}.")
    if height is None or width is None:
        shortest = tf.reduce_min(tf.shape(x)[1:3])
        with tf.control_dependencies([tf.debugging.assert_greater_equal(shortest, kernel, message=message)]):
            x = tf.identity(x)
    return x
