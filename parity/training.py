"""Do both frameworks train the same? The losses of some steps from the same weights on the same batches.

    python -m parity.training CHECKPOINT [--steps 50] [--optimizer sgd|adamw]

Dropout and stochastic depth draw different numbers in two frameworks, so they are off; batch statistics are
on. One step's gradients are compared by `parity.gradients`; here many steps have to add up to the same.

The two AdamW differ: Keras' adds epsilon to √v before v is corrected for its bias, PyTorch's after. ε of
PyTorch is ε·√(1 - β₂ᵗ) of Keras at step t: so is `tf_segformer.trainer.optimizer.RecipeAdamW` defined, which
trains here and in `tf-segformer train`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.gradients import NO_RANDOM_DRAWS, seeded_batch

Batches = Sequence[tuple[np.ndarray, np.ndarray]]

# Keras keeps a learning rate in float32, whatever the weights: these are exact in it. (0.1 is off by 1.5e-8
# there, which moves a float64 curve by 1e-9.) Large enough that 50 steps lower the loss well.
LEARNING_RATES = {"sgd": 1 / 8, "adamw": 1 / 1024}
# Of the loss, in float64: a hundred times what was measured on the tiny segmentation checkpoint in 50 steps,
# 1.0e-15 with SGD and 5.7e-16 with AdamW.
FLOAT64_GATE = 1e-13
# How many times as far as the reference's own float32 the candidate's may be from the float64 losses, in the
# median step (docs/decisions/0004-tolerances.md).
FLOAT32_MULTIPLE = 8.0


@dataclass(frozen=True)
class Curves:
    """Losses of the same steps, float64 (steps,) each: both frameworks, both dtypes."""

    reference: np.ndarray
    candidate: np.ndarray
    reference32: np.ndarray
    candidate32: np.ndarray

    @property
    def error(self) -> float:
        """In float64, the largest difference of two losses over the loss."""
        return _largest(self.candidate, self.reference)

    @property
    def noise(self) -> float:
        """The reference's float32 against its float64 in the median step: what rounding alone does."""
        return _median(self.reference32, self.reference)

    @property
    def error32(self) -> float:
        """The candidate's float32 against the reference's float64, in the median step.

        Not in the worst: an input of a ReLU within rounding of zero is switched on by one side and off by the
        other, and moves every loss after it by up to a hundredth, with nothing wrong.
        """
        return _median(self.candidate32, self.reference)

    @property
    def equal(self) -> bool:
        """Whether both differences are within their gates; NaN is not."""
        return self.error <= FLOAT64_GATE and self.error32 <= FLOAT32_MULTIPLE * self.noise


def seeded_batches(config: Any, steps: int, size: int) -> Batches:
    """A batch for each step: random pixels, and labels that one can learn from them."""
    batches = []
    for step in range(steps):
        pixels, labels = seeded_batch(config, size, seed=step)
        if labels.ndim == 3:  # brighter where the class is higher, in patches
            blocks = np.random.default_rng(step).integers(0, config.num_labels, (len(labels), 4, 4))
            classes = blocks.repeat(size // 4, 1).repeat(size // 4, 2)
            labels = np.where(labels == config.semantic_loss_ignore_index, labels, classes)
            pixels = 0.3 * pixels + (classes / config.num_labels - 0.5)[:, None]
        batches.append((pixels, labels))
    return batches


def reference_losses(
    model: str | Path, batches: Batches, dtype: str, optimizer: str, learning_rate: float
) -> np.ndarray:
    """The losses of transformers' PyTorch model."""
    from torch_ref import Reference
    from torch_ref.fitting import training_losses

    reference = Reference.from_pretrained(model, dtype)
    return np.array(training_losses(reference, batches, optimizer, learning_rate))


def candidate_losses(
    model: str | Path, batches: Batches, dtype: str, optimizer: str, learning_rate: float
) -> np.ndarray:
    """The losses of the Keras model."""
    import keras
    import tensorflow as tf

    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.trainer.optimizer import RecipeAdamW

    network = TFSegformerForSemanticSegmentation.from_pretrained(
        model, from_pt=True, dtype=dtype, **NO_RANDOM_DRAWS
    )
    if optimizer == "sgd":
        rule = keras.optimizers.SGD(learning_rate)
    else:
        rule = RecipeAdamW(learning_rate, weight_decay=0.01, multipliers={}, no_decay="")
    rule.build(network.trainable_variables)

    @tf.function
    def step(pixels: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = network(pixels, labels=labels, training=True).loss
        rule.apply(tape.gradient(loss, network.trainable_variables), network.trainable_variables)
        return loss

    return np.array([float(step(tf.constant(x, dtype), tf.constant(y))) for x, y in batches])


def compare(
    model: str | Path, optimizer: str, steps: int = 50, size: int = 32, learning_rate: float | None = None
) -> Curves:
    """Train both in both dtypes.

    Args:
        model: A folder with a segmentation checkpoint.
        optimizer: `"sgd"` or `"adamw"`.
        steps: How many.
        size: Height and width of the images in pixels, a multiple of 4.
        learning_rate: Default: `LEARNING_RATES`.
    """
    from tf_segformer.configuration import read_config

    batches = seeded_batches(read_config(Path(model) / "config.json"), steps, size)
    rate = LEARNING_RATES[optimizer] if learning_rate is None else learning_rate
    curves = [
        losses(model, batches, dtype, optimizer, rate)
        for dtype in ("float64", "float32")
        for losses in (reference_losses, candidate_losses)
    ]
    return Curves(*curves)


def _largest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def _median(found: np.ndarray, expected: np.ndarray) -> float:
    """NaN if one of the values is."""
    return float(np.median(np.abs(found - expected) / np.abs(expected)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 if both curves agree, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m parity.training", description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, help="folder of a segmentation checkpoint")
    parser.add_argument("--optimizer", choices=sorted(LEARNING_RATES), default="sgd")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images, in pixels")
    parser.add_argument("--learning-rate", type=float)
    options = parser.parse_args(arguments)
    curves = compare(options.model, options.optimizer, options.steps, options.size, options.learning_rate)
    print("step  loss, PyTorch     error, float64  error, float32  PyTorch's own float32")
    for step in sorted(
        {0, 1, 2, 5, *range(9, options.steps, 10), options.steps - 1} & set(range(options.steps))
    ):
        exact = curves.reference[step]
        errors = [
            abs(curve[step] - exact) / exact
            for curve in (curves.candidate, curves.candidate32, curves.reference32)
        ]
        print(f"{step:4d}  {exact:.12f}  " + "  ".join(f"{error:14.1e}" for error in errors))
    print(
        f"{options.optimizer}, {options.steps} steps: float64 {curves.error:.1e} of the loss (gate "
        f"{FLOAT64_GATE:.0e}); float32, median step, {curves.error32:.1e}, PyTorch's own {curves.noise:.1e} "
        f"(gate {FLOAT32_MULTIPLE:g} times that); " + ("equal." if curves.equal else "DIFFERENT.")
    )
    return int(not curves.equal)


if __name__ == "__main__":
    sys.exit(main())
