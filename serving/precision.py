"""Networks that are rounded to less than float32: what they answer, and how far that is from float32."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorflow as tf

from serving.options import ExportOptions
from serving.verification import FLOAT32, Allowance, CheckFailedError
from tf_segformer.evaluation.confusion import scores
from tf_segformer.image_logits import segment_logits
from tf_segformer.inference import InferenceNetwork
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.processor import bfloat16_obstacle
from tf_segformer.scenes import draw_scene

SCENES = 4
SCENE_SIZE = (384, 512)
# By `ExportOptions.rounding`, as a share of the largest logit. Bfloat16 moves the logits of seeded B0 and B4
# by 0.7 and 0.9 %, of the bundled checkpoint by 0.7 %, of a random network of few channels by 3 %; a wrong
# graph moves them by about as much as they are. Float16 weights move those of seeded B0 by 0.04 %, of such a
# random network by 0.06 %.
LIMITS = {"bfloat16": 0.1, "float16 weights": 0.02}


class PrecisionError(CheckFailedError):
    """The network is too far from float32 to be its rounding."""


class LowPrecisionModel:
    """Answers as a Keras model does, by the network that an export holds.

    The graph is optimised as a server's is, so that what it answers is what the server must answer: in
    less than float32 another order of the same steps gives other labels.
    """

    def __init__(self, network: InferenceNetwork) -> None:
        self._run = tf.function(lambda values: network(values), autograph=False, reduce_retracing=True)

    def __call__(self, values: Any, **_: Any) -> Any:
        """Return `logits` and `hidden_states` for pixel values (B, H, W, 3)."""
        prediction = self._run(tf.constant(values, tf.float32))
        return SimpleNamespace(logits=prediction.logits, hidden_states=prediction.hidden_states)


def describe_precision(
    exact: Any,
    network: Any,
    processing: ImageProcessing,
    options: ExportOptions,
    images: Sequence[np.ndarray] | None = None,
) -> dict[str, Any]:
    """Compare a network of less than float32 with the float32 model, from pixels to labels.

    Args:
        exact: the float32 model.
        network: what the export computes; called as `exact` is.
        processing: how the checkpoint wants images prepared.
        options: those of the export.
        images: uint8 [H, W, 3] each; None for drawn scenes.

    Returns:
        For the manifest: ``precision``, what rounds; ``images``, their number; ``logit_error``, the
        largest difference as a share of the largest float32 logit; ``label_agreement``, the share of
        pixels with the same label; ``miou``, the mean IoU with the float32 labels taken as true;
        ``obstacle``, why it was measured without oneDNN's bfloat16, which rounds less, or None.

    Raises:
        PrecisionError: the logits differ by more than rounding could move them.
    """
    if images is None:
        images = [draw_scene(0, index, *SCENE_SIZE).image for index in range(SCENES)]

    def logits(model: Any, pixels: np.ndarray) -> np.ndarray:
        return segment_logits(
            tf.constant(pixels),
            processing,
            options.resizing,
            lambda values: model(values, training=False).logits,
            exact.config.num_labels,
            pass_order=options.pillow,
        ).numpy()

    classes = exact.config.num_labels
    differences, scales = [], []
    counts = np.zeros(classes**2, np.int64)
    for pixels in images:
        wanted, found = (logits(model, pixels) for model in (exact, network))
        differences.append(np.abs(found - wanted).max())
        scales.append(np.abs(wanted).max())
        # Not `evaluation.confusion`, which leaves out class 255 as not labelled.
        true, label = (label_map(each, *pixels.shape[:2]).numpy().ravel() for each in (wanted, found))
        counts += np.bincount(true.astype(np.int64) * classes + label, minlength=classes**2)
    error = float(np.max(differences) / np.max(scales))
    rounding = options.rounding or "float32"
    limit = LIMITS.get(rounding, 0.0)
    if not error <= limit:  # a NaN is refused, too
        raise PrecisionError(
            f"With {rounding} the logits are off by {error:.2g} of the largest; at most {limit} is rounding. "
            "The checkpoint's numbers do not fit this precision: export it in float32."
        )
    agreement = scores(counts.reshape(classes, classes))
    return {
        "precision": rounding,
        "images": len(images),
        "logit_error": error,
        "label_agreement": agreement.pixel_accuracy,
        "miou": agreement.mean_iou,
        "obstacle": bfloat16_obstacle() if rounding == "bfloat16" else None,
    }


def allowance(measured: dict[str, Any] | None) -> Allowance:
    """By how much answers may differ from those of one image at a time.

    Another batch is another order of sums, and so another rounding: of float32 (None, or only the weights
    were rounded, once), or of the size of what was measured against float32.
    """
    if measured is None or measured["precision"] == "float16 weights":
        return FLOAT32
    disagreement = 1 - measured["label_agreement"]
    return Allowance(max(2e-2, measured["logit_error"]), max(2e-2, disagreement), levels=16)


def summary(measured: dict[str, Any]) -> str:
    """Return a line about what `describe_precision` measured."""
    line = (
        f"{measured['precision']} against float32 on {measured['images']} images: logits within "
        f"{measured['logit_error']:.1e} of the largest, {measured['label_agreement']:.2%} of the labels the "
        f"same, mIoU {measured['miou']:.4f}"
    )
    if measured["obstacle"]:
        line += f". Not as a server with AMX answers: {measured['obstacle']}"
    return line
