"""Labels that do not fit the model, named before a loss is computed of them.

What shapes and dtypes tell is a ValueError while a graph is traced; the rest is asserted in it.
"""

from collections.abc import Sequence

import tensorflow as tf


def check_dtype(labels: tf.Tensor, *, floating: bool) -> None:
    """Refuse labels that are no class ids; floating ones pass only where `floating` is true.

    Raises:
        ValueError: naming the dtype.
    """
    if labels.dtype.is_integer or (floating and (labels.dtype.is_floating or labels.dtype.is_bool)):
        return
    raise ValueError(
        f"labels has dtype {labels.dtype.name}; expected integers, the class ids. Read label maps without "
        "rescaling them, and convert them with tf.cast(labels, tf.int32)."
    )


def check_batch(labels: tf.Tensor, logits: tf.Tensor, what: str) -> tf.Tensor:
    """Return `labels` if there are as many as images.

    Raises:
        ValueError: their numbers are known while tracing, and differ.
        tf.errors.InvalidArgumentError: they differ at run time.
    """
    found, expected = labels.shape[0], logits.shape[0]
    if found is not None and expected is not None:
        if found == expected:
            return labels
        raise ValueError(
            f"labels holds {found} {what} for {expected} images; expected one per image. Batch both alike."
        )
    check = tf.debugging.assert_equal(
        tf.shape(labels)[0],
        tf.shape(logits)[0],
        message=f"labels must hold as many {what} as there are images.",
    )
    return _after([check], labels)


def check_range(labels: tf.Tensor, valid: tf.Tensor, highest: int, expected: str) -> tf.Tensor:
    """Return `labels` if every valid one lies in 0 … `highest`.

    Args:
        labels: numbers, in their own dtype: a cast could bring a wrong one into the range.
        valid: bool, of the same shape; others are not looked at.
        highest: the highest label.
        expected: completes "labels must ".

    Raises:
        tf.errors.InvalidArgumentError: a label lies outside. (XLA leaves this check out.)
    """
    limit = tf.cast(highest, labels.dtype)
    zero = tf.zeros([], labels.dtype)
    check = tf.debugging.Assert(
        tf.reduce_all(~valid | ((labels >= zero) & (labels <= limit))),
        [
            f"labels must {expected}; found",
            tf.reduce_min(tf.where(valid, labels, zero)),
            "to",
            tf.reduce_max(tf.where(valid, labels, zero)),
            "Has the label map other classes than config.num_labels says, or does its 0 stand for 'no "
            "class' (then: do_reduce_labels=True in the image processor)?",
        ],
        summarize=1,
    )
    return _after([check], labels)


def _after(checks: Sequence[tf.Operation | None], x: tf.Tensor) -> tf.Tensor:
    """`x`, to be had only once the checks passed; executed eagerly, they are None and done."""
    with tf.control_dependencies([check for check in checks if check is not None]):
        return tf.identity(x)
