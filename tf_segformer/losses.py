"""The losses of the reference, as scalars."""

import tensorflow as tf
from transformers import SegformerConfig

from tf_segformer.configuration import number_of_labels
from tf_segformer.label_checks import check_batch, check_dtype, check_range
from tf_segformer.numerics import resize_bilinear


def segmentation_loss(labels: tf.Tensor, logits: tf.Tensor, num_labels: int, ignore_index: int) -> tf.Tensor:
    """Cross entropy over the pixels that carry a label.

    The logits are resized to the labels' size first, as `SegformerForSemanticSegmentation` does. With one
    label it is the binary cross entropy, whose mean the reference takes over all pixels, ignored and
    negative ones counted as zero. Where every pixel is ignored the loss is 0; the reference's is NaN.

    Args:
        labels: (B, H, W), integer; 0 ≤ label < num_labels or `ignore_index`. With one label 0, 1 or
            `ignore_index`, and floating ones between are probabilities, as in the reference.
        logits: (B, h, w, num_labels), channels last.
        num_labels: The number of classes.
        ignore_index: The label of pixels that do not count.

    Returns:
        A scalar, float32 or float64.

    Raises:
        ValueError: `labels` or `logits` has a wrong rank or dtype, or there are not as many of both.
        tf.errors.InvalidArgumentError: a label lies outside the range; numbers only known at run time differ.
    """
    labels = tf.convert_to_tensor(labels)
    if labels.shape.rank not in (3, None):
        raise ValueError(
            f"labels has shape {tuple(labels.shape)}; expected (batch, height, width), one class id per "
            "pixel."
        )
    if logits.shape[-1] not in (num_labels, None):
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}; expected (batch, height, width, {num_labels}), "
            "channels last. A model's outputs.logits need tf.transpose(logits, (0, 2, 3, 1)) first."
        )
    check_dtype(labels, floating=num_labels == 1)
    labels = check_batch(labels, logits, "label maps")
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)  # mixed precision: the sum over pixels needs float32
    logits = resize_bilinear(logits, tf.shape(labels)[1], tf.shape(labels)[2])

    if num_labels == 1:
        if not labels.dtype.is_floating:
            labels = tf.cast(labels, tf.int64)
        valid = (labels >= tf.zeros([], labels.dtype)) & (labels != tf.cast(ignore_index, labels.dtype))
        labels = check_range(labels, valid, 1, f"be 0, 1 or the ignore index {ignore_index}")
        target = tf.cast(tf.where(valid, labels, tf.zeros([], labels.dtype)), logits.dtype)
        per_pixel = tf.nn.sigmoid_cross_entropy_with_logits(target, logits[..., 0])
        return tf.reduce_mean(per_pixel * tf.cast(valid, logits.dtype))

    labels = tf.cast(labels, tf.int64)
    valid = labels != ignore_index
    labels = check_range(
        labels, valid, num_labels - 1, f"lie in [0, {num_labels}) or be the ignore index {ignore_index}"
    )
    labels = tf.where(valid, labels, 0)
    counted = tf.cast(valid, logits.dtype)
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

    Raises:
        ValueError: `labels` has a wrong shape or dtype for the problem, or not one entry per image.
        tf.errors.InvalidArgumentError: a label lies outside the range; numbers only known at run time differ.
    """
    labels = tf.convert_to_tensor(labels)
    if logits.dtype != tf.float64:
        logits = tf.cast(logits, tf.float32)
    num_labels, problem = number_of_labels(config), config.problem_type
    if problem is None:
        if num_labels == 1:
            problem = "regression"
        elif labels.dtype.is_integer:
            problem = "single_label_classification"
        else:
            problem = "multi_label_classification"
    per_class = problem == "multi_label_classification" or (problem == "regression" and num_labels > 1)
    _check_shape(labels, problem, num_labels if per_class else 1)
    labels = check_batch(labels, logits, "labels")
    if problem == "regression":
        check_dtype(labels, floating=True)
        target = tf.reshape(tf.cast(labels, logits.dtype), tf.shape(logits))
        return tf.reduce_mean(tf.math.squared_difference(logits, target))
    if problem == "multi_label_classification":
        check_dtype(labels, floating=True)
        target = tf.cast(labels, logits.dtype)
        return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(target, logits))
    check_dtype(labels, floating=False)
    labels = tf.cast(tf.reshape(labels, (-1,)), tf.int64)
    labels = check_range(labels, tf.ones_like(labels, tf.bool), num_labels - 1, f"lie in [0, {num_labels})")
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def _check_shape(labels: tf.Tensor, problem: str, columns: int) -> None:
    """Labels are (B, columns), or (B,) where one column is expected."""
    rank = labels.shape.rank
    if rank is None or (rank == 1 and columns == 1) or (rank == 2 and labels.shape[1] in (columns, None)):
        return
    expected = "(batch,)" if columns == 1 else f"(batch, {columns})"
    raise ValueError(
        f"labels has shape {tuple(labels.shape)}; expected {expected} for {problem} (config.problem_type, or "
        "guessed from num_labels and the labels' dtype)."
    )
