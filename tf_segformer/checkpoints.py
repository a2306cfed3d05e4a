"""Opens a checkpoint, whole or sharded, in a folder or on the Hub, and builds a model from it."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import SegformerConfig

from tf_segformer.configuration import ConfigError, check_config, read_config
from tf_segformer.hub import HUB_ARGUMENTS, find_file
from tf_segformer.weight_files import WeightFile, open_weight_file, state_dict_key
from tf_segformer.weights import Checkpoint, CheckpointError, load_weights

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
H5_FILE = "tf_model.h5"


def weights_files(from_pt: bool | None) -> tuple[str, ...]:
    """The file names to look for, in order of preference.

    Safetensors come first: they cannot run code and are read without a copy. Then HDF5, which needs no
    torch; pickles last. `from_pt=True` leaves HDF5 out, `from_pt=False` the pickles.
    """
    kinds = {
        None: (SAFETENSORS_FILE, H5_FILE, PICKLE_FILE),
        True: (SAFETENSORS_FILE, PICKLE_FILE),
        False: (SAFETENSORS_FILE, H5_FILE),
    }[from_pt]
    return tuple(name for kind in kinds for name in (kind, f"{kind}.index.json"))


WEIGHTS_FILES = weights_files(None)


def load_pretrained(
    model_class: type,
    name_or_path: str | os.PathLike,
    *,
    config: SegformerConfig | None,
    from_pt: bool | None,
    model_arguments: dict[str, Any],
    **kwargs: Any,
) -> Any:
    """Build `model_class` from a checkpoint; see `TFSegformerPreTrainedModel.from_pretrained`."""
    hub_arguments = {name: kwargs.pop(name) for name in HUB_ARGUMENTS if name in kwargs}
    if config is None:
        path = find_file(name_or_path, CONFIG_FILE, **hub_arguments)
        if path is None:
            raise CheckpointError(
                f"{name_or_path} holds no {CONFIG_FILE}; expected a folder or Hub repository with "
                f"{CONFIG_FILE} and weights beside it."
            )
        config = read_config(path, **kwargs)
    else:
        if kwargs:
            config = SegformerConfig.from_dict({**config.to_dict(), **kwargs})
        check_config(config)
    with open_checkpoint(name_or_path, from_pt, **hub_arguments) as checkpoint:
        model = model_class(config, **model_arguments)
        new_head = load_weights(model, checkpoint)
    if new_head:
        warnings.warn(
            f"{name_or_path} holds an encoder without the head of {model_class.__name__}: these weights are "
            f"new and need training: {', '.join(new_head)}.",
            stacklevel=3,
        )
    model.name_or_path = str(name_or_path)
    return model


def open_checkpoint(
    name_or_path: str | os.PathLike, from_pt: bool | None = None, **hub_arguments: Any
) -> "OpenCheckpoint":
    """Open the weights of a checkpoint, in the first of the forms `weights_files` lists that is there.

    Raises:
        CheckpointError: there are none, or a file is not what its name says.
    """
    names = weights_files(from_pt)
    for name in names:
        path = find_file(name_or_path, name, **hub_arguments)
        if path is None:
            continue
        if path.name.endswith(".index.json"):
            files = [_shard(name_or_path, shard, path, hub_arguments) for shard in _shard_names(path)]
            checkpoint = OpenCheckpoint(str(path), [open_weight_file(file) for file in files])
            _check_index(path, checkpoint)
            return checkpoint
        return OpenCheckpoint(str(path), [open_weight_file(path)])
    raise CheckpointError(
        f"{name_or_path} holds no {'PyTorch ' if from_pt else ''}weights; expected one of {', '.join(names)}."
    )


class OpenCheckpoint:
    """The files of one checkpoint as one state dict. A context manager: leaving it closes the files."""

    def __init__(self, source: str, files: list[WeightFile]) -> None:
        self.source = source
        self._files = files
        self._owner: dict[str, WeightFile] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        for file in files:
            for key, shape in file.shapes().items():
                if key in self._owner:
                    raise CheckpointError(
                        f"{source}: the weight {key!r} is in two of its files. Fetch the checkpoint again."
                    )
                self._owner[key] = file
                self._shapes[key] = shape

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every key with its shape."""
        return self._shapes

    def read(self, key: str) -> np.ndarray:
        """The value of one key."""
        return self._owner[key].read(key)

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._owner = {}
        self._files = []


def _shard_names(index: Path) -> list[str]:
    """The file names in an index JSON, each once, in order."""
    return list(dict.fromkeys(_weight_map(index).values()))


def _weight_map(index: Path) -> dict[str, str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        pairs = list(weight_map.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{index} is not the index of a sharded checkpoint ({type(error).__name__}: {error}); expected "
            "JSON with a 'weight_map' from weight names to file names. Fetch it again."
        ) from error
    for key, name in pairs:
        # A name with a folder in it could point outside the checkpoint.
        if not isinstance(name, str) or Path(name).name != name:
            raise CheckpointError(
                f"{index} places the weight {key!r} in {name!r}; expected the name of a file beside the "
                "index."
            )
    return dict(pairs)


def _shard(name_or_path: str | os.PathLike, shard: str, index: Path, hub_arguments: dict[str, Any]) -> Path:
    path = find_file(name_or_path, shard, **hub_arguments)
    if path is None:
        raise CheckpointError(
            f"{index} names the shard {shard!r}, which is not beside it. Fetch the missing file."
        )
    return path


def _check_index(index: Path, checkpoint: OpenCheckpoint) -> None:
    """Every weight that the index promises must be in the shards, and nothing else."""
    promised = {_promised_key(name, index) for name in _weight_map(index)}
    found = set(checkpoint.shapes())
    if promised != found:
        missing, extra = sorted(promised - found), sorted(found - promised)
        raise CheckpointError(
            f"{index} and its shards disagree: the shards lack {missing[:5]} and hold {extra[:5]} besides. "
            "Fetch the checkpoint again; its files come from different versions."
        )


def _promised_key(name: str, index: Path) -> str:
    """The state dict's key for a name in an index; TensorFlow's names end in `:0`."""
    if not name.endswith(":0"):
        return name
    if index.name.startswith(H5_FILE):
        name = name.partition("/")[2]  # the model's own name comes first there
    return state_dict_key(name.removesuffix(":0"))


__all__ = ["CheckpointError", "ConfigError", "load_pretrained", "open_checkpoint"]
