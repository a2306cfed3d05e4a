"""The checksum of a PNG file's chunks, CRC-32, in plain TensorFlow ops."""

import zlib

import numpy as np
import tensorflow as tf

_BLOCK = 8  # bytes whose checksum is looked up at once
_SHIFTS = np.array([0, 8, 16, 24], np.int32)
_BYTES = np.arange(256, dtype=np.uint32)
_CRC_OF_BYTE = np.array([zlib.crc32(bytes([i])) ^ zlib.crc32(b"\0") for i in range(256)], np.uint32)


def _moved_on(checksums: np.ndarray, count: int) -> np.ndarray:
    """Return the checksums of messages that have so many zeros more."""
    for _ in range(count):
        checksums = _CRC_OF_BYTE[checksums & 255] ^ (checksums >> 8)
    return checksums


# The checksum of each byte at each place of a block, and each byte of a checksum moved on by a block.
_IN_BLOCK = np.stack([_moved_on(_CRC_OF_BYTE, _BLOCK - 1 - place) for place in range(_BLOCK)])
_BY_BLOCK = np.stack([_moved_on(_BYTES << shift, _BLOCK) for shift in _SHIFTS.view(np.uint32)])


def checksum(content: tf.Tensor) -> tf.Tensor:
    """Return the four bytes of a chunk's checksum, highest first, int64 [4].

    A checksum of zeros and a message is that of the message alone, and the checksum of two parts is
    that of the second, and of the first moved on by as many zeros as the second has bytes. So all
    pairs of neighbours are joined at once, until one is left. Moving on is linear in the bits: the
    four bytes of a checksum are looked up each in a table of 256 entries, and the tables of a double
    distance are the tables moved on themselves.

    Args:
        content: uint8 [n], name and content of the chunk; n is at least 4.
    """

    def moved(tables: tf.Tensor, checksums: tf.Tensor) -> tf.Tensor:
        four = tf.bitwise.right_shift(checksums[:, None], _SHIFTS)
        index = tf.bitwise.bitwise_and(four, 255) + 256 * np.arange(4, dtype=np.int32)
        return _joined(tf.gather(tables, index), 4)

    def join(checksums: tf.Tensor, tables: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        odd = tf.size(checksums) % 2
        pairs = tf.reshape(tf.concat([tf.zeros([odd], tf.int32), checksums], axis=0), [-1, 2])
        joined = tf.bitwise.bitwise_xor(moved(tables, pairs[:, 0]), pairs[:, 1])
        return joined, moved(tables, tables)

    # The checksum starts from ones: as if the first four bytes were inverted.
    content = tf.concat([255 - content[:4], content[4:]], axis=0)
    content = tf.pad(content, [[-tf.size(content) % _BLOCK, 0]])
    index = tf.cast(tf.reshape(content, [-1, _BLOCK]), tf.int32) + 256 * np.arange(_BLOCK, dtype=np.int32)
    start = _joined(tf.gather(tf.constant(_IN_BLOCK.ravel().view(np.int32)), index), _BLOCK)
    joined, _ = tf.while_loop(
        lambda checksums, tables: tf.size(checksums) > 1,
        join,
        (start, tf.constant(_BY_BLOCK.ravel().view(np.int32))),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([1024])),
    )
    bytes_ = tf.bitwise.right_shift(tf.bitwise.invert(joined[0]), _SHIFTS[::-1])
    return tf.cast(tf.bitwise.bitwise_and(bytes_, 255), tf.int64)


def _joined(checksums: tf.Tensor, count: int) -> tf.Tensor:
    """Return the exclusive or of the columns of int32 [n, count], a power of two; int32 [n]."""
    while count > 1:
        count //= 2
        checksums = tf.bitwise.bitwise_xor(checksums[:, :count], checksums[:, count:])
    return checksums[:, 0]
