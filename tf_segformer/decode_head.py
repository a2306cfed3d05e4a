"""The all-MLP decode head (arXiv 2105.15203, section 3.2).

Axes: B batch, H_i W_i height and width of stage i's feature map, C_i its channels, D the head's width.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.configuration import number_of_labels
from tf_segformer.layers import SegformerLayer, dimensions
from tf_segformer.numerics import resize_bilinear
from tf_segformer.taps import tap

BATCH_NORM_EPSILON = 1e-5
BATCH_NORM_MOMENTUM = 0.9  # PyTorch counts the other way round: its 0.1 is Keras' 0.9


class LinearProjection(SegformerLayer):
    """The decode head's dense layer of stage i, C_i → D (section 3.2, eq. 4)."""

    def __init__(self, config: SegformerConfig, stage: int, **kwargs) -> None:
        super().__init__(config, name=f"linear_c.{stage}", **kwargs)
        self.in_channels = config.hidden_sizes[stage]
        self.proj = self.dense(config.decoder_hidden_size, name="proj")

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.proj.build((None, None, None, self.in_channels))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H_i, W_i, C_i) → (B, H_i, W_i, D)."""
        return tap(self, "proj", self.proj(x))


@keras.saving.register_keras_serializable(package="tf_segformer")
class TFSegformerDecodeHead(SegformerLayer):
    """The all-MLP decode head (section 3.2): project, resize, concatenate, fuse, classify.

    Args:
        config: The model's config, or the dict of one.
        data_format: Of the feature maps it takes: `"channels_first"` (default, as the legacy class and the
            outputs' `hidden_states`) or `"channels_last"`. The logits are channels last in both cases.
        name: Keras' own.
        **kwargs: Keras' own, e.g. `dtype`.
    """

    def __init__(
        self,
        config: SegformerConfig | dict,
        data_format: str = "channels_first",
        name: str = "decode_head",
        **kwargs,
    ) -> None:
        config = SegformerConfig.from_dict(config) if isinstance(config, dict) else config
        super().__init__(config, name=name, **kwargs)
        self.data_format = data_format
        self.linear_c = [
            LinearProjection(config, stage, dtype=self.dtype_policy) for stage in range(len(config.depths))
        ]
        self.linear_fuse = self.conv(config.decoder_hidden_size, 1, name="linear_fuse", use_bias=False)
        self.batch_norm = keras.layers.BatchNormalization(
            epsilon=BATCH_NORM_EPSILON,
            momentum=BATCH_NORM_MOMENTUM,
            name="batch_norm",
            dtype=self.dtype_policy,
        )
        self.dropout = keras.layers.Dropout(config.classifier_dropout_prob, dtype=self.dtype_policy)
        self.classifier = self.conv(number_of_labels(config), 1, name="classifier")

    def build(self, input_shape=None) -> None:  # noqa: D102
        width = self.config.decoder_hidden_size
        for projection in self.linear_c:
            projection.build()
        self.linear_fuse.build((None, None, None, width * len(self.linear_c)))
        self.batch_norm.build((None, None, None, width))
        self.classifier.build((None, None, None, width))

    def call(self, encoder_hidden_states: list[tf.Tensor], training: bool | None = False) -> tf.Tensor:
        """Feature maps of all stages → logits (B, H_1, W_1, num_labels), channels last.

        Args:
            encoder_hidden_states: One feature map per stage, (B, C_i, H_i, W_i), or (B, H_i, W_i, C_i) with
                `data_format="channels_last"`. The last may be flat, (B, H_i·W_i, C_i), as
                `reshape_last_stage=False` leaves it.
            training: Turns dropout and batch statistics on.
        """
        features = self._channels_last(encoder_hidden_states)
        _, height, width, _ = dimensions(features[0])
        resized = [
            resize_bilinear(project(feature), height, width)
            for project, feature in zip(self.linear_c, features, strict=True)
        ]
        x = tap(self, "concatenated", tf.concat(resized[::-1], axis=-1))  # the last stage comes first
        x = tap(self, "linear_fuse", self.linear_fuse(x))
        x = tap(self, "batch_norm", self.batch_norm(x, training=training))
        x = tap(self, "activation", tf.nn.relu(x))
        x = self.dropout(x, training=training)
        return tap(self, "classifier", self.classifier(x))

    def _channels_last(self, hidden_states: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """The feature maps as (B, H_i, W_i, C_i)."""
        expected = len(self.config.hidden_sizes)
        if len(hidden_states) != expected:
            raise ValueError(
                f"encoder_hidden_states holds {len(hidden_states)} feature maps; expected {expected}, one "
                "per stage: the hidden_states of a model called with output_hidden_states=True."
            )
        axis = 1 if self.data_format == "channels_first" else 3
        features: list[tf.Tensor] = []
        for stage, x in enumerate(hidden_states):
            channels = self.config.hidden_sizes[stage]
            if x.shape.rank == 3 and stage == expected - 1 > 0:
                # Its height and width follow from the stage before: the square root of N would be wrong for
                # any image that is not square.
                _, height, width, _ = dimensions(features[-1])
                height, width = (self._next_side(side, stage) for side in (height, width))
                x = tf.reshape(x, (-1, height, width, channels))
            elif x.shape.rank != 4 or x.shape[axis] not in (channels, None):
                order = "batch, channels, height, width" if axis == 1 else "batch, height, width, channels"
                raise ValueError(
                    f"encoder_hidden_states[{stage}] has shape {tuple(x.shape)}; expected ({order}) with "
                    f"{channels} channels, as data_format={self.data_format!r} says."
                )
            elif axis == 1:
                x = tf.transpose(x, (0, 2, 3, 1))
            features.append(x)
        return features

    def _next_side(self, side: Any, stage: int) -> Any:
        """The height or width of this stage's feature map, from that of the stage before."""
        patch_size, stride = self.config.patch_sizes[stage], self.config.strides[stage]
        return (side + 2 * (patch_size // 2) - patch_size) // stride + 1

    def get_config(self) -> dict:  # noqa: D102
        return {
            **super().get_config(),
            "config": self.config.to_dict(),
            "data_format": self.data_format,
        }
