"""A stand-in for `serving.session_check` without TensorFlow: Pillow, and one fault, named by the folder.

Most faults show in batches with a file that Pillow refuses.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

MAX_PIXELS = 1 << 20


class CheckError(RuntimeError):
    """As the real one."""


class ServedModel:
    """As the real one; `version_dir` need not exist."""

    signatures = ("serving_default", "pixels", "one")

    def __init__(self, version_dir: Path, threads: int) -> None:
        self.fault = version_dir.name
        self.leaked: list[bytes] = []
        Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, list]:
        """Answer with what the real models would, but for the fault."""
        pixels = [_pixels(file) for file in inputs["image_bytes"]]
        bad = any(one is None for one in pixels)
        if signature == "one" and bad:
            raise CheckError("signature one failed: it cannot be decoded")
        if signature != "serving_default":
            if self.fault == "other pixels":
                pixels = [None if one is None else one ^ 1 for one in pixels]
            if self.fault == "refuses":
                pixels = [None if one is None or len(one) > 20 else one for one in pixels]
            return {"pixels_png_bytes": [b"" if one is None else _png(one) for one in pixels]}
        level = 0
        if bad and self.fault == "crashes":
            os._exit(3)
        if bad and self.fault == "hangs":
            time.sleep(1000)
        if bad and self.fault == "fails the batch":
            raise CheckError("one file is bad")
        if bad and self.fault == "grows":
            self.leaked.append(b"x" * (32 << 20))
        if bad and self.fault == "leaks between items":
            level = 1
        masks = [b"" if one is None else _png(np.full(one.shape[:2], level, np.uint8)) for one in pixels]
        statuses = [b"refused" if one is None else b"ok" for one in pixels]
        if self.fault == "gives a refused file a mask":
            masks = [mask or _png(np.zeros((1, 1), np.uint8)) for mask in masks]
        if self.fault == "accepts everything":
            masks = [mask or _png(np.zeros((1, 1), np.uint8)) for mask in masks]
            statuses = [b"ok"] * len(masks)
        sizes = [(0, 0) if one is None else one.shape[:2] for one in pixels]
        if self.fault == "accepts everything":
            sizes = [size if size[0] else (1, 1) for size in sizes]
        return {
            "mask_png_bytes": masks,
            "height": [size[0] for size in sizes],
            "width": [size[1] for size in sizes],
            "status_bytes": statuses,
        }


def _pixels(file: bytes) -> np.ndarray | None:
    try:
        return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    except Exception:
        return None


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=1)
    return file.getvalue()
