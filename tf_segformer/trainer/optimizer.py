"""The paper's optimizer: AdamW as PyTorch defines it, some variables without decay, the head learning faster.

Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101, algorithm 2;
`torch.optim.AdamW`; the learning rates and decay are arXiv 2105.15203, section 4.1.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

# The names of normalisation layers in this port's variables' paths.
NORMS = ("layer_norm", "batch_norm")
HEAD = "decode_head"


@keras.saving.register_keras_serializable(package="tf_segformer")
class RecipeAdamW(keras.optimizers.Adam):
    """AdamW with a learning rate and a weight decay for each variable, by its path.

    Keras' own AdamW differs in two ways. It adds epsilon to √v before v is corrected for its bias, PyTorch
    after: ε here is Keras' ε·√(1 - β₂ᵗ) at step t. And one learning rate holds for all variables; here
    both the step and the decay of a variable scale with its own, as with PyTorch's parameter groups.

    Args:
        learning_rate: A number or a schedule.
        weight_decay: Of every variable that `no_decay` does not name.
        multipliers: Factors of the learning rate, by a regular expression searched for in the path.
        no_decay: Regular expression of paths without decay; "" decays all.
        **kwargs: Of `keras.optimizers.Adam`; `epsilon` is 1e-8 unless given, as in PyTorch.
    """

    def __init__(
        self,
        learning_rate: Any = 6e-5,
        weight_decay: float = 0.01,
        multipliers: dict[str, float] | None = None,
        no_decay: str = "|".join(NORMS),
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **{"epsilon": 1e-8, "name": "recipe_adamw", **kwargs})
        self.decay = weight_decay
        self.multipliers = dict({HEAD: 10.0} if multipliers is None else multipliers)
        self.no_decay = no_decay

    def build(self, variables: list[keras.Variable]) -> None:  # noqa: D102
        if not self.built:
            self._factors = [self.factor(variable.path) for variable in variables]
            self._decays = [self.decay if self.decays(variable.path) else 0.0 for variable in variables]
        super().build(variables)

    def factor(self, path: str) -> float:
        """The factor of the learning rate of a variable."""
        factor = 1.0
        for pattern, value in self.multipliers.items():
            if re.search(pattern, path):
                factor *= value
        return factor

    def decays(self, path: str) -> bool:
        """Whether a variable's weights decay."""
        return not (self.no_decay and re.search(self.no_decay, path))

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable; see the class."""
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        rate = tf.cast(learning_rate, dtype) * self._factors[index]
        gradient = tf.cast(gradient, dtype)
        step = tf.cast(self.iterations + 1, dtype)
        beta_1, beta_2 = tf.constant(self.beta_1, dtype), tf.constant(self.beta_2, dtype)
        m, v = self._momentums[index], self._velocities[index]
        self.assign_add(m, (gradient - m) * (1 - beta_1))
        self.assign_add(v, (tf.square(gradient) - v) * (1 - beta_2))
        root = tf.sqrt(1 - tf.pow(beta_2, step))
        size = rate / (1 - tf.pow(beta_1, step))
        change = size * m / (tf.sqrt(v) / root + self.epsilon)
        if self._decays[index]:
            change += rate * self._decays[index] * variable
        self.assign_sub(variable, change)

    @contextlib.contextmanager
    def averaged(self, variables: list[keras.Variable]) -> Iterator[None]:
        """Give the variables their moving averages within the block, if `use_ema`; else do nothing."""
        if not self.use_ema:
            yield
            return
        own = [variable.numpy() for variable in variables]
        for variable, average in zip(variables, self._model_variables_moving_average, strict=True):
            variable.assign(average)
        try:
            yield
        finally:
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        config = super().get_config()
        return {
            **config,
            "weight_decay": self.decay,
            "multipliers": self.multipliers,
            "no_decay": self.no_decay,
        }


@keras.saving.register_keras_serializable(package="tf_segformer")
class WarmUpPoly(keras.optimizers.schedules.LearningRateSchedule):
    """A polynomial fall to 0 under a linear warm-up, as mmsegmentation's SegFormer configs have it.

    At step i (from 0) the rate is peak · (1 - i/steps)^power, times i/warm_up + (1 - i/warm_up) · ratio while
    i < warm_up.

    Args:
        peak: The learning rate.
        steps: All steps of the training.
        warm_up: Steps of the warm-up.
        power: Of the polynomial.
        ratio: The factor of the first step.
    """

    def __init__(
        self, peak: float, steps: int, warm_up: int = 1500, power: float = 1.0, ratio: float = 1e-6
    ) -> None:
        self.peak, self.steps, self.warm_up, self.power, self.ratio = peak, steps, warm_up, power, ratio

    def __call__(self, step: Any) -> tf.Tensor:
        """The learning rate, a float32 scalar."""
        step = tf.cast(step, tf.float32)
        rate = self.peak * tf.pow(tf.maximum((self.steps - step) / self.steps, 0.0), self.power)
        if not self.warm_up:
            return rate
        done = tf.minimum(step / self.warm_up, 1.0)
        return rate * (done + (1.0 - done) * self.ratio)

    def get_config(self) -> dict[str, Any]:  # noqa: D102
        return {
            "peak": self.peak,
            "steps": self.steps,
            "warm_up": self.warm_up,
            "power": self.power,
            "ratio": self.ratio,
        }
