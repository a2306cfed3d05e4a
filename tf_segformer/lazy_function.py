"""Functions whose graph is part of a SavedModel, but of which only a call makes something."""

from collections.abc import Callable

import tensorflow as tf

# What is known of a file from its head: height, width, `Kind`, and what its decoder needs to know.
HEAD_LENGTH = 13


def file_function(call: Callable[..., tf.Tensor], *, head: bool = False) -> Callable[..., tf.Tensor]:
    """Make a function of one file, a scalar string, that TensorFlow leaves alone until it is called.

    A call of an ordinary `tf.function` is inlined: then every use of it is optimised again, and a
    model with an operation that the server does not know (WebP's, before TensorFlow 2.20) cannot
    run at all. A function that is not inlined is made ready when a call of it first runs.

    Args:
        call: the function.
        head: whether it also takes the file's head, int64 [HEAD_LENGTH].
    """
    signature = [tf.TensorSpec([], tf.string), tf.TensorSpec([HEAD_LENGTH], tf.int64)]
    return tf.function(
        call,
        input_signature=signature if head else signature[:1],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
