"""The two models that a fuzz run needs: the decoders alone, and an export of a tiny checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from tests.fuzz.pixels_model import save_pixels_model
from tests.fuzz.served_checks import BATCH

TINY = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
MAX_PIXELS = 1 << 20
HEIGHT, WIDTH = 64, 96


def write_models(folder: Path, max_pixels: int = MAX_PIXELS, **options: Any) -> tuple[Path, Path]:
    """Write both and return their version directories; `options` are more of those of the export."""
    from serving.export import export_saved_model
    from serving.options import ExportOptions

    chosen = ExportOptions(max_pixels=max_pixels, **options)
    checkpoint = write_checkpoint(folder / "checkpoint")
    export = export_saved_model(checkpoint, folder / "export", batch_sizes=(BATCH,), options=chosen)
    return save_pixels_model(folder / "pixels" / "1", max_pixels), export


def write_checkpoint(folder: Path) -> Path:
    """Write the tiny checkpoint with a small input size, so that the network takes little time."""
    folder.mkdir(parents=True)
    shutil.copyfile(TINY / "config.json", folder / "config.json")
    weights, random = load_file(TINY / "model.safetensors"), np.random.default_rng(0)
    for name, weight in weights.items():  # as initialised, one class would win everywhere
        if name.startswith("decode_head") and weight.dtype == np.float32:
            weights[name] = weight + random.normal(0, 0.3, weight.shape).astype(np.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    processing = {"size": {"height": HEIGHT, "width": WIDTH}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processing))
    return folder
