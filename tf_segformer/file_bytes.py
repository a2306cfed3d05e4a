"""Reading numbers and walking through the parts of a file, in plain TensorFlow ops.

A read beyond the end of the file raises `tf.errors.InvalidArgumentError`.
"""

from collections.abc import Callable
from typing import Literal

import tensorflow as tf

# A file may be built to be walked in tiny steps: no walk goes on for longer than this.
MAX_STEPS = 20_000

_BYTES = [bytes([value]) for value in range(256)]


def file_bytes(file: tf.Tensor) -> tf.Tensor:
    """Return the bytes of a scalar string as uint8 [length]."""
    return tf.io.decode_raw(file, tf.uint8)


def unsigned(
    data: tf.Tensor,
    position: int | tf.Tensor,
    size: int,
    order: Literal["little", "big"] = "little",
) -> tf.Tensor:
    """Return the unsigned integer in `size` bytes from `position` on, scalar.

    Numbers of up to three bytes come as int32, longer ones as int64.
    """
    dtype = tf.int32 if size < 4 else tf.int64
    values = tf.cast(tf.gather(data, position + tf.range(size)), dtype)
    weights = [256**i for i in range(size)]
    return tf.reduce_sum(values * tf.constant(weights if order == "little" else weights[::-1], dtype))


def has_bytes(data: tf.Tensor, position: int | tf.Tensor, expected: bytes) -> tf.Tensor:
    """Return whether the data has these bytes at this position, scalar bool; no at its end."""
    found = data[position : position + len(expected)]
    found = tf.pad(tf.cast(found, tf.int32), [[0, len(expected) - tf.size(found)]], constant_values=-1)
    return tf.reduce_all(found == tf.constant(list(expected)))


def little_endian(value: tf.Tensor, size: int) -> tf.Tensor:
    """Return the `size` bytes of a whole number, lowest first, as a scalar string."""
    weights = tf.constant([256**i for i in range(size)], tf.int64)
    digits = tf.cast(value, tf.int64) // weights % 256
    return tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), digits))


def walk(
    step: Callable[[tf.Tensor], tf.Tensor],
    arrived: Callable[[tf.Tensor], tf.Tensor],
    start: int | tf.Tensor,
) -> tf.Tensor:
    """Step from position to position until `arrived`, and return the last position, int32.

    Raises:
        tf.errors.InvalidArgumentError: it takes more than `MAX_STEPS`.
    """
    steps, position = tf.while_loop(
        lambda steps, position: (steps < MAX_STEPS) & ~arrived(position),
        lambda steps, position: (steps + 1, step(position)),
        (tf.constant(0), tf.cast(start, tf.int32)),
    )
    check = tf.debugging.Assert(steps < MAX_STEPS, ["The file has too many parts to walk through"])
    with tf.control_dependencies([check]):
        return tf.identity(position)
