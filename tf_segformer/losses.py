"""The losses of the reference, as scalars."""

import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.numerics import resize_bilinear


def segmentation_loss(labels: tf.Tensor, logits: tf.Tensor, num_labels: int, ignore_index: int) -> tf.Tensor:
    """Cross entropy over the pixels that carry a label.

    The logits are resized to the labels' size first, as `SegformerForSemanticSegmentation` does. With one
    label it is the binary cross entropy, whose mean the reference takes over all pixels, ignored ones
    counted as zero. Where every pixel is ignored the loss is 0; the reference's is NaN.

    Args:
        labels: (B, H, W), integer; 0 ≤ label < num_labels (or 0, 1 with one label), or `ignore_index`.
        logits: (B, h, w, num_labels), channels last.
        num_labels: The number of classes.
        ignore_index: The label of pixels that do not count.

    Returns:
        A scalar, float32 or float64.

    Raises:
        ValueError: `labels` has another rank or a batch size that cannot match.
        tf.errors.InvalidArgumentError: a label lies outside the range.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank != 3:
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}; expected (batch, height, width), one class id per "
            "pixel."
        )
    if not logits.shape[:1].is_compatible_with(labels.shape[:1]):
        raise ValueError(
            f"labels holds {labels.shape[0]} label maps for {logits.shape[0]} images; expected one per image."
        )
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)  # mixed precision: the sum over pixels needs float32
    labels = tf.cast(labels, tf.int32)
    valid = tf.not_equal(labels, ignore_index)
    labels = tf.where(valid, labels, 0)
    logits = resize_bilinear(logits, tf.shape(labels)[1], tf.shape(labels)[2])
    counted = tf.cast(valid, logits.dtype)

    if num_labels == 1:
        counted *= tf.cast(labels >= 0, logits.dtype)
        per_pixel = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(labels, logits.dtype), logits[..., 0])
        return tf.reduce_mean(per_pixel * counted)

    in_range = tf.reduce_all((labels >= 0) & (labels < num_labels))
    check = tf.debugging.Assert(
        in_range,
        [
            f"labels must lie in [0, {num_labels}) or be the ignore index {ignore_index}; found",
            tf.reduce_min(labels),
            "to",
            tf.reduce_max(labels),
        ],
    )
    with tf.control_dependencies([check] if check is not None else []):
        labels = tf.identity(labels)
    per_pixel = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.math.divide_no_nan(tf.reduce_sum(per_pixel * counted), tf.reduce_sum(counted))


def classification_loss(labels: tf.Tensor, logits: tf.Tensor, config: SegformerConfig) -> tf.Tensor:
    """The loss of `SegformerForImageClassification`, as a scalar.

    Mean squared error for one label (regression), binary cross entropy for floating labels of several
    classes (multi-label), cross entropy for integer labels; `config.problem_type` overrides the guess.

    Args:
        labels: (B,) integer or floating, or (B, num_labels) floating.
        logits: (B, num_labels).
        config: Names the number of labels and the problem type.
    """
    labels = tf.convert_to_tensor(labels)
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)
    problem = config.problem_type
    if problem is None:
        if config.num_labels == 1:
            problem = "regression"
        elif labels.dtype.is_integer:
            problem = "single_label_classification"
        else:
            problem = "multi_label_classification"
    if problem == "regression":
        target = tf.reshape(tf.cast(labels, logits.dtype), tf.shape(logits))
        return tf.reduce_mean(tf.math.squared_difference(logits, target))
    if problem == "multi_label_classification":
        target = tf.cast(labels, logits.dtype)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits))
    labels = tf.reshape(tf.cast(labels, tf.int32), (-1,))
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
