"""The files that hold weights, each read as a PyTorch state dict: safetensors, pickles, HDF5 and .keras.

Files in TensorFlow's layout (TF safetensors, `tf_model.h5`) name and shape weights as Keras does; read
backwards through the table of rules they are PyTorch state dicts too, so that one path loads them all.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from safetensors import SafetensorError, safe_open

from tf_segformer.weights import LEGACY_RULES, CheckpointError, Rule, torch_key


class WeightFile(Protocol):
    """One file's weights: names and shapes are cheap, values are read one at a time."""

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every key with its shape, as in PyTorch."""

    def read(self, key: str) -> np.ndarray:
        """The value of one key, in PyTorch's layout."""


def open_weight_file(path: Path) -> WeightFile:
    """Open a file by what its name says it is.

    Raises:
        CheckpointError: it is something else, damaged or empty.
    """
    if not path.stat().st_size:
        raise CheckpointError(f"{path} is empty (0 bytes). Fetch the checkpoint again.")
    if path.suffix == ".safetensors":
        file = _SafetensorsFile(path)
        return KerasLayout(file, file.paths()) if file.format == "tf" else file
    if path.suffix == ".h5":
        h5_file = _H5File(path)
        return KerasLayout(h5_file, h5_file.paths())
    if path.suffix == ".keras":
        from tf_segformer.keras_archive import KerasArchive

        return KerasArchive(path)
    return _PickleFile(path)


def state_dict_key(path: str) -> str:
    """The PyTorch key of a weight's path in a TensorFlow file; an unknown path stays, to be reported."""
    try:
        return torch_key(path, LEGACY_RULES)[0]
    except KeyError:
        return path


class KerasLayout:
    """Weights in Keras' names and layout, seen as a PyTorch state dict.

    Args:
        file: Reads a weight by its name in the file.
        paths: The variable's path for each name in the file, e.g. `decode_head/classifier/kernel`.
    """

    def __init__(self, file: WeightFile, paths: Mapping[str, str]) -> None:
        self._file = file
        self._names: dict[str, str] = {}
        self._rules: dict[str, Rule | None] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        shapes = file.shapes()
        for name, path in paths.items():
            key = state_dict_key(path)
            rule = None if key == path else torch_key(path, LEGACY_RULES)[1]
            shape = shapes[name]
            if rule is not None and (rule.axes is None or len(rule.axes) == len(shape)):
                shape = rule.torch_shape(shape)
            self._names[key], self._rules[key], self._shapes[key] = name, rule, shape

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every key with its shape, as in PyTorch."""
        return self._shapes

    def read(self, key: str) -> np.ndarray:
        """The value of one key, in PyTorch's layout."""
        value, rule = self._file.read(self._names[key]), self._rules[key]
        return value if rule is None else rule.to_torch(value)


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
        self.format = metadata.get("format", "pt")
        if self.format not in ("pt", "np", "tf"):
            raise CheckpointError(
                f"{path} holds weights of format {self.format!r}; expected PyTorch's ('pt') or TensorFlow's "
                "('tf')."
            )
        self._path = path

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self._shapes

    def paths(self) -> dict[str, str]:
        """For a file in TensorFlow's layout: the variable's path of each name."""
        return {name: _path(name, skip=0) for name in self._shapes}

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


class _H5File:
    """One `tf_model.h5`, or one shard of one, as the legacy TensorFlow classes wrote them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            self._datasets: dict[str, h5py.Dataset] = {}
            self._file.visititems(self._collect)
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise _unreadable(path, "HDF5 file", error) from error

    def _collect(self, name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            self._datasets[name] = item

    def paths(self) -> dict[str, str]:
        """Whole files nest `<layer>/<model's name>/<path>:0`; shards hold `<path>:0` at their root."""
        whole = any("weight_names" in self._file[group].attrs for group in self._file)
        return {name: _path(name, skip=2 if whole else 0) for name in self._datasets}

    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(dataset.shape) for name, dataset in self._datasets.items()}

    def read(self, key: str) -> np.ndarray:
        try:
            return np.asarray(self._datasets[key][()])
        except (OSError, RuntimeError, ValueError) as error:
            raise _unreadable(self._path, "HDF5 file", error) from error


def _path(name: str, skip: int) -> str:
    """A variable's path out of a name in a TensorFlow file, without the first `skip` components and `:0`."""
    return "/".join(name.split("/")[skip:]).removesuffix(":0")


def _unreadable(path: Path, kind: str, error: Exception) -> CheckpointError:
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) is not a readable {kind}: {first_line} The file is damaged, "
        "cut short, or something else under this name (a Git LFS pointer or an error page, for example); "
        "fetch it again."
    )
