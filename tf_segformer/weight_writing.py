"""Writes a model's weights as safetensors or HDF5, whole or sharded, in PyTorch's or the legacy layout.

The HDF5 layout is the one that transformers 4 wrote with Keras 2 and reads: a group for each layer of the
model, its weights listed in `weight_names`; in shards, the datasets lie at the root.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

from tf_segformer.checkpoint_files import H5_FILE
from tf_segformer.weights import LEGACY_RULES, torch_key, weights_by_key

# HDF5 keeps an attribute in the object's header, which has room for 64 KiB; a string is a 16-byte reference.
_NAMES_PER_ATTRIBUTE = 4000
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


@dataclass(frozen=True)
class Weight:
    """One weight to write; its value is read when it is.

    Attributes:
        name: In the file.
        index_name: In the index of a sharded checkpoint.
        size: In bytes.
        value: Reads it, in the file's layout.
    """

    name: str
    index_name: str
    size: int
    value: Callable[[], np.ndarray]


def pytorch_weights(model: keras.Model, buffers: dict[str, np.ndarray]) -> list[Weight]:
    """The model's weights as the PyTorch class of the same name saves them.

    Args:
        model: A SegFormer model.
        buffers: Values of PyTorch's buffers that Keras has no variable for, by published key. Those of a
            batch norm that is not among them are zero.
    """
    named = weights_by_key(model)
    bare = not any(not key.startswith("segformer.") for key in named)  # a model without a head has no prefix

    def spelled(key: str) -> str:
        return key.removeprefix("segformer.") if bare else key

    def reader(variable: Any, rule: Any) -> Callable[[], np.ndarray]:
        return lambda: np.ascontiguousarray(rule.to_torch(variable.numpy()))

    weights = [
        Weight(spelled(key), spelled(key), _size(variable), reader(variable, rule))
        for key, (variable, rule) in named.items()
    ]
    for key in named:
        if key.endswith(".running_mean"):
            counter = key.replace(".running_mean", ".num_batches_tracked")
            value = np.asarray(buffers.get(counter, 0), np.int64)
            weights.append(Weight(counter, counter, value.nbytes, lambda value=value: value))  # type: ignore[misc]
    return weights


def legacy_weights(model: keras.Model, model_class: type) -> list[Weight]:
    """The model's weights as the legacy TensorFlow class of the same name as `model_class` saves them."""
    prefix = snake_case(model_class.__name__)
    rules = {path: rule for path, rule in _paths_and_rules(model)}

    def reader(variable: Any, path: str) -> Callable[[], np.ndarray]:
        legacy = torch_key(path, LEGACY_RULES)[1]
        return lambda: np.ascontiguousarray(legacy.to_keras(rules[path].to_torch(variable.numpy())))

    weights = []
    variables = {variable.path.removeprefix(f"{model.path}/"): variable for variable in model.weights}
    for path in sorted(variables, key=_legacy_position):
        variable = variables[path]
        name = f"{path}:0"
        weights.append(Weight(name, f"{prefix}/{name}", _size(variable), reader(variable, path)))
    return weights


def write_weights(
    folder: Path,
    weights: Sequence[Weight],
    file_name: str,
    max_shard_size: int | str,
    metadata: dict[str, str],
) -> None:
    """Write one file, or shards and their index where it would be larger than `max_shard_size`.

    Args:
        folder: Where to.
        weights: In the order of the file.
        file_name: `model.safetensors` or `tf_model.h5`.
        max_shard_size: In bytes, or a text such as `"5GB"`. A weight that is larger gets its own shard.
        metadata: Of a safetensors file, `{"format": "pt"}` or `"tf"`.

    Raises:
        ValueError: `max_shard_size` is not a size.
    """
    shards = _shards(weights, size_in_bytes(max_shard_size))
    write = _write_h5_shard if file_name == H5_FILE else _safetensors_writer(metadata)
    if len(shards) == 1:
        if file_name == H5_FILE:
            _write_h5(folder / file_name, weights)
        else:
            write(folder / file_name, weights)
        return
    stem, _, suffix = file_name.rpartition(".")
    weight_map = {}
    for number, shard in enumerate(shards, start=1):
        name = f"{stem}-{number:05d}-of-{len(shards):05d}.{suffix}"
        write(folder / name, shard)
        weight_map.update({weight.index_name: name for weight in shard})
    total = sum(weight.size for weight in weights)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    text = json.dumps(index, indent=2) + "\n"
    (folder / f"{file_name}.index.json").write_text(text, encoding="utf-8")


