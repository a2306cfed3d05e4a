"""Do both frameworks learn the same? One step's loss, gradients and batch-norm statistics, compared.

    python -m parity gradients CHECKPOINT

Dropout and stochastic depth draw different numbers in two frameworks, so they are off; the batch statistics
are on. The weights, pixels and labels are the same on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

# Height and width of the training step's images: gradients see every parameter at any size.
GRADIENT_SIZE = 64

NO_RANDOM_DRAWS: dict[str, Any] = {
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.0,
    "drop_path_rate": 0.0,
}


@dataclass(frozen=True)
class Step:
    """One framework's step: PyTorch's layout, published keys; see `torch_ref.training.TrainingStep`."""

    loss: float
    gradients: Mapping[str, np.ndarray]
    statistics: Mapping[str, np.ndarray]


def reference_step(model: str | Path, pixel_values: np.ndarray, labels: np.ndarray, dtype: str) -> Any:
    """The step of transformers' PyTorch model."""
    from torch_ref import Reference
    from torch_ref.training import training_step

    return training_step(Reference.from_pretrained(model, dtype), pixel_values, labels)


def candidate_step(model: str | Path, pixel_values: np.ndarray, labels: np.ndarray, dtype: str) -> Step:
    """The step of the Keras model, by `tf.GradientTape`."""
    import tf_segformer
    from tf_segformer.configuration import read_config

    classifies = read_config(Path(model) / "config.json").architectures == ["SegformerForImageClassification"]
    model_class = (
        tf_segformer.TFSegformerForImageClassification
        if classifies
        else tf_segformer.TFSegformerForSemanticSegmentation
    )
    network = model_class.from_pretrained(model, from_pt=True, dtype=dtype, **NO_RANDOM_DRAWS)
    return training_step(network, pixel_values, labels)


def training_step(network: Any, pixel_values: np.ndarray, labels: np.ndarray) -> Step:
    """One step of a Keras model in training mode, by `tf.GradientTape`.

    Args:
        network: loaded with `NO_RANDOM_DRAWS`. Its weights stay; its batch-norm statistics move.
        pixel_values: (B, C, H, W).
        labels: (B, height, width) class ids, or (B,) of a classifier.
    """
    import tensorflow as tf

    from tf_segformer.weights import state_dict, weights_by_key

    x = tf.constant(pixel_values, network.compute_dtype)
    if network.data_format == "channels_last":
        x = tf.transpose(x, (0, 2, 3, 1))
    with tf.GradientTape() as tape:
        loss = network(x, labels=labels, training=True).loss
    rules = {variable.path: (key, rule) for key, (variable, rule) in weights_by_key(network).items()}
    gradients = {}
    for variable, gradient in zip(
        network.trainable_variables, tape.gradient(loss, network.trainable_variables), strict=True
    ):
        key, rule = rules[variable.path]
        if gradient is not None:
            gradients[key] = rule.to_torch(gradient.numpy())
    statistics = {key: value for key, value in state_dict(network).items() if ".running_" in key}
    return Step(float(loss), gradients, statistics)


def gradient_errors(reference: Any, candidate: Any) -> dict[str, float]:
    """Each parameter's largest error, over its largest gradient in the reference.

    Raises:
        ValueError: the two name different parameters, or there are none.
    """
    if not reference.gradients or set(reference.gradients) != set(candidate.gradients):
        different = sorted(set(reference.gradients) ^ set(candidate.gradients))
        raise ValueError(
            f"The two steps have gradients of different parameters: {different[:5]} ({len(different)} in "
            f"all, {len(reference.gradients)} in the reference). Both must run the same checkpoint."
        )
    zero = zero_by_design(reference.gradients)
    errors = {}
    for key, expected in reference.gradients.items():
        # of a gradient that is zero only rounding is left: the weight beside it gives the scale
        scale_of = key.removesuffix("bias") + "weight" if key in zero else key
        scale = np.abs(reference.gradients[scale_of]).max()
        error = np.abs(candidate.gradients[key] - expected).max()
        errors[key] = float(error / scale) if scale else float(error)
    return errors


def zero_by_design(keys: Iterable[str]) -> set[str]:
    """The parameters whose gradient is zero whatever the data.

    Attention's softmax does not see what the bias adds to every key alike. The decode head's batch norm
    subtracts again what the biases of its projections add, and what the last stage's LayerNorm adds, which
    goes nowhere else; an image classifier has no batch norm.
    """
    keys = set(keys)
    zero = {key for key in keys if re.search(r"\.attention\.self\.key\.bias$", key)}
    projections = {key for key in keys if re.search(r"^decode_head\.linear_c\.\d+\.proj\.bias$", key)}
    if projections:
        zero |= projections | {f"segformer.encoder.layer_norm.{len(projections) - 1}.bias"}
    return zero


def unbiased_variance_factor(batch: int, height: int, width: int) -> float:
    """n/(n − 1) for the n values that the decode head's batch norm sees of each channel.

    The one difference by design: in the running variance PyTorch counts the batch's variance with divisor
    n − 1, Keras with n. Both normalise the batch itself by the one with n.
    """
    n = batch * height * width
    return n / (n - 1)


def seeded_batch(config: Any, size: int, batch: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Random pixels (B, C, size, size) and labels; an eighth of the pixels carries the ignore index."""
    random = np.random.default_rng(seed)
    pixels = random.normal(size=(batch, config.num_channels, size, size))
    classes = max(config.num_labels, 2)
    if config.architectures == ["SegformerForImageClassification"]:
        return pixels, random.integers(0, classes, batch)
    labels = random.integers(0, classes, (batch, size, size))
    labels[random.random(labels.shape) < 1 / 8] = config.semantic_loss_ignore_index
    return pixels, labels
