"""Label maps and scores of a segmentation model's outputs, at sizes of the caller's choice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from transformers import BatchFeature

from tf_segformer import tiling
from tf_segformer.postprocessing import label_map


def post_process(
    outputs: Any,
    target_sizes: Sequence[tuple[int, int]] | tf.Tensor | np.ndarray | None = None,
    return_segmentation_scores: bool = False,
) -> list[tf.Tensor] | list[BatchFeature]:
    """What transformers' `post_process_semantic_segmentation` returns, without holding the resized logits.

    Args:
        outputs: A model's outputs, or anything with `logits`, (B, K, h, w) floating, channels first.
        target_sizes: One (height, width) per image, in pixels; None keeps the logits' own size.
        return_segmentation_scores: Return the resized logits too, K numbers per pixel.

    Returns:
        Per image a label map, int64 (height, width); with scores a dict with attributes, `segmentation` (the
        label map) and `segmentation_scores`, float32 (K, height, width).

    Raises:
        ValueError: the logits have no four axes, or there is not one size per image.
    """
    logits = tf.convert_to_tensor(outputs.logits)
    if logits.shape.rank != 4:
        raise ValueError(
            f"outputs.logits has shape {tuple(logits.shape)}; expected (batch, num_labels, height, width), "
            "as TFSegformerForSemanticSegmentation returns it."
        )
    if target_sizes is None:
        sizes = [tuple(logits.shape[2:])] * len(logits)
    else:
        sizes = [tuple(int(side) for side in size) for size in target_sizes]
    if len(sizes) != len(logits) or any(len(size) != 2 for size in sizes):
        raise ValueError(
            f"target_sizes is {target_sizes!r} for {len(logits)} images; expected one (height, width) each."
        )
    results: list[Any] = []
    for image, (height, width) in zip(tf.transpose(logits, (0, 2, 3, 1)), sizes, strict=True):
        labels = tf.cast(label_map(image, height, width), tf.int64)
        if return_segmentation_scores:
            scores = tf.transpose(resized_logits(image, height, width), (2, 0, 1))
            results.append(BatchFeature({"segmentation": labels, "segmentation_scores": scores}))
        else:
            results.append(labels)
    return results


def resized_logits(logits: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resize logits as PyTorch's `interpolate(mode="bilinear", align_corners=False)` does.

    Computed in the order of `label_map`, so that the label map is the argmax of the result.

    Args:
        logits: (h, w, K), floating.
        height: Target height in pixels.
        width: Target width in pixels.

    Returns:
        (height, width, K), float64 for float64, else float32.
    """
    logits, rows, columns = tiling.place(logits, height, width)
    x, y = columns.weight[:, None], rows.weight[:, None, None]
    wide = (1 - x) * tf.gather(logits, columns.first, axis=1) + x * tf.gather(logits, columns.second, axis=1)
    return (1 - y) * tf.gather(wide, rows.first) + y * tf.gather(wide, rows.second)
