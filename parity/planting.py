"""How mistakes are planted into a Keras model, and undone at the end of a `with` block."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

Plant = Callable[[Any], contextlib.AbstractContextManager[None]]


def nothing(model: Any) -> contextlib.AbstractContextManager[None]:
    """Leave the model as it is."""
    return contextlib.nullcontext()


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


def swap_weights(first: str, second: str, parts: Sequence[str] = ("kernel", "bias")) -> Plant:
    """Two layers got each other's weights."""

    @contextlib.contextmanager
    def plant(model: Any) -> Iterator[None]:
        pairs = [(weights(model, f"{first}/{part}"), weights(model, f"{second}/{part}")) for part in parts]
        for left, right in pairs:
            _exchange(left, right)
        try:
            yield
        finally:
            for left, right in pairs:
                _exchange(left, right)

    return plant


def change_attribute(find: Callable[[Any], list[Any]], name: str, wrong: Any) -> Plant:
    """A fault in how layers are set up: an attribute of all that `find` finds in the model."""

    @contextlib.contextmanager
    def plant(model: Any) -> Iterator[None]:
        found = find(model)
        before = [getattr(each, name) for each in found]
        for each in found:
            setattr(each, name, wrong(each) if callable(wrong) else wrong)
        try:
            yield
        finally:
            for each, value in zip(found, before, strict=True):
                setattr(each, name, value)

    return plant


def change_function(find: Callable[[Any], Any], name: str, wrong: Callable[[Callable], Callable]) -> Plant:
    """A fault in a formula: the module of what `find` finds calls `wrong(f)` where it says `f`.

    Args:
        find: a layer of the model; its module's namespace is changed.
        name: the function as the module calls it, e.g. `tf.concat` or `resize_bilinear`.
        wrong: from the right function to the wrong one.
    """

    @contextlib.contextmanager
    def plant(model: Any) -> Iterator[None]:
        module = inspect.getmodule(type(find(model)))
        outer, *inner = name.split(".")
        right = getattr(module, outer)
        setattr(module, outer, _changed(right, inner, wrong))
        try:
            yield
        finally:
            setattr(module, outer, right)

    return plant


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


class _Changed:
    """A namespace in which one name means something else."""

    def __init__(self, right: Any, name: str, value: Any) -> None:
        self._right, self._name, self._value = right, name, value

    def __getattr__(self, name: str) -> Any:
        return self._value if name == self._name else getattr(self._right, name)


def _changed(right: Any, inner: list[str], wrong: Callable[[Callable], Callable]) -> Any:
    if not inner:
        return wrong(right)
    name, *rest = inner
    return _Changed(right, name, _changed(getattr(right, name), rest, wrong))


def _exchange(left: Any, right: Any) -> None:
    value = left.numpy()
    left.assign(right.numpy())
    right.assign(value)
