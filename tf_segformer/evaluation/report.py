"""An evaluation as JSON."""

from __future__ import annotations

import math
from typing import Any

from tf_segformer.evaluation.predictions import Evaluation
from tf_segformer.labels import LabelSet


def report_dict(evaluation: Evaluation, label_set: LabelSet, dataset: str, protocol: str) -> dict[str, Any]:
    """The scores, overall, by class and by photograph; shares are 0 to 1, null where they are not defined.

    Args:
        evaluation: What came out.
        label_set: Names of the classes.
        dataset: What to call the data.
        protocol: How photographs were brought to the network.
    """
    scores = evaluation.scores
    return {
        "dataset": dataset,
        "protocol": protocol,
        "images": len(evaluation.images),
        "labelled_pixels": int(scores.true_pixels.sum()),
        "mean_iou": _number(scores.mean_iou),
        "mean_accuracy": _number(scores.mean_accuracy),
        "pixel_accuracy": _number(scores.pixel_accuracy),
        "classes": [
            {
                "id": index,
                "name": name,
                "iou": _number(scores.iou[index]),
                "accuracy": _number(scores.accuracy[index]),
                "true_pixels": int(scores.true_pixels[index]),
                "predicted_pixels": int(scores.predicted_pixels[index]),
            }
            for index, name in enumerate(label_set.names)
            if scores.true_pixels[index] or scores.predicted_pixels[index]
        ],
        "by_image": [
            {
                "name": image.name,
                "mean_iou": _number(image.mean_iou),
                "pixel_accuracy": _number(image.pixel_accuracy),
            }
            for image in evaluation.images
        ],
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
