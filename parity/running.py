"""What the runners share: the request, the error, and the circumstances that they record."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.circumstances import library_versions, machine, peak_memory_bytes
from parity.results import Manifest, Result, sha256_of, weight_files

Say = Callable[[str], None]


class HarnessError(RuntimeError):
    """The comparison could not be made: nothing is known about equality."""


@dataclass(frozen=True)
class Request:
    """What a runner is asked to compute.

    Attributes:
        model: checkpoint folder or hub id.
        image: image file.
        dtype: ``float32`` or ``float64``.
        levels: levels to produce, a subset of the lane's.
        size: height and width of the preprocessed image; None for the checkpoint's own.
        saved_model: version directory of an export, for the ``saved_model`` runner.
    """

    model: str
    image: Path
    dtype: str
    levels: tuple[str, ...]
    size: int | None = None
    saved_model: Path | None = None


def need(given: Result | None) -> Result:
    """The reference's result.

    Raises:
        HarnessError: there is none, or it has no pixels.
    """
    if given is None or "pixels" not in given.arrays:
        raise HarnessError("this runner needs the reference's result, for its pixels: give it first")
    return given


def mask_labels(answer: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return the label map [height, width] of one image in an export's answer.

    Raises:
        HarnessError: the export refused the image.
    """
    from PIL import Image

    status = answer["status_bytes"][0] if "status_bytes" in answer else b"ok"
    if status != b"ok":
        raise HarnessError(f"the export refused {name}: {status.decode()}")
    with Image.open(io.BytesIO(answer["mask_png_bytes"][0])) as image:
        return np.asarray(image).astype(np.int32)


def manifest_of(
    runner: str, request: Request, seconds: float, pixels: np.ndarray, size: tuple[int, int]
) -> Manifest:
    """The circumstances of a result that was just computed.

    Args:
        runner: who computed it.
        request: what was asked for.
        seconds: duration of the forward pass.
        pixels: what went into the network.
        size: height and width of the photograph.
    """
    return Manifest(
        runner=runner,
        dtype=request.dtype,
        checkpoint=Path(request.model).name,
        checkpoint_sha256=sha256_of(files) if (files := weight_files(Path(request.model))) else "",
        input_sha256=sha256_of([pixels]),
        image_sha256=sha256_of([request.image]),
        image_size=size,
        versions=library_versions(),
        machine=machine(),
        seconds=round(seconds, 4),
        peak_memory_bytes=peak_memory_bytes(),
    )
