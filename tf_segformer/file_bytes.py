"""Reading numbers and walking through the parts of a file, in plain TensorFlow ops.

Every read is safe: beyond the end of the file there are zeros. What must not be cut off is compared
with `length`. Numbers are int64: sums of a few positions and lengths of four bytes do not overflow.
The ops are few, since every exported model holds them.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_segformer.lazy_function import HEAD_LENGTH

# A file may be built to be walked in tiny steps: no walk goes on for longer than this.
MAX_STEPS = 5_000
# Zeros behind the file, so that a short read from its last byte on needs no check.
_MARGIN = 128
_BYTES = [bytes([value]) for value in range(256)]


def file_bytes(file: tf.Tensor) -> tf.Tensor:
    """Return the bytes of a scalar string as uint8 [length + margin]; see `length`."""
    padded = tf.strings.length(file) + _MARGIN
    data = tf.io.decode_raw(file, tf.uint8, fixed_length=padded)
    data.set_shape([None])
    return data


def length(data: tf.Tensor) -> tf.Tensor:
    """Return the length of the file in bytes, scalar int64."""
    return tf.size(data, out_type=tf.int64) - _MARGIN


def read(data: tf.Tensor, position: int | tf.Tensor, count: int) -> tf.Tensor:
    """Return so many bytes from `position` on, int64 [count]; zeros beyond the end of the file."""
    if isinstance(position, int):
        if position + count > _MARGIN:
            raise ValueError(f"Bytes {position} to {position + count} may lie behind a short file's margin")
        return tf.cast(data[position : position + count], tf.int64)
    positions = tf.minimum(position, length(data)) + np.arange(count)
    found = tf.cast(tf.gather(data, positions), tf.int64)
    found.set_shape([count])
    return found


def fields(data: tf.Tensor, position: int | tf.Tensor, *layout: tuple[int, int]) -> list[tf.Tensor]:
    """Return unsigned integers at fixed places behind `position`, scalar int64 each.

    Args:
        data: see `file_bytes`.
        position: where the record starts.
        layout: for each number how many bytes behind `position` it starts, and its size in bytes;
            a negative size means that the highest byte comes first.
    """
    weights = np.zeros([len(layout), max(offset + abs(size) for offset, size in layout)], np.int64)
    for row, (offset, size) in zip(weights, layout, strict=True):
        powers = 256 ** np.arange(abs(size))
        row[offset : offset + abs(size)] = powers if size > 0 else powers[::-1]
    return tf.unstack(tf.reduce_sum(read(data, position, weights.shape[1]) * weights, axis=1))


def code(name: bytes) -> int:
    """Return the name as a field of as many bytes, lowest first, has it."""
    return int.from_bytes(name, "little")


def has_bytes(data: tf.Tensor, position: int | tf.Tensor, expected: bytes) -> tf.Tensor:
    """Return whether the data has these bytes at this position, scalar bool."""
    return tf.reduce_all(read(data, position, len(expected)) == np.array(list(expected)), axis=0)


def little_endian(value: tf.Tensor, size: int) -> tf.Tensor:
    """Return the `size` bytes of a whole number, lowest first, as a scalar string."""
    return byte_string(value // 256 ** np.arange(size) % 256)


def byte_string(values: tf.Tensor) -> tf.Tensor:
    """Return bytes, int64 [n], as a scalar string."""
    return tf.strings.reduce_join(tf.gather(tf.constant(_BYTES), values), axis=0)


def walk(
    step: Callable[..., Sequence[tf.Tensor]],
    start: Sequence[int | bool | tf.Tensor],
    max_steps: int = MAX_STEPS,
) -> list[tf.Tensor]:
    """Repeat `step` until it says stop, but no more than `max_steps` times.

    Args:
        step: makes the next values from the current ones; the first of them is whether to go on.
        start: the first values.
        max_steps: limit of the number of steps.

    Returns:
        the last values; where the first of them is still true, the walk did not come to its end.
    """
    values = [tf.convert_to_tensor(v, tf.int64 if type(v) is int else None) for v in start]
    _, *last = tf.while_loop(
        lambda steps, goes_on, *_: (steps < max_steps) & goes_on,
        lambda steps, _, *values: (steps + 1, *step(*values)),
        (0, *values),
    )
    return last


def make_head(
    is_valid: tf.Tensor, height: tf.Tensor, width: tf.Tensor, kind: int | tf.Tensor, *rest: tf.Tensor
) -> tf.Tensor:
    """Return the head of a file, int64 [HEAD_LENGTH], all zeros unless it is valid."""
    found = tf.stack([height, width, kind, *rest])
    padded = tf.concat([found, np.zeros(HEAD_LENGTH - 3 - len(rest), np.int64)], axis=0)
    return tf.where(is_valid, padded, np.int64(0))


def require(condition: tf.Tensor, message: str) -> tf.Operation:
    """Return an operation that raises `tf.errors.InvalidArgumentError` unless the condition holds.

    `tf.debugging.Assert` would add a conditional and two functions to the graph.
    """
    return tf.raw_ops.Assert(condition=condition, data=[tf.constant(message)])
