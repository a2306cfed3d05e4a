"""What a served batch must look like when good and bad files are mixed in it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tests.fuzz.session import SessionProcess
from tests.fuzz.valid_images import picture, saved

BATCH = 32  # a batch costs much the same whatever its size, so that a large one tries more files
OK = b"ok"
UNFIT = b"too narrow, "  # how the status of an image begins that is decoded, but not what the network takes
# The signatures that take image files, and how often each is drawn.
SIGNATURES = {"serving_default": 7, "segment_with_confidence": 1, "overlay": 1, "logits_from_bytes": 1}

Outputs = Mapping[str, Sequence[Any]]


def good_files() -> list[bytes]:
    """Return eight files of several formats and sizes."""
    random = np.random.default_rng(0)
    formats = ("JPEG", "PNG", "JPEG", "PNG", "GIF", "BMP", "WEBP", "JPEG")
    sizes = ((48, 64), (33, 20), (80, 40), (1, 1), (16, 16), (21, 35), (40, 24), (64, 64))
    modes = ("RGB", "RGBA", "L", "RGB", "P", "RGB", "RGB", "RGB")
    rows = zip(formats, modes, sizes, strict=True)
    return [saved(picture(random, mode, *size), name) for name, mode, size in rows]


class Expected:
    """What every good file answers at every place of a batch that holds good files only.

    Args:
        session: an export.
        good: files.
        signatures: which to ask.

    Raises:
        RuntimeError: a good file was refused.
    """

    def __init__(
        self, session: SessionProcess, good: Sequence[bytes], signatures: Sequence[str] = tuple(SIGNATURES)
    ) -> None:
        self.good = list(good)
        self.signatures = [name for name in signatures if name in session.signatures]
        self._answers: dict[tuple[str, int, int], dict[str, Any]] = {}
        for signature in self.signatures:
            for shift in range(len(self.good)):
                order = [(place + shift) % len(self.good) for place in range(BATCH)]
                answer = session.run(signature, [self.good[index] for index in order])
                if "error" in answer:
                    raise RuntimeError(f"A batch of good files failed: {answer['error']}")
                for place, index in enumerate(order):
                    one = self._answers[signature, index, place] = item(answer["outputs"], place)
                    if one["status_bytes"] != OK:
                        raise RuntimeError(f"Good file {index} was refused: {one['status_bytes']!r}")

    def changed(self, signature: str, index: int, place: int, outputs: Outputs) -> list[str]:
        """Return the outputs in which a good file's answer is not that of an all-good batch, to the bit."""
        expected, found = self._answers[signature, index, place], item(outputs, place)
        return [name for name in expected if not np.array_equal(expected[name], found.get(name))]


def item(outputs: Outputs, place: int) -> dict[str, Any]:
    """Return one place of a batch's outputs."""
    return {name: values[place] for name, values in outputs.items()}


def broken_promise(answer: Mapping[str, Any]) -> str | None:
    """Return what is wrong with one file's answer, or None.

    One that is not "ok" must have empty pictures, zeros for numbers and no size; one that is, pictures of
    its size.
    """
    size = (int(answer["height"]), int(answer["width"]))
    if answer["status_bytes"] != OK:
        if not answer["status_bytes"]:
            return "no status"
        full = [name for name, value in answer.items() if name != "status_bytes" and not _is_nothing(value)]
        return f"refused, but with {', '.join(full)}" if full else None
    if min(size) < 1:
        return f"ok, but of size {size}"
    for name, value in answer.items():
        if name.endswith("_png_bytes"):
            shape = np.asarray(Image.open(io.BytesIO(value))).shape[:2] if value else None
            if shape != size:
                return f"ok, but {name} is {shape} and the size {size}"
    return None


def _is_nothing(value: Any) -> bool:
    return value == b"" if isinstance(value, bytes) else not np.any(value)