def size_in_bytes(size: int | str) -> int:
    """A number of bytes out of a number, or of a text such as `"5GB"` or `"200MiB"`.

    Raises:
        ValueError: it is neither, or not positive.
    """
    match = re.fullmatch(r"(\d+)\s*([KMG]I?B|B|)", str(size).strip().upper())
    number = int(match[1]) * _UNITS[match[2]] if match else 0
    if number <= 0:
        raise ValueError(
            f"max_shard_size is {size!r}; expected a positive number of bytes, or a text such "
            "as '5GB' or '200MB'."
        )
    return number


def _shards(weights: Iterable[Weight], limit: int) -> list[list[Weight]]:
    shards: list[list[Weight]] = [[]]
    used = 0
    for weight in weights:
        if shards[-1] and used + weight.size > limit:
            shards.append([])
            used = 0
        shards[-1].append(weight)
        used += weight.size
    return shards


def save_safetensors(path: Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write a safetensors file with the mode of any new file; the library's only its owner may read."""
    path.touch()
    mode = path.stat().st_mode
    save_file(arrays, path, metadata)
    path.chmod(mode)


def _safetensors_writer(metadata: dict[str, str]) -> Callable[[Path, Sequence[Weight]], None]:
    def write(path: Path, weights: Sequence[Weight]) -> None:
        save_safetensors(path, {weight.name: weight.value() for weight in weights}, metadata)

    return write


def _write_h5(path: Path, weights: Sequence[Weight]) -> None:
    """A whole `tf_model.h5`: a group for each layer, holding `MODEL/LAYER/…:0`."""
    layers: dict[str, list[Weight]] = {}
    for weight in weights:
        layers.setdefault(weight.name.split("/")[0], []).append(weight)
    with h5py.File(path, "w") as file:
        _set_names(file, "layer_names", list(layers))
        file.attrs["backend"] = "tensorflow"
        file.attrs["keras_version"] = keras.__version__
        for layer in sorted(layers):
            group = file.create_group(layer)
            _set_names(group, "weight_names", [weight.index_name for weight in layers[layer]])
            for weight in layers[layer]:
                group.create_dataset(weight.index_name, data=_h5_value(weight))
        file.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)


def _write_h5_shard(path: Path, weights: Sequence[Weight]) -> None:
    with h5py.File(path, "w") as file:
        ordered = sorted(weights, key=lambda weight: weight.name)
        for weight in ordered:
            file.create_dataset(weight.name, data=_h5_value(weight))
        _set_names(file, "layer_names", [weight.name for weight in ordered])


def _set_names(group: h5py.Group, attribute: str, names: list[str]) -> None:
    """Set an attribute, split over `attribute0`, `attribute1`… where Keras 2 expects it to be."""
    if len(names) <= _NAMES_PER_ATTRIBUTE:
        group.attrs[attribute] = names
        return
    for number, start in enumerate(range(0, len(names), _NAMES_PER_ATTRIBUTE)):
        group.attrs[f"{attribute}{number}"] = names[start : start + _NAMES_PER_ATTRIBUTE]


def _h5_value(weight: Weight) -> np.ndarray:
    value = weight.value()
    # HDF5 has no bfloat16; the widening is exact
    return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


def _legacy_position(path: str) -> int:
    """Sorts paths in the legacy class's order, by which alone Keras 2's `load_weights` goes."""
    if "/moving_" in path:
        return 4
    position = re.match(r"segformer/encoder/(?:(patch_embeddings)|(block)|(layer_norm))\.", path)
    return position.lastindex - 1 if position and position.lastindex else 3


def _paths_and_rules(model: keras.Model) -> list[tuple[str, Any]]:
    return [
        (variable.path.removeprefix(f"{model.path}/"), rule)
        for variable, rule in weights_by_key(model).values()
    ]


def _size(variable: Any) -> int:
    return int(np.prod(variable.shape)) * tf.as_dtype(variable.dtype).size


def snake_case(name: str) -> str:
    """As Keras names a model after its class: TFSegformerModel → tf_segformer_model."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
