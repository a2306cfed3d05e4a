"""Batches for training out of a dataset of examples, without depending on the `datasets` package."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

_LABELS = ("labels", "label", "label_ids")
Collate = Callable[..., Mapping[str, Any]]


def tf_dataset(
    dataset: Any,
    *,
    batch_size: int,
    shuffle: bool,
    tokenizer: Any,
    collate_fn: Collate | None,
    collate_fn_args: Mapping[str, Any] | None,
    drop_remainder: bool,
    prefetch: bool,
    channel_axis: int,
) -> tf.data.Dataset:
    """See `prepare_tf_dataset` of the models; `channel_axis` is that of the pixel values."""
    _check(dataset, tokenizer)
    collate, arguments = collate_fn or stack, dict(collate_fn_args or {})

    def batch(indices: np.ndarray) -> dict[str, np.ndarray]:
        return _model_inputs(collate(_examples(dataset, [int(index) for index in indices]), **arguments))

    # The first examples say which fields there are, and of which type.
    first = batch(np.arange(min(batch_size, len(dataset))))
    names = list(first)

    def load(indices: tf.Tensor) -> Any:
        arrays = tf.numpy_function(
            lambda given: [batch(given)[name].astype(first[name].dtype, copy=False) for name in names],
            [indices],
            [tf.as_dtype(first[name].dtype) for name in names],
        )
        for name, array in zip(names, arrays, strict=True):
            # All batches share the rank and the number of channels; sizes may differ.
            shape: list[int | None] = [None] * first[name].ndim
            if name == "pixel_values" and len(shape) == 4:
                shape[channel_axis] = first[name].shape[channel_axis]
            array.set_shape(shape)
        return tuple(arrays) if len(names) > 1 else arrays[0]

    indices = tf.data.Dataset.range(len(dataset))
    if shuffle:
        indices = indices.shuffle(len(dataset))
    batches = indices.batch(batch_size, drop_remainder=drop_remainder).map(load)
    return batches.prefetch(tf.data.AUTOTUNE) if prefetch else batches


def stack(examples: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Stack each field of the examples that all of them hold.

    Raises:
        ValueError: there are no `pixel_values`, or the examples' sizes differ.
    """
    _require_pixel_values(examples[0])
    batch = {}
    for name in examples[0]:
        if name != "pixel_values" and name not in _LABELS:
            continue
        arrays = [np.asarray(example[name]) for example in examples]
        shapes = {array.shape for array in arrays}
        if len(shapes) > 1:
            raise ValueError(
                f"The examples' {name} have different shapes: {sorted(shapes)[:4]}; a batch needs one. "
                "Resize them in the image processor, or pass a collate_fn that pads them."
            )
        batch[name] = np.stack(arrays)
    return batch


def _check(dataset: Any, tokenizer: Any) -> None:
    if tokenizer is not None:
        raise ValueError(
            f"tokenizer is a {type(tokenizer).__name__}; expected None, for images have no tokens. Run the "
            "image processor on the dataset instead."
        )
    if not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")) or isinstance(dataset, Mapping):
        raise TypeError(
            f"dataset is a {type(dataset).__name__}; expected a datasets.Dataset or a sequence of dicts with "
            "'pixel_values' and 'labels'. A tf.data.Dataset needs no preparation: pass it to fit()."
        )
    if not len(dataset):
        raise ValueError("The dataset is empty; expected at least one example.")


def _examples(dataset: Any, indices: list[int]) -> list[Mapping[str, Any]]:
    """The examples at these places; `datasets.Dataset` reads several at once."""
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(indices)
    return [dataset[index] for index in indices]


def _require_pixel_values(fields: Mapping[str, Any]) -> None:
    if "pixel_values" not in fields:
        raise ValueError(
            f"The examples have the fields {sorted(fields)}; expected 'pixel_values', and 'labels' to train. "
            "Run the image processor on them first, e.g. with the dataset's map or set_transform."
        )


def _model_inputs(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The fields that a model takes, under its argument's names, pixel values first."""
    _require_pixel_values(batch)
    pixel_values = np.asarray(batch["pixel_values"])
    if pixel_values.dtype == np.float64:
        pixel_values = pixel_values.astype(np.float32)  # Python floats, as `datasets` returns them
    inputs = {"pixel_values": pixel_values}
    labels = next((batch[name] for name in _LABELS if name in batch), None)
    if labels is not None:
        labels = np.asarray(labels)
        inputs["labels"] = labels.astype(np.int64) if np.issubdtype(labels.dtype, np.integer) else labels
    return inputs
