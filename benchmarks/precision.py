"""What does a lower precision cost in accuracy? On the bundled trained checkpoint and scenes it has not seen.

Random weights say little of this: their best two classes are all but equal in many pixels. PyTorch in float32
is what labels are compared with; mIoU is against the scenes' own labels. Part of `python -m benchmarks`.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import process
from benchmarks.models import SCENES, prepare
from benchmarks.sides import EAGER, OURS, OURS_BFLOAT16, exports_of, side
from benchmarks.turns import SideError, answer_of, describe, relative_error, say

Options = dict[str, Any]
SIZE = 192  # the checkpoint's own
DEFAULTS: Options = {
    "scenes": 100,
    "seed": 0,
    "threads": 2,
    "sides": [
        EAGER,
        OURS,
        OURS_BFLOAT16,
        "OpenVINO",
        "OpenVINO, bfloat16",
        "OpenVINO, bfloat16, given our fold",
    ],
}


def answers(name: str, work: Path, images: np.ndarray, threads: int, file: Path, connection: Any) -> None:
    """Write the logits of all images, (N, classes, h, w); runs in a process of its own."""
    try:
        network = side(name).build(work, (1, *images.shape[1:]), threads)
        logits = [network.logits(network.prepare(np.ascontiguousarray(image[None]))) for image in images]
        np.save(file, np.concatenate(logits).astype(np.float32))
        connection.send(("done", None))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def draw(scenes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pixel values, float32 (N, 3, SIZE, SIZE), and labels, (N, SIZE, SIZE), of validation scenes."""
    from tf_segformer.scenes import draw_scene

    drawn = [draw_scene(seed, index, SIZE, SIZE, "validation") for index in range(scenes)]
    images = np.stack([scene.image for scene in drawn]).astype(np.float32) / 255
    mean, deviation = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return np.moveaxis((images - mean) / deviation, -1, 1), np.stack([scene.labels for scene in drawn])


def label_maps(logits: np.ndarray) -> np.ndarray:
    """Return the argmax of logits resized to SIZE, as the reference makes it: (N, SIZE, SIZE)."""
    import torch

    with torch.inference_mode():
        parts = torch.from_numpy(logits).split(10)
        resized = (
            torch.nn.functional.interpolate(part, size=(SIZE, SIZE), mode="bilinear") for part in parts
        )
        return np.concatenate([part.argmax(1).numpy() for part in resized])


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Run every side on every scene.

    Returns:
        "options" and "rows": "side" and "problem", or "mean_iou", "agreement" (share of labels that are
        PyTorch's), "error" (of the logits, over the largest) and "precision".
    """
    options = {**DEFAULTS, **options}
    work = prepare(models, SCENES, exports=exports_of(options["sides"]))
    images, truth = draw(options["scenes"], options["seed"])
    rows: list[dict[str, Any]] = []
    reference: tuple[np.ndarray, np.ndarray] | None = None
    for name in sorted(options["sides"], key=lambda name: name != EAGER):
        problem = side(name).missing(work)
        if not problem:
            say(f"{name} …")
            file = work / "logits.npy"
            with process(answers, name, work, images, options["threads"], file) as connection:
                try:
                    answer_of(connection)
                except SideError as error:
                    problem = str(error)
        if problem:
            rows.append({"side": name, "problem": problem})
            continue
        logits = np.load(file)
        labels = label_maps(logits)
        reference = (logits, labels) if name == EAGER else reference
        rows.append({"side": name, "problem": None, "precision": side(name).precision})
        rows[-1] |= compared(logits, labels, truth, reference)
    return {"options": options, "rows": rows}


def compared(
    logits: np.ndarray,
    labels: np.ndarray,
    truth: np.ndarray,
    reference: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, Any]:
    """Return mIoU, and agreement and error if there is a reference (its logits and labels)."""
    from parity.miou import ConfusionMatrix

    matrix = ConfusionMatrix(logits.shape[1])
    matrix.update(truth, labels)
    found: dict[str, Any] = {"mean_iou": matrix.scores().mean_iou, "agreement": None, "error": None}
    if reference is not None:
        found["agreement"] = float((labels == reference[1]).mean())
        found["error"] = relative_error(logits, reference[0])
    return found


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options = result["options"]
    lines = [
        f"`examples/segformer-scenes`, {options['scenes']} validation scenes of {SIZE} × {SIZE} pixels.",
        "",
        "| | precision | mIoU | points below PyTorch | labels equal to PyTorch's | error ÷ scale |",
        "|---|---|---:|---:|---:|---:|",
    ]
    measured = {row["side"]: row for row in result["rows"] if not row["problem"]}
    best = measured[EAGER]["mean_iou"] if EAGER in measured else None
    for row in result["rows"]:
        if row["problem"]:
            lines.append(f"| {row['side']} | | {row['problem']} | | | |")
            continue
        below = "" if best is None else f"{100 * (best - row['mean_iou']):.3f}"
        equal = "" if row["agreement"] is None else f"{100 * row['agreement']:.3f} %"
        error = "" if row["error"] is None else f"{row['error']:.1e}"
        cells = [row["side"], row["precision"], f"{100 * row['mean_iou']:.2f}", below, equal, error]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
