"""Reads PyTorch checkpoints: safetensors and pickled, whole and sharded, from a folder or from the Hub."""

import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from transformers import SegformerConfig

from tf_segformer.configuration import ConfigError, check_config, read_config
from tf_segformer.hub import HUB_ARGUMENTS, find_file
from tf_segformer.weights import Checkpoint, CheckpointError, load_weights

CONFIG_FILE = "config.json"
SAFETENSORS_FILE = "model.safetensors"
PICKLE_FILE = "pytorch_model.bin"
# In order of preference: safetensors cannot run code and are read without a copy.
WEIGHTS_FILES = (
    SAFETENSORS_FILE,
    f"{SAFETENSORS_FILE}.index.json",
    PICKLE_FILE,
    f"{PICKLE_FILE}.index.json",
)


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
    if from_pt is False:
        raise CheckpointError(
            "from_pt=False asks for TensorFlow weights (tf_model.h5), which this version does not read. "
            "Leave from_pt out, and the PyTorch weights beside them are used."
        )
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
    with open_checkpoint(name_or_path, **hub_arguments) as checkpoint:
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


def open_checkpoint(name_or_path: str | os.PathLike, **hub_arguments: Any) -> "OpenCheckpoint":
    """Open the weights of a checkpoint, in whichever of the PyTorch forms they are.

    Raises:
        CheckpointError: there are none, or a file is not what its name says.
    """
    for name in WEIGHTS_FILES:
        path = find_file(name_or_path, name, **hub_arguments)
        if path is None:
            continue
        if path.name.endswith(".index.json"):
            files = [_shard(name_or_path, shard, path, hub_arguments) for shard in _shard_names(path)]
            checkpoint = OpenCheckpoint(str(path), [_open_file(file) for file in files])
            _check_index(path, checkpoint)
            return checkpoint
        return OpenCheckpoint(str(path), [_open_file(path)])
    raise CheckpointError(
        f"{name_or_path} holds no PyTorch weights; expected one of {', '.join(WEIGHTS_FILES)}."
    )


class OpenCheckpoint:
    """The files of one checkpoint as one state dict. A context manager: leaving it closes the files."""

    def __init__(self, source: str, files: "list[_SafetensorsFile | _PickleFile]") -> None:
        self.source = source
        self._files = files
        self._owner: dict[str, _SafetensorsFile | _PickleFile] = {}
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


class _SafetensorsFile:
    """One safetensors file, memory-mapped."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = safe_open(path, framework="np")
            self._shapes = {
                key: tuple(self._file.get_slice(key).get_shape())
                for key in self._file.keys()  # noqa: SIM118
            }
            metadata = self._file.metadata() or {}
        except (SafetensorError, OSError, ValueError) as error:
            raise _unreadable(path, "safetensors file", error) from error
        if metadata.get("format", "pt") not in ("pt", "np"):
            raise CheckpointError(
                f"{path} holds weights of format {metadata['format']!r}; expected PyTorch's ('pt'). Use the "
                "PyTorch checkpoint that it was converted from."
            )
        self._path = path

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def read(self, key: str) -> np.ndarray:
        try:
            value = self._file.get_tensor(key)
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise _unreadable(self._path, "safetensors file", error) from error
        # NumPy knows bfloat16 only as a foreign type; the widening is exact
        return value.astype(np.float32) if value.dtype.name == "bfloat16" else value


class _PickleFile:
    """One `pytorch_model.bin`, read with `weights_only=True`: a pickle could run code."""

    def __init__(self, path: Path) -> None:
        try:
            import torch
        except ImportError as error:
            raise CheckpointError(
                f"{path} is a PyTorch pickle, and reading it needs torch, which is not installed: "
                "`pip install 'tf-segformer[torch]'`. A model.safetensors beside it would need no torch."
            ) from error
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for damaged and for unsafe files
            raise _unreadable(path, "PyTorch state dict", error) from error
        if not isinstance(state, Mapping) or not all(
            isinstance(key, str) and isinstance(value, torch.Tensor) for key, value in state.items()
        ):
            raise CheckpointError(
                f"{path} holds a {type(state).__name__} that is not a state dict; expected names with "
                "tensors. If it is a training checkpoint, save its model's state_dict() by itself."
            )
        self._state: Mapping[str, Any] = state

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: tuple(value.shape) for key, value in self._state.items()}

    def read(self, key: str) -> np.ndarray:
        value = self._state[key].detach()
        if value.dtype.is_floating_point and value.dtype.itemsize < 4:
            value = value.float()  # exact; NumPy has no bfloat16
        return value.numpy()


def _open_file(path: Path) -> _SafetensorsFile | _PickleFile:
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty (0 bytes). Fetch the checkpoint again.")
    return _SafetensorsFile(path) if path.suffix == ".safetensors" else _PickleFile(path)


def _unreadable(path: Path, kind: str, error: Exception) -> CheckpointError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a readable {kind}: {first_line} The file is damaged, "
        "cut short, or something else under this name (a Git LFS pointer or an error page, for example); "
        "fetch it again."
    )


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
    promised, found = set(_weight_map(index)), set(checkpoint.shapes())
    if promised != found:
        missing, extra = sorted(promised - found), sorted(found - promised)
        raise CheckpointError(
            f"{index} and its shards disagree: the shards lack {missing[:5]} and hold {extra[:5]} besides. "
            "Fetch the checkpoint again; its files come from different versions."
        )


__all__ = ["CheckpointError", "ConfigError", "load_pretrained", "open_checkpoint"]
