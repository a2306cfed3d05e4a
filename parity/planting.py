"""How mistakes are planted into a Keras model, and undone at the end of a `with` block."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Plant = Callable[[Any], contextlib.AbstractContextManager[None]]


def weights(model: Any, path: str) -> Any:
    """The one variable of a Keras model whose path ends in `path`."""
    found = [each for each in model.variables if each.path.endswith(path)]
    if len(found) != 1:
        raise LookupError(f"{len(found)} variables end in {path!r}, expected one")
    return found[0]


def change_weights(path: str, change: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """A fault in one variable: `change` maps its right value to the wrong one."""

    @contextlib.contextmanager
    def plant(model: Any) -> Iterator[None]:
        variable = weights(model, path)
        right = variable.numpy()
        variable.assign(change(right))
        try:
            yield
        finally:
            variable.assign(right)

    return plant


def swap_weights(first: str, second: str) -> Plant:
    """Two layers got each other's weights."""

    @contextlib.contextmanager
    def plant(model: Any) -> Iterator[None]:
        pairs = [
            (weights(model, f"{first}/{part}"), weights(model, f"{second}/{part}"))
            for part in ("kernel", "bias")
        ]
        for left, right in pairs:
            _exchange(left, right)
        try:
            yield
        finally:
            for left, right in pairs:
                _exchange(left, right)

    return plant


@contextlib.contextmanager
def layer_norm_epsilon(model: Any) -> Iterator[None]:
    """Every LayerNorm uses the config's `layer_norm_eps`, 1e-6, which the reference never reads."""
    import keras

    norms = [
        layer
        for layer in model._flatten_layers()  # Keras has no public way to reach nested layers
        if isinstance(layer, keras.layers.LayerNormalization)
    ]
    before = [norm.epsilon for norm in norms]
    for norm in norms:
        norm.epsilon = 1e-6
    try:
        yield
    finally:
        for norm, epsilon in zip(norms, before, strict=True):
            norm.epsilon = epsilon


@contextlib.contextmanager
def tanh_gelu(model: Any) -> Iterator[None]:
    """The tanh approximation of GELU instead of the exact one."""
    from tf_segformer import numerics

    exact = numerics.ACTIVATIONS["gelu"]
    numerics.ACTIVATIONS["gelu"] = numerics.ACTIVATIONS["gelu_pytorch_tanh"]
    try:
        yield
    finally:
        numerics.ACTIVATIONS["gelu"] = exact


@contextlib.contextmanager
def reversed_concatenation(model: Any) -> Iterator[None]:
    """The decode head concatenates stage 1 first."""
    module: Any = inspect.getmodule(type(model.decode_head))

    class Reversing:
        """TensorFlow, but for the order of a concatenation."""

        def __getattr__(self, name: str) -> Any:
            return getattr(tensorflow, name)

        def concat(self, values: list[Any], axis: int) -> Any:
            return tensorflow.concat(values[::-1], axis=axis)

    tensorflow = module.tf
    module.tf = Reversing()
    try:
        yield
    finally:
        module.tf = tensorflow


def _exchange(left: Any, right: Any) -> None:
    value = left.numpy()
    left.assign(right.numpy())
    right.assign(value)
