"""What the models return: the same fields as the legacy TensorFlow classes.

Each is a transformers `ModelOutput`: read by attribute, by key, by index or `to_tuple()`; fields that are
None are absent from the last three.
"""

from dataclasses import dataclass
from typing import Any

import optree
import tensorflow as tf
from transformers.utils import ModelOutput


@dataclass
class TFBaseModelOutput(ModelOutput):
    """Output of `TFSegformerModel`.

    Attributes:
        last_hidden_state: (B, C_4, H_4, W_4), or (B, H_4·W_4, C_4) with `reshape_last_stage=False`.
        hidden_states: one feature map per stage, (B, C_i, H_i, W_i).
        attentions: softmax probabilities per block, (B, h, Nq, Nkv).
    """

    last_hidden_state: tf.Tensor | None = None
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None


@dataclass
class TFSequenceClassifierOutput(ModelOutput):
    """Output of `TFSegformerForImageClassification`; logits are (B, num_labels), loss a scalar."""

    loss: tf.Tensor | None = None
    logits: tf.Tensor | None = None
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None


@dataclass
class TFSemanticSegmenterOutput(ModelOutput):
    """Output of `TFSegformerForSemanticSegmentation`.

    Logits are (B, num_labels, H/4, W/4), a quarter of the image's size rounded up; loss is a scalar.
    """

    loss: tf.Tensor | None = None
    logits: tf.Tensor | None = None
    hidden_states: tuple[tf.Tensor, ...] | None = None
    attentions: tuple[tf.Tensor, ...] | None = None


def _register_with_keras(output_class: type[ModelOutput]) -> None:
    """Let Keras' tree library see into the class; `predict` and functional models need that."""

    def flatten(output: Any) -> tuple[tuple, tuple, tuple]:
        keys = tuple(output.keys())
        return tuple(output.values()), keys, keys

    def unflatten(keys: Any, children: Any) -> Any:
        return output_class(**dict(zip(keys, children, strict=True)))

    optree.register_pytree_node(output_class, flatten, unflatten, namespace="keras")


for _output_class in (TFBaseModelOutput, TFSequenceClassifierOutput, TFSemanticSegmenterOutput):
    _register_with_keras(_output_class)
