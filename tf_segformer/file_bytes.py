"""Reading numbers and chunks out of a file's bytes, in plain TensorFlow ops.

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


def starts_with(file: tf.Tensor, prefix: bytes, position: int = 0) -> tf.Tensor:
    """Return whether the scalar string has these bytes at this position, as a scalar bool."""
    head = tf.strings.substr(file, 0, position + len(prefix))
    if position:
        head = tf.strings.substr(tf.strings.join([head, b"\0" * position]), position, len(prefix))
    return head == prefix


def unsigned(
    data: tf.Tensor,
    position: int | tf.Tensor,
    size: int,
    order: Literal["little", "big"] = "little",
) -> tf.Tensor:
    """Return the unsigned integer in `size` bytes from `position` on, as a scalar int32 or int64.

    Numbers of up to three bytes come as int32, longer ones as int64.
    """
    dtype = tf.int32 if size < 4 else tf.int64
    values = tf.cast(tf.gather(data, position + tf.range(size)), dtype)
    shifts = [8 * i for i in range(size)]
    weights = tf.constant([1 << s for s in (shifts if order == "little" else shifts[::-1])], dtype)
    return tf.reduce_sum(values * weights)


def has_bytes(data: tf.Tensor, position: tf.Tensor, expected: bytes) -> tf.Tensor:
    """Return whether uint8 data has these bytes at this position; false beyond the end."""
    found = data[position : position + len(expected)]
    return (tf.size(found) == len(expected)) & tf.reduce_all(
        tf.pad(found, [[0, len(expected) - tf.size(found)]])
        == tf.constant(list(expected), tf.uint8)
    )


def little_endian(value: tf.Tensor, size: int) -> tf.Tensor:
    """Return the `size` bytes of an integer, lowest first, as a scalar string."""
    digits = tf.bitwise.right_shift(
        tf.cast(value, tf.int64), tf.constant([8 * i for i in range(size)], tf.int64)
    )
    return tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), digits % 256))


def walk(
    step: Callable[[tf.Tensor], tf.Tensor],
    arrived: Callable[[tf.Tensor], tf.Tensor],
    start: tf.Tensor,
) -> tf.Tensor:
    """Step from position to position until `arrived`, and return the last position, int32.

    Raises:
        tf.errors.InvalidArgumentError: it takes more than `MAX_STEPS`.
    """
    steps, position = tf.while_loop(
        lambda steps, position: (steps < MAX_STEPS) & ~arrived(position),
        lambda steps, position: (steps + 1, step(position)),
        (tf.constant(0), tf.convert_to_tensor(start, tf.int32)),
    )
    with tf.control_dependencies(
        [tf.debugging.assert_less(steps, MAX_STEPS, "The file has too many parts to look through.")]
    ):
        return tf.identity(position)
