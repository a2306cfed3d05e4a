"""Opens the weights of a checkpoint, whole or sharded, as one PyTorch state dict."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_segformer.checkpoint_files import is_index, weights_files
from tf_segformer.configuration import ConfigError
from tf_segformer.hub import Source
from tf_segformer.hub_errors import CheckpointNotFoundError
from tf_segformer.weight_files import KerasLayout, WeightFile, open_weight_file, state_dict_key
from tf_segformer.weights import Checkpoint, CheckpointError

CONFIG_FILE = "config.json"
WEIGHTS_FILES = weights_files()
_MAX_INDEX_BYTES = 1 << 26
# What a weight's path begins with below the model's own name.
_TOP_LEVEL = ("segformer", "decode_head", "classifier")


def open_checkpoint(
    source: Source | str | os.PathLike,
    from_pt: bool | None = None,
    use_safetensors: bool | None = None,
    variant: str | None = None,
    **hub_arguments: Any,
) -> "OpenCheckpoint":
    """Open the weights of a checkpoint, in the first of the forms `weights_files` lists that is there.

    Args:
        source: Where it is, a folder or a Hub id.
        from_pt: True reads PyTorch's weights only, False no pickles; None whatever is there.
        use_safetensors: True reads safetensors only, False anything else.
        variant: Of the files' names, e.g. `"fp16"`.
        **hub_arguments: See `Source`.

    Raises:
        CheckpointNotFoundError: there are none.
        CheckpointError: a file is not what its name says.
    """
    if not isinstance(source, Source):
        source = Source(source, **hub_arguments)
    names = weights_files(from_pt, use_safetensors, variant)
    for name in names:
        path = source.find(name)
        if path is None:
            continue
        checkpoint = _open(source, path)
        if from_pt and checkpoint.keras_layout:
            continue  # safetensors in TensorFlow's layout
        return checkpoint
    raise source.absence(_wanted(from_pt, use_safetensors, variant), _instead(source, names, variant))


def open_format(folder: Path, file_name: str) -> "OpenCheckpoint":
    """Open a folder's weights of one format, e.g. `tf_model.h5`, whole or sharded.

    Raises:
        CheckpointError: there are none, or a file is not what its name says.
    """
    source = Source(folder)
    path = source.find(file_name) or source.require(f"{file_name}.index.json")
    return _open(source, path)


def _open(source: Source, path: Path) -> "OpenCheckpoint":
    """Open a file of weights, or all that an index names."""
    if not is_index(path.name):
        return open_file(path)
    shards = [_shard(source, shard, path) for shard in _shard_names(path)]
    checkpoint = OpenCheckpoint(str(path), [open_weight_file(shard) for shard in shards])
    _check_index(path, checkpoint)
    return checkpoint


def open_file(path: Path) -> "OpenCheckpoint":
    """Open one file of weights by itself.

    Raises:
        CheckpointError: it is not what its name says.
    """
    return OpenCheckpoint(str(path), [open_weight_file(path)])


class OpenCheckpoint:
    """The files of one checkpoint as one state dict. A context manager: leaving it closes the files.

    Attributes:
        source: The path of the file or the index.
        keras_layout: Whether TensorFlow wrote it.
    """

    def __init__(self, source: str, files: list[WeightFile]) -> None:
        self.source = source
        self.keras_layout = any(isinstance(file, KerasLayout) for file in files)
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


def _wanted(from_pt: bool | None, use_safetensors: bool | None, variant: str | None) -> str:
    kind = "PyTorch weights" if from_pt else "weights"
    kind = f"safetensors {kind}" if use_safetensors else kind
    return f"{kind} of the variant {variant!r}" if variant else kind


def _instead(source: Source, names: tuple[str, ...], variant: str | None) -> str:
    """What was looked for, and weights that are there but were not asked for."""
    there = next((name for name in WEIGHTS_FILES if name not in names and source.find(name)), None)
    hint = f"; expected one of {', '.join(names)}"
    if there is None:
        return hint
    argument = "variant" if variant else "from_pt and use_safetensors"
    return f"{hint}. It has {there}, which is read without {argument}"


def _shard_names(index: Path) -> list[str]:
    """The file names in an index JSON, each once, in order."""
    return list(dict.fromkeys(_weight_map(index).values()))


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError(f"it is larger than {_MAX_INDEX_BYTES} bytes")
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


def _shard(source: Source, shard: str, index: Path) -> Path:
    path = source.find(shard)
    if path is not None:
        return path
    if source.unreachable is not None:
        raise source.absence(shard)
    raise CheckpointNotFoundError(
        f"{index} names the shard {shard!r}, which is not beside it. Fetch the missing file."
    )


def _check_index(index: Path, checkpoint: OpenCheckpoint) -> None:
    """Every weight that the index promises must be in the shards, and nothing else."""
    promised = {_promised_key(name) for name in _weight_map(index)}
    found = set(checkpoint.shapes())
    if promised != found:
        missing, extra = sorted(promised - found), sorted(found - promised)
        raise CheckpointError(
            f"{index} and its shards disagree: the shards lack {missing[:5]} and hold {extra[:5]} besides. "
            "Fetch the checkpoint again; its files come from different versions."
        )


def _promised_key(name: str) -> str:
    """The state dict's key for a name in an index; TensorFlow's names end in `:0`."""
    if not name.endswith(":0"):
        return name
    first, _, rest = name.partition("/")
    # the model's own name comes first in the legacy class's indices
    path = name if first in _TOP_LEVEL else rest
    return state_dict_key(path.removesuffix(":0"))


__all__ = ["CheckpointError", "CheckpointNotFoundError", "ConfigError", "open_checkpoint"]
