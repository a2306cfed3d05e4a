"""The models that the benchmarks run: seeded checkpoints at full width, their folds and exports.

A folder of work holds `checkpoint`, the same weights in the legacy class's format in `legacy`, `fold.npz`
and, under `exports`, a version directory for each precision, or `NAME.txt` that says why there is none. What
is there already is kept, so that questions share it.
"""

from __future__ import annotations

import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import process, quiet

# The exports by name, and the options of each.
EXPORTS: dict[str, dict[str, Any]] = {"float32": {}, "bfloat16": {"precision": "bfloat16"}}

# The variant that is not seeded but trained: the bundled checkpoint.
SCENES = "scenes"
BUNDLED = Path(__file__).resolve().parents[1] / "examples" / "segformer-scenes"


def prepare(
    models: Path, variant: str, classes: int = 150, exports: tuple[str, ...] = tuple(EXPORTS)
) -> Path:
    """Write what is missing of a variant's files.

    Args:
        models: the folder of all variants.
        variant: "b0" to "b5", or SCENES.
        classes: of a seeded checkpoint.
        exports: which of EXPORTS are needed.

    Returns:
        The variant's folder of work.

    Raises:
        RuntimeError: the process that writes them failed, and printed why.
    """
    work = models / f"{variant}-{classes}"
    if (work / "fold.npz").exists() and all(_export(work, name) or _reason(work, name) for name in exports):
        return work
    print(f"writing {variant.upper()}, {classes} classes, and its exports …", file=sys.stderr, flush=True)
    with process(write, work, variant, classes, exports) as connection:
        try:
            connection.recv()
        except EOFError:
            raise RuntimeError(f"the files of {variant} could not be written; why was printed") from None
    return work


def write(work: Path, variant: str, classes: int, exports: tuple[str, ...], connection: Any) -> None:
    """Do `prepare`'s work, in a process of its own."""
    quiet()
    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.folding import fold_projections
    from torch_ref.seeded import write_seeded_checkpoint

    if not (work / "fold.npz").exists():
        shutil.rmtree(work, ignore_errors=True)  # from an interrupted run
        if variant == SCENES:
            shutil.copytree(BUNDLED, work / "checkpoint")
        else:
            write_seeded_checkpoint(work / "checkpoint", variant, num_labels=classes)
        model = TFSegformerForSemanticSegmentation.from_pretrained(work / "checkpoint")
        model.save_pretrained(work / "legacy", safe_serialization=False)
        kernels, bias = fold_projections(model.decode_head)
        arrays = {f"kernel_{i}": kernel.astype(np.float32) for i, kernel in enumerate(kernels)}
        np.savez(work / "unfinished.npz", bias=bias.astype(np.float32), **arrays)
        (work / "unfinished.npz").rename(work / "fold.npz")
    for name in exports:
        if not _export(work, name):
            write_export(work, name)
    connection.send(None)


def write_export(work: Path, name: str) -> None:
    """Write one export, or why it cannot be."""
    from serving.export import export_saved_model
    from serving.options import ExportOptions

    (work / "exports").mkdir(exist_ok=True)
    reason = work / "exports" / f"{name}.txt"
    reason.unlink(missing_ok=True)
    options = ExportOptions(**EXPORTS[name])
    try:
        export_saved_model(work / "checkpoint", work / "exports" / name, 1, batch_sizes=[1], options=options)
    except Exception as error:  # the other sides can still be measured
        traceback.print_exc()
        reason.write_text(f"{type(error).__name__}: {error}\n", encoding="utf-8")


def require_export(work: Path, name: str = "float32") -> Path:
    """Return the version directory of an export.

    Raises:
        RuntimeError: there is none; the message says why.
    """
    folder = _export(work, name)
    if folder is None:
        raise RuntimeError(_reason(work, name) or f"there is no export {name!r}")
    return folder


def missing_export(work: Path, name: str) -> str | None:
    """Return why there is no such export, or None."""
    return None if _export(work, name) else _reason(work, name) or f"there is no export {name!r}"


def _export(work: Path, name: str) -> Path | None:
    folder = work / "exports" / name / "1"
    return folder if folder.exists() else None


def _reason(work: Path, name: str) -> str | None:
    file = work / "exports" / f"{name}.txt"
    return file.read_text(encoding="utf-8").strip() if file.exists() else None
