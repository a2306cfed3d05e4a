"""Writing a result while it is computed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from parity.results import (
    FORMAT_VERSION,
    MANIFEST,
    TAP_PREFIX,
    Manifest,
    Result,
    ResultError,
    SavedArrays,
    is_tap,
)

# Arrays are gathered into files of about this size, so that writing needs no second copy of all.
SHARD_BYTES = 128 << 20


class ResultWriter:
    """Writes a result array by array, while they are computed: no more than SHARD_BYTES wait in memory.

    The taps of a B4 at 512×512 are 4 GB in float64; a runner hands over each as soon as it exists.

    Args:
        folder: folder to write into; made if missing. The manifest is written last, so that a folder
            which has one is complete.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
        self._folder = folder
        self._files: dict[str, str] = {}
        self._shard: dict[str, np.ndarray] = {}
        self._size = self._number = 0

    def add(self, name: str, array: Any) -> None:
        """Take over an array, or a tensor that NumPy can read; it may not be changed afterwards.

        Raises:
            ResultError: there already is one of that name.
        """
        if name in self._files:
            raise ResultError(f"the array {name} was given twice: each needs its own name")
        array = np.ascontiguousarray(array)
        if self._shard and self._size + array.nbytes > SHARD_BYTES:
            self._flush()
        self._files[name] = _shard_name(self._number)
        self._shard[name] = array
        self._size += array.nbytes
        if self._size > SHARD_BYTES:
            self._flush()

    def finish(self, manifest: Manifest) -> Result:
        """Write the manifest.

        Args:
            manifest: the circumstances. The taps are listed in its order, whatever the order in which
                they came.

        Returns:
            The result as read back lazily.
        """
        self._flush()
        order = {TAP_PREFIX + name: place for place, name in enumerate(manifest.expected_taps)}
        taps = sorted(filter(is_tap, self._files), key=lambda name: order.get(name, len(order)))
        following = iter(taps)
        # Each tap takes the place of a tap; what is no tap stays where it is.
        names = [next(following) if is_tap(name) else name for name in self._files]
        files = {name: self._files[name] for name in names}
        content = {"format": FORMAT_VERSION, **asdict(manifest), "arrays": files}
        (self._folder / MANIFEST).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return Result(manifest, SavedArrays(self._folder, files))

    def _flush(self) -> None:
        if self._shard:
            path = self._folder / _shard_name(self._number)
            path.touch()
            mode = path.stat().st_mode
            save_file(self._shard, path)
            path.chmod(mode)  # as any new file's; safetensors makes one that only its owner may read
            self._number += 1
        self._shard, self._size = {}, 0


def save_result(folder: Path, manifest: Manifest, arrays: dict[str, Any]) -> Result:
    """Write a result and release its arrays.

    Args:
        folder: folder to write into; made if missing.
        manifest: the circumstances.
        arrays: name → array, or a tensor that NumPy can read. **Emptied** while writing, which keeps
            the peak memory at one copy.

    Returns:
        The result as read back lazily.
    """
    writer = ResultWriter(folder)
    while arrays:
        name = next(iter(arrays))
        writer.add(name, arrays.pop(name))
    return writer.finish(manifest)


def _shard_name(number: int) -> str:
    return f"arrays-{number:05d}.safetensors"
