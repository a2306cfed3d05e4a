"""Weights that lie in float16 in a SavedModel, and are float32 variables once it is loaded.

A loader restores a checkpoint into the variables before the first request. Here the checkpoint holds
float16, and the restore casts: in TensorFlow Serving and in a Session by the graph's restore operation, in
``tf.saved_model.load`` by the restore function of the object below. No request casts anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from serving.precision import PrecisionError
from tf_segformer.inference_layers import Weight
from tf_segformer.packed_weights import StackedWeight

SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)


class Float16Weights(tf.Module):
    """What a SavedModel's checkpoint holds in place of a network's matrices and convolution kernels.

    Biases, LayerNorm's parameters and what is convolved (constants) stay as they are. So does a kernel
    all of whose values are below float16's normal range (6.1e-5), where it has fewer than 11 bits, and those
    that share a variable with it.

    Args:
        network: its float32 weights of two or more dimensions are rounded to float16 in place, so that it
            computes from now on what the loaded SavedModel will.

    Raises:
        PrecisionError: a weight is beyond float16's range (65504), or no number.
    """

    def __init__(self, network: tf.Module) -> None:
        super().__init__(name="float16_weights")
        self._variables: dict[str, tf.Variable] = {}
        for name, variable, weights in _matrices(network):
            values = variable.numpy()
            stack = values if len(weights) > 1 else values[None]
            if any(map(_is_too_small, stack)):
                continue
            for weight, value in zip(weights, stack, strict=True):
                _check_range(value, weight)
            variable.assign(values.astype(np.float16).astype(np.float32))
            _leave_out_of_checkpoint(variable)
            self._variables[name] = variable
        names = self._variables

        # Concrete functions, under the names by which `tf.saved_model.save` finds how an object is saved and
        # restored (`tensorflow/python/trackable/base.py`): their captured variables are then mapped to the
        # SavedModel's own.
        @tf.function(input_signature=[], autograph=False)
        def save() -> dict[str, tf.Tensor]:
            return {name: tf.cast(variable, tf.float16) for name, variable in names.items()}

        specs = {name: tf.TensorSpec(variable.shape, tf.float16) for name, variable in names.items()}

        @tf.function(input_signature=[specs], autograph=False)
        def restore(tensors: dict[str, tf.Tensor]) -> tf.Tensor:
            for name, variable in names.items():
                variable.assign(tf.cast(tensors[name], tf.float32))
            return tf.constant(0)

        self._serialize_to_tensors = save.get_concrete_function()
        self._restore_from_tensors = restore.get_concrete_function()

    def _trackable_children(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Nothing: the variables are the network's, and saving follows the two functions by itself."""
        return {}


def _matrices(network: tf.Module) -> Iterator[tuple[str, tf.Variable, list[str]]]:
    """Give the variables that hold matrices and kernels: a name, the variable, and its weights' names."""
    alone: list[tuple[str, tf.Variable, list[str]]] = []
    stacks: dict[int, tuple[str, tf.Variable, list[tuple[int, str]]]] = {}
    found = network._flatten(predicate=lambda value: isinstance(value, Weight), with_path=True)
    for path, weight in found:
        if len(weight.shape) < 2 or weight.is_constant:
            continue
        name, held = "-".join(map(str, path)), weight.variable
        if isinstance(held, StackedWeight):
            stacks.setdefault(id(held.stack), (name, held.stack.variable, []))[2].append((held.index, name))
        else:
            alone.append((name, held, [name]))
    yield from alone
    for name, variable, members in stacks.values():
        yield name, variable, [member for _, member in sorted(members)]


def _is_too_small(value: np.ndarray) -> bool:
    return bool(0 < np.abs(value).max(initial=0.0) < SMALLEST_NORMAL)


def _check_range(value: np.ndarray, name: str) -> None:
    with np.errstate(over="ignore"):
        rounded = value.astype(np.float16)
    if not np.isfinite(rounded).all():
        wrong = value[~np.isfinite(rounded)].flat[0]
        raise PrecisionError(
            f"The weight {name} holds {wrong:.6g}; float16 holds numbers up to "
            f"{np.finfo(np.float16).max:.0f}. Export this checkpoint with weights in float32."
        )


def _leave_out_of_checkpoint(variable: Any) -> None:
    """Save nothing of a variable by itself, nor of the one that stands for it in a SavedModel's graph."""
    export = variable._export_to_saved_model_graph

    def export_without_value(object_map: Any, **others: Any) -> Any:
        handles = export(object_map=object_map, **others)
        object_map[variable]._serialize_to_tensors = dict
        return handles

    variable._serialize_to_tensors = dict
    variable._export_to_saved_model_graph = export_without_value
