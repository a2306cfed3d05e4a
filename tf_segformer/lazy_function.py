"""Functions whose graph is part of a SavedModel, but of which only a call makes something."""

from collections.abc import Callable

import tensorflow as tf

# What is known of a file from its head: height, width, `Kind`, and what else is needed to decode it.
HEAD_LENGTH = 13
# A file of four inks is decoded four times; no other kind is more than once.
STREAMS = 4

_ARGUMENTS = (
    tf.TensorSpec([], tf.string),
    tf.TensorSpec([HEAD_LENGTH], tf.int64),
    tf.TensorSpec([STREAMS], tf.string),
)


def file_function(call: Callable[..., tf.Tensor], arguments: int = 1) -> Callable[..., tf.Tensor]:
    """Make a function of one file that TensorFlow leaves alone until it is called.

    A call of an ordinary `tf.function` is inlined: then every use of it is optimised again. A
    function that is not inlined is made ready when a call of it first runs.

    Args:
        call: the function.
        arguments: how many it takes of these: the file, a scalar string; its head, int64
            [HEAD_LENGTH]; and its decoded streams, string [STREAMS].
    """
    return tf.function(
        call,
        input_signature=_ARGUMENTS[:arguments],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
