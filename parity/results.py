"""What a runner produced: named arrays and the circumstances, in memory or saved for later.

A saved result is a folder of safetensors files and a ``manifest.json``. Two of them can be compared
on another day and another machine, so the manifest says what was run, on which bytes, by which
versions. Arrays of a saved result are read one at a time, when asked for: a B4's taps at 512×512
take 2 GB in float32 and 4 GB in float64, and are never all in memory.

Array names are ``decoded`` (uint8 (1, H, W, 3)), ``pixels`` (preprocessed image, (B, H, W, C)), ``logits``
((B, h, w, K); of an image classifier (B, 1, 1, K)), ``labels/logit_size``, ``labels/original_size`` and
``taps/<tap>``; of a training step its input, ``training/pixels`` (B, C, H, W) and ``training/labels``, and
``loss`` ((1,)) and ``gradients/<parameter>`` in PyTorch's layout.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TAP_PREFIX = "taps/"
GRADIENT_PREFIX = "gradients/"


class ResultError(RuntimeError):
    """A saved result cannot be read, or two results do not belong together."""


@dataclass(frozen=True)
class Manifest:
    """The circumstances of a result.

    Attributes:
        runner: who computed it: ``torch_ref``, ``tf_segformer`` or ``saved_model``.
        dtype: ``float32`` or ``float64``.
        checkpoint: name of the model as it was given.
        checkpoint_sha256: hash over its weight files; empty where there are none to hash.
        input_sha256: hash over the bytes of the pixel values that went into the network.
        image_sha256: hash over the image file's bytes.
        image_size: height and width of the photograph.
        task: ``segmentation`` or ``classification``.
        expected_taps: what the config says the network has, in forward order, of what the runner gives.
        expected_gradients: the trainable parameters, by their published keys; empty without a training step.
        versions: library → version.
        machine: platform, processor and thread counts.
        seconds: duration of the forward pass.
        peak_memory_bytes: largest resident size of the process so far.
    """

    runner: str
    dtype: str
    checkpoint: str = ""
    checkpoint_sha256: str = ""
    input_sha256: str = ""
    image_sha256: str = ""
    image_size: tuple[int, int] = (0, 0)
    task: str = "segmentation"
    expected_taps: tuple[str, ...] = ()
    expected_gradients: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    machine: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Result:
    """A manifest and its arrays; ``arrays`` keeps the order in which they were computed."""

    manifest: Manifest
    arrays: Mapping[str, np.ndarray]

    @property
    def tap_names(self) -> list[str]:
        """Names of the taps, without their prefix."""
        return [name.removeprefix(TAP_PREFIX) for name in self.arrays if is_tap(name)]

    def tap(self, name: str) -> np.ndarray:
        """One tap, (B, H, W, C)."""
        return self.arrays[TAP_PREFIX + name]

    @property
    def gradient_names(self) -> list[str]:
        """The parameters whose gradients are there, without their prefix."""
        prefix = GRADIENT_PREFIX
        return [name.removeprefix(prefix) for name in self.arrays if name.startswith(prefix)]

    @property
    def taps(self) -> Mapping[str, np.ndarray]:
        """The taps by their names; an array of a saved result is read when it is asked for."""
        return _Taps(self)


class _Taps(Mapping[str, np.ndarray]):
    def __init__(self, result: Result) -> None:
        self._result = result

    def __getitem__(self, name: str) -> np.ndarray:
        return self._result.tap(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._result.tap_names)

    def __len__(self) -> int:
        return len(self._result.tap_names)

    def __contains__(self, name: object) -> bool:
        return f"{TAP_PREFIX}{name}" in self._result.arrays


class SavedArrays(Mapping[str, np.ndarray]):
    """The arrays of a saved result, read from disk one at a time."""

    def __init__(self, folder: Path, files: Mapping[str, str]):
        self._folder = folder
        self._files = dict(files)

    def __getitem__(self, name: str) -> np.ndarray:
        path = self._folder / self._files[name]
        try:
            with safe_open(path, framework="np") as file:
                return file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise ResultError(f"cannot read {name} from {path}: {error}") from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files


def load_result(folder: Path) -> Result:
    """Open a saved result.

    Raises:
        ResultError: the folder is missing, incomplete or of another version.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format")
        if version != FORMAT_VERSION:
            raise ResultError(
                f"{path} has format {version}, this parity reads {FORMAT_VERSION}: record it anew"
            )
        files: dict[str, str] = content.pop("arrays")
        content["image_size"] = tuple(content["image_size"])
        for name in ("expected_taps", "expected_gradients"):
            content[name] = tuple(content[name])
        manifest = Manifest(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ResultError(
            f"{folder} is no complete parity result ({type(error).__name__}: {error}); "
            "write one with `parity record`"
        ) from error
    for name in set(files.values()):
        if Path(name).name != name:
            raise ResultError(f"{path} names a file outside its own folder: {name!r}")
    return Result(manifest, SavedArrays(folder, files))


def sha256_of(arrays_or_files: Iterable[np.ndarray | Path]) -> str:
    """Hash arrays (dtype, shape and bytes) and files (bytes), in the given order."""
    digest = hashlib.sha256()
    for item in arrays_or_files:
        if isinstance(item, Path):
            with item.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        else:
            digest.update(f"{item.dtype.str}{item.shape}".encode())
            digest.update(np.ascontiguousarray(item).data)
    return digest.hexdigest()


def weight_files(model: Path) -> list[Path]:
    """The weight files of a checkpoint folder, sorted by name (empty if it is no folder)."""
    if not model.is_dir():
        return []
    kinds = ("*.safetensors", "*.bin", "variables/variables.*")
    return sorted(path for kind in kinds for path in model.glob(kind) if path.is_file())


def require_same_input(reference: Manifest, candidate: Manifest) -> None:
    """Refuse to compare results of different images, pixels, weights or dtypes.

    Raises:
        ResultError: naming what differs.
    """
    for what in ("input_sha256", "checkpoint_sha256", "image_sha256"):
        left, right = getattr(reference, what), getattr(candidate, what)
        if left and right and left != right:
            raise ResultError(
                f"the results do not belong together: {what} is {left[:12]}… for "
                f"{reference.runner} and {right[:12]}… for {candidate.runner}"
            )
    if reference.dtype != candidate.dtype:
        raise ResultError(
            f"the results do not belong together: {reference.runner} ran in {reference.dtype}, "
            f"{candidate.runner} in {candidate.dtype}"
        )


def plain(value: Any) -> Any:
    """Make a value fit for strict JSON: tuples become lists, NaN and infinities None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, np.integer):
        return int(value)
    return value


def is_tap(name: str) -> bool:
    """Whether an array of that name is a tap."""
    return name.startswith(TAP_PREFIX)
