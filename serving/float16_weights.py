"""Weights that lie in float16 in a SavedModel, and are float32 variables once it is loaded.

A loader restores a checkpoint into the variables before the first request. Here the checkpoint holds
float16, and the restore casts: in TensorFlow Serving and in a Session by the graph's restore operation, in
``tf.saved_model.load`` by the restore function of the object below. No request casts anything.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from serving.precision import PrecisionError

SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)


class Float16Weights(tf.Module):
    """What a SavedModel's checkpoint holds in place of a network's matrices and convolution kernels.

    Biases and LayerNorm's parameters, about a hundredth of the weights, stay as they are. So does a kernel
    all of whose values are below float16's normal range (6.1e-5): there it has fewer than 11 bits.

    Args:
        network: its float32 variables of two or more dimensions are rounded to float16 in place, so that it
            computes from now on what the loaded SavedModel will.

    Raises:
        PrecisionError: a weight is beyond float16's range (65504), or no number.
    """

    def __init__(self, network: tf.Module) -> None:
        super().__init__(name="float16_weights")
        self._variables = {
            name: variable for name, variable in _named_variables(network) if _is_stored(variable)
        }
        for name, variable in self._variables.items():
            variable.assign(_rounded(variable.numpy(), name))
            _leave_out_of_checkpoint(variable)
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


def _named_variables(network: tf.Module) -> list[tuple[str, tf.Variable]]:
    found = network._flatten(predicate=lambda value: isinstance(value, tf.Variable), with_path=True)
    return [("-".join(map(str, path)), variable) for path, variable in found]


def _is_stored(variable: tf.Variable) -> bool:
    largest = np.abs(variable.numpy()).max(initial=0.0)
    return variable.shape.rank > 1 and not 0 < largest < SMALLEST_NORMAL


def _rounded(value: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        rounded = value.astype(np.float16)
    if not np.isfinite(rounded).all():
        wrong = value[~np.isfinite(rounded)].flat[0]
        raise PrecisionError(
            f"The weight {name} holds {wrong:.6g}; float16 holds numbers up to "
            f"{np.finfo(np.float16).max:.0f}. Export this checkpoint with weights in float32."
        )
    return rounded.astype(np.float32)


def _leave_out_of_checkpoint(variable: Any) -> None:
    """Save nothing of a variable by itself, nor of the one that stands for it in a SavedModel's graph."""
    export = variable._export_to_saved_model_graph

    def export_without_value(object_map: Any, **others: Any) -> Any:
        handles = export(object_map=object_map, **others)
        object_map[variable]._serialize_to_tensors = dict
        return handles

    variable._serialize_to_tensors = dict
    variable._export_to_saved_model_graph = export_without_value
