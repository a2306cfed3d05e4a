"""SegFormer in Keras 3.

Xie et al., "SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
arXiv 2105.15203. The reference is transformers' PyTorch `SegformerForSemanticSegmentation`; the classes
here carry the names and call arguments of the TensorFlow ones that transformers 5 dropped.

    pixel values ─► encoder: four stages ─► feature maps at 1/4, 1/8, 1/16, 1/32
                                                   │
                          decode head: project, resize to 1/4, concatenate, fuse, classify ─► logits at 1/4

Axes: B batch, H W height and width, C channels, h heads. Images and feature maps enter and leave as
(B, C, H, W), as the legacy classes do; with `data_format="channels_last"` as (B, H, W, C). Inside,
everything is channels last.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.configuration import number_of_labels
from tf_segformer.decode_head import TFSegformerDecodeHead
from tf_segformer.inference import InferenceNetwork
from tf_segformer.losses import classification_loss, segmentation_loss
from tf_segformer.outputs import (
    TFBaseModelOutput,
    TFSemanticSegmenterOutput,
    TFSequenceClassifierOutput,
)
from tf_segformer.pretrained import TFSegformerPreTrainedModel
from tf_segformer.taps import tap

__all__ = [
    "TFSegformerDecodeHead",
    "TFSegformerForImageClassification",
    "TFSegformerForSemanticSegmentation",
    "TFSegformerModel",
    "TFSegformerPreTrainedModel",
]


@keras.saving.register_keras_serializable(package="tf_segformer")
class TFSegformerModel(TFSegformerPreTrainedModel):
    """The encoder without a head."""

    def __init__(self, config: SegformerConfig | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.build()

    def call(
        self,
        pixel_values: tf.Tensor | Mapping[str, tf.Tensor],
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = False,
    ) -> TFBaseModelOutput | tuple[tf.Tensor, ...]:
        """Compute the feature maps.

        Args:
            pixel_values: (B, channels, H, W), floating; or a dict that holds them.
            output_attentions: Return the softmax probabilities of every block.
            output_hidden_states: Return the feature map of every stage.
            return_dict: False returns the tuple of the fields that are not None.
            training: Turns dropout and stochastic depth on.
        """
        x, _ = self._inputs(pixel_values, None)
        features, attentions = self._encode(x, training)
        output = TFBaseModelOutput(
            last_hidden_state=self._hidden_states(features)[-1],
            **self._extras(features, attentions, output_attentions, output_hidden_states),
        )
        return self._returned(output, return_dict)


@keras.saving.register_keras_serializable(package="tf_segformer")
class TFSegformerForImageClassification(TFSegformerPreTrainedModel):
    """The encoder with a linear classifier on the mean of the last feature map (`nvidia/mit-b*`)."""

    def __init__(self, config: SegformerConfig | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.classifier = keras.layers.Dense(
            number_of_labels(self.config),
            kernel_initializer=keras.initializers.RandomNormal(stddev=self.config.initializer_range),
            name="classifier",
            dtype=self.dtype_policy,
        )
        self.build()

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.segformer.build()
        self.classifier.build((None, self.config.hidden_sizes[-1]))

    def call(
        self,
        pixel_values: tf.Tensor | Mapping[str, tf.Tensor],
        labels: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = False,
    ) -> TFSequenceClassifierOutput | tuple[tf.Tensor, ...]:
        """Classify images.

        Args:
            pixel_values: (B, channels, H, W), floating; or a dict that holds them and perhaps `labels`.
            labels: (B,) class ids; the loss is then returned.
            output_attentions: Return the softmax probabilities of every block.
            output_hidden_states: Return the feature map of every stage.
            return_dict: False returns the tuple of the fields that are not None.
            training: Turns dropout and stochastic depth on.
        """
        x, labels = self._inputs(pixel_values, labels)
        features, attentions = self._encode(x, training)
        pooled = tf.reduce_mean(features[-1], axis=(1, 2))  # (B, C)
        tap(self, "classifier.pooled", pooled)
        logits = tap(self, "classifier", self.classifier(pooled))
        output = TFSequenceClassifierOutput(
            loss=None if labels is None else self.hf_compute_loss(labels, logits),
            logits=logits,
            **self._extras(features, attentions, output_attentions, output_hidden_states),
        )
        return self._returned(output, return_dict)

    def hf_compute_loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The loss of labels and logits; see `losses.classification_loss`. Override it to train on another.

        Args:
            labels: (B,) class ids.
            logits: (B, num_labels).

        Returns:
            A scalar. (The legacy class returned (B,), one loss per image.)
        """
        return classification_loss(labels, logits, self.config)


@keras.saving.register_keras_serializable(package="tf_segformer")
class TFSegformerForSemanticSegmentation(TFSegformerPreTrainedModel):
    """SegFormer: the encoder and the all-MLP decode head."""

    def __init__(self, config: SegformerConfig | Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.decode_head = TFSegformerDecodeHead(
            self.config, data_format="channels_last", dtype=self.dtype_policy
        )
        self.build()

    def build(self, input_shape=None) -> None:  # noqa: D102
        self.segformer.build()
        self.decode_head.build()

    def call(
        self,
        pixel_values: tf.Tensor | Mapping[str, tf.Tensor],
        labels: tf.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = False,
    ) -> TFSemanticSegmenterOutput | tuple[tf.Tensor, ...]:
        """Segment images.

        Args:
            pixel_values: (B, channels, H, W), floating; or a dict that holds them and perhaps `labels`.
            labels: (B, height, width) class ids at any size; the loss is then returned.
            output_attentions: Return the softmax probabilities of every block.
            output_hidden_states: Return the feature map of every stage.
            return_dict: False returns the tuple of the fields that are not None.
            training: Turns dropout, stochastic depth and batch statistics on.

        Returns:
            The logits at a quarter of the image's size (rounded up), (B, num_labels, H/4, W/4), and what
            was asked for.
        """
        x, labels = self._inputs(pixel_values, labels)
        features, attentions = self._encode(x, training)
        logits = self.decode_head(features, training=training)
        output = TFSemanticSegmenterOutput(
            loss=None if labels is None else self.hf_compute_loss(logits, labels),
            logits=self._outward(logits),
            **self._extras(features, attentions, output_attentions, output_hidden_states),
        )
        return self._returned(output, return_dict)

    def fold_for_inference(self, precision: str | None = None, constants: bool = False) -> InferenceNetwork:
        """A copy of the forward pass that runs faster and cannot be trained; the exports hold it.

        The decode head's linear layers are multiplied together and each step has the form that TensorFlow's
        graph optimiser fuses. The logits are the same but for rounding. Call it within a `tf.function`.

        Args:
            precision: None for the model's own, or ``bfloat16``; see `InferenceNetwork`.
            constants: whether the weights are constants of the graphs instead of variables; see
                `InferenceNetwork`.

        Raises:
            ValueError: the model's dtype policy is neither float32 nor float64, or the precision is unknown.
        """
        return InferenceNetwork(self, precision, constants)

    def hf_compute_loss(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """The loss of logits and labels; see `losses.segmentation_loss`. Override it to train on another.

        Args:
            logits: (B, h, w, num_labels), channels last as the decode head returns them, unlike the outputs'
                `logits`.
            labels: (B, H, W) class ids at any size.

        Returns:
            A scalar. (The legacy class returned it in the shape (1,).)
        """
        return segmentation_loss(
            labels,
            logits,
            number_of_labels(self.config),
            self.config.semantic_loss_ignore_index,
        )
