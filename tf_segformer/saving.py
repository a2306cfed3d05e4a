"""Writes a model as a folder that `from_pretrained` reads: `save_pretrained` without its class."""

import copy
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_segformer.atomic_folder import MARKER, SET_ASIDE_SUFFIX, replacing
from tf_segformer.checkpoint_files import FORMATS, H5_FILE, KERAS_FILE, SAFETENSORS_FILE, weights_format
from tf_segformer.checkpoints import CheckpointError, open_format
from tf_segformer.weight_loading import ignored, published_keys
from tf_segformer.weight_writing import (
    legacy_weights,
    pytorch_weights,
    size_in_bytes,
    snake_case,
    write_weights,
)
from tf_segformer.weights import weights_by_key

FILE_FORMATS = {"h5": H5_FILE, "safetensors": SAFETENSORS_FILE, "keras": KERAS_FILE}


def save_model(
    model: keras.Model,
    save_directory: str | os.PathLike,
    *,
    saved_model: bool = False,
    version: int = 1,
    signatures: Any = None,
    max_shard_size: int | str = "5GB",
    safe_serialization: bool = False,
    to_pt: bool = False,
    file_format: str | None = None,
) -> list[str]:
    """Write `config.json` and the weights; see `TFSegformerPreTrainedModel.save_pretrained`.

    Returns:
        The names of what was written.
    """
    file_name = _file_name(safe_serialization, to_pt, file_format)
    limit = size_in_bytes(max_shard_size)
    folder = Path(save_directory)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"save_directory is {folder}, which is a file; expected the path of a folder, which is made if "
            "it does not exist."
        )
    if saved_model and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
        raise ValueError(f"version is {version!r}; expected a number from 0 up.")
    with replacing(folder) as replacement:
        new = replacement.new
        _write_config(model, new / MARKER)
        if file_name == KERAS_FILE:
            _write_keras(model, new / KERAS_FILE, limit)
        elif to_pt:
            write_weights(new, pytorch_weights(model, _buffers(model)), file_name, limit, {"format": "pt"})
        else:
            write_weights(new, legacy_weights(model, _own_class(model)), file_name, limit, {"format": "tf"})
        if saved_model:
            from tf_segformer.saved_models import write_saved_model

            write_saved_model(model, new / "saved_model" / str(version), signatures)
        names = [path.name for path in folder.iterdir()]
        replacement.remove = [name for name in names if weights_format(name) == file_name]
        replacement.set_aside = _of_other_models(model, folder, names, file_name)
        written = sorted(path.name for path in new.iterdir())
    if replacement.set_aside:
        warnings.warn(
            f"{folder} held other weights, which from_pretrained could have taken for this model's: "
            f"{', '.join(replacement.set_aside)}. Their names now end in {SET_ASIDE_SUFFIX}.",
            stacklevel=3,
        )
    return written


def _file_name(safe_serialization: bool, to_pt: bool, file_format: str | None) -> str:
    if file_format is not None and file_format not in FILE_FORMATS:
        raise ValueError(f"file_format is {file_format!r}; expected one of {', '.join(FILE_FORMATS)}.")
    if to_pt and file_format not in (None, "safetensors"):
        raise ValueError(
            f"to_pt=True writes safetensors, not file_format={file_format!r}; leave one of the two out."
        )
    if safe_serialization and file_format not in (None, "safetensors"):
        raise ValueError(
            f"safe_serialization=True means safetensors, not file_format={file_format!r}; leave one of the "
            "two out."
        )
    if file_format is not None:
        return FILE_FORMATS[file_format]
    return SAFETENSORS_FILE if safe_serialization or to_pt else H5_FILE


def _write_config(model: keras.Model, path: Path) -> None:
    config = copy.deepcopy(model.config)
    config.architectures = [_own_class(model).__name__.removeprefix("TF")]
    config.dtype = str(model.variable_dtype)  # transformers 5 builds the PyTorch model in it
    path.write_text(config.to_json_string(), encoding="utf-8")


def _write_keras(model: keras.Model, path: Path, limit: int) -> None:
    """The model in Keras' own format, as if never compiled: neither optimiser nor loss."""
    size = sum(weight.size for weight in legacy_weights(model, _own_class(model)))
    if size > limit:
        raise ValueError(
            f"max_shard_size is {limit} bytes and the weights have {size}, but a .keras file cannot be "
            "sharded. Raise max_shard_size, or choose another file_format."
        )
    own = _own_class(model)
    name = snake_case(own.__name__)  # Keras numbers the names of later models, which would end up in the file
    plain = own(model.config, data_format=model.data_format, dtype=model.dtype_policy, name=name)
    for target, source in zip(plain.weights, model.weights, strict=True):
        target.assign(source)
    plain.save(path)


def _own_class(model: keras.Model) -> type:
    """The class of this package that the model is of, or that its class derives from."""
    from tf_segformer import modeling

    own = {getattr(modeling, name) for name in modeling.__all__}
    return next(cls for cls in type(model).__mro__ if cls in own)


def _buffers(model: keras.Model) -> dict[str, np.ndarray]:
    info = getattr(model, "loading_info", None)
    return info.buffers if info is not None else {}


def _of_other_models(model: keras.Model, folder: Path, names: list[str], file_name: str) -> list[str]:
    """Files of weights in other formats than the new one's that do not hold this model's."""
    others = [kind for kind in FORMATS if kind != file_name]
    present = {kind: [name for name in names if weights_format(name) == kind] for kind in others}
    return [
        name for kind, files in present.items() if files and not _holds(model, folder, kind) for name in files
    ]


def _holds(model: keras.Model, folder: Path, kind: str) -> bool:
    """Whether the folder's weights of one format are the model's, bit for bit in the model's precision."""
    wanted: Mapping[str, Any] = weights_by_key(model)
    try:
        with open_format(folder, kind) as checkpoint:
            found = published_keys(checkpoint)
            if {key for key in found if not ignored(key)} != set(wanted):
                return False
            for key, (variable, rule) in wanted.items():
                value = variable.numpy()
                stored = rule.to_keras(checkpoint.read(found[key])).astype(value.dtype)
                if stored.shape != value.shape or stored.tobytes() != value.tobytes():
                    return False
    except CheckpointError:
        return False
    return True
