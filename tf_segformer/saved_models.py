"""The SavedModel that `save_pretrained(saved_model=True)` writes: pixel values in, the model's outputs out.

For a server that takes image bytes and returns label maps, use `python -m serving export`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


def write_saved_model(model: keras.Model, folder: Path, signatures: Any = None) -> None:
    """Write a SavedModel with the signature `serving_default`, for images of any size.

    It takes `pixel_values`, (B, channels, H, W) float32, or as the model's `data_format` says, and returns
    what the model does except what is None: `logits` or `last_hidden_state`, in float32, and with
    `config.output_hidden_states` and `config.output_attentions` also `hidden_states_0`…, `attentions_0`….

    Args:
        model: A SegFormer model.
        folder: Made by this call.
        signatures: Instead of that one: a `tf.function` with an input signature, or a dict of them by name.

    Raises:
        ValueError: a signature is no such function.
    """
    if signatures is None:
        signatures = {"serving_default": _serving_function(model)}
    elif not isinstance(signatures, Mapping):
        signatures = {"serving_default": signatures}
    for name, function in signatures.items():
        if not callable(function):
            raise ValueError(
                f"signatures[{name!r}] is a {type(function).__name__}; expected a tf.function with an input "
                "signature. For signatures of image bytes, use `python -m serving export`."
            )
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, function in signatures.items():
        archive.add_endpoint(name, function)
    archive.write_out(str(folder), verbose=False)


def _serving_function(model: keras.Model) -> Any:
    """The model's own `serving`, of a tensor, in and out in float64 where the model computes in it."""
    spec = model.input_signature["pixel_values"]
    dtype = tf.float64 if model.compute_dtype == "float64" else spec.dtype

    @tf.function(input_signature=[tf.TensorSpec(spec.shape, dtype, name=spec.name)])
    def serving_default(pixel_values: tf.Tensor) -> dict[str, tf.Tensor]:
        output = model.eager_serving(pixel_values)
        return {name: tf.cast(value, dtype) for name, value in output.items()}

    return serving_default
