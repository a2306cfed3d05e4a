"""The all-MLP decode head (arXiv 2105.15203, section 3.2).

Axes: B batch, H_i W_i height and width of stage i's feature map, C_i its channels, D the head's width.
"""

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
    """The all-MLP decode head (section 3.2): project, resize, concatenate, fuse, classify."""

    def __init__(self, config: SegformerConfig | dict, name: str = "decode_head", **kwargs) -> None:
        config = SegformerConfig.from_dict(config) if isinstance(config, dict) else config
        super().__init__(config, name=name, **kwargs)
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

    def call(self, encoder_hidden_states: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Feature maps (B, H_i, W_i, C_i) of all stages → logits (B, H_1, W_1, num_labels), channels last."""
        _, height, width, _ = dimensions(encoder_hidden_states[0])
        resized = [
            resize_bilinear(project(feature), height, width)
            for project, feature in zip(self.linear_c, encoder_hidden_states, strict=True)
        ]
        x = tap(self, "concatenated", tf.concat(resized[::-1], axis=-1))  # the last stage comes first
        x = tap(self, "linear_fuse", self.linear_fuse(x))
        x = tap(self, "batch_norm", self.batch_norm(x, training=training))
        x = tap(self, "activation", tf.nn.relu(x))
        x = self.dropout(x, training=training)
        return tap(self, "classifier", self.classifier(x))

    def get_config(self) -> dict:  # noqa: D102
        return {**super().get_config(), "config": self.config.to_dict()}
