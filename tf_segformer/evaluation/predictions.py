"""Predicts the label maps of a dataset and counts them against its masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tf_segformer.configuration import number_of_labels
from tf_segformer.datasets.pairs import Pair
from tf_segformer.datasets.reading import MaskRules, read_image, read_mask
from tf_segformer.evaluation.confusion import Scores, confusion, scores
from tf_segformer.image_logits import segment_logits
from tf_segformer.modeling import TFSegformerForSemanticSegmentation
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import Resizing

AS_THE_CHECKPOINT = Resizing()
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class ImageScore:
    """How one photograph came out: its name, mIoU and share of pixels with the true class, 0 to 1."""

    name: str
    mean_iou: float
    pixel_accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """How all photographs came out.

    Attributes:
        scores: Of all pixels together.
        counts: int64 (K, K), the confusion matrix; row: true class.
        images: Each photograph's own, in the dataset's order.
    """

    scores: Scores
    counts: np.ndarray
    images: tuple[ImageScore, ...]


def predictor(
    model: TFSegformerForSemanticSegmentation,
    processing: ImageProcessing,
    resizing: Resizing = AS_THE_CHECKPOINT,
) -> Predict:
    """From uint8 (h, w, 3) to the label map, int (h, w), by the whole pipeline of the checkpoint.

    Args:
        model: With `data_format="channels_last"`. Its variables are read at each call, not copied.
        processing: The checkpoint's preprocessing.
        resizing: The protocol: "checkpoint" for Hugging Face's, "paper" for the paper's.
    """
    classes = number_of_labels(model.config)

    # autograph: nothing here needs its rewriting, which would take longer than many a photograph.
    @tf.function(input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)], autograph=False)
    def predict(pixels: tf.Tensor) -> tf.Tensor:
        logits = segment_logits(
            pixels, processing, resizing, lambda x: model(x, training=False).logits, classes
        )
        return label_map(logits, tf.shape(pixels)[0], tf.shape(pixels)[1])

    return lambda pixels: predict(tf.constant(pixels)).numpy()


def evaluate(
    predict: Predict, pairs: Sequence[Pair], rules: MaskRules, tick: Callable[[], None] = lambda: None
) -> Evaluation:
    """Predict every photograph and count.

    Args:
        predict: See `predictor`.
        pairs: Checked photographs and masks.
        rules: How the masks are read.
        tick: Called after each pair.
    """
    total = np.zeros((rules.num_labels, rules.num_labels), np.int64)
    images = []
    for pair in pairs:
        counts = confusion(read_mask(pair.mask, rules), predict(read_image(pair.image)), rules.num_labels)
        own = scores(counts)
        images.append(ImageScore(pair.name, own.mean_iou, own.pixel_accuracy))
        total += counts
        tick()
    return Evaluation(scores(total), total, tuple(images))
