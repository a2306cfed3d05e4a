"""PNG files to RGB pixels in plain TensorFlow ops, equal to Pillow's `convert("RGB")`.

The chunks before the pixels are read as Pillow's PngImagePlugin reads them, which is stricter than
libpng about those that are not needed: their checksums must be right, and the known ones complete.
"""

import zlib

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import code, fields, file_bytes, length, make_head, read, walk

_FIRST = 33  # behind the signature and the header
_MAX_CHUNKS = 500  # before the pixels
_MAX_CHUNK = 1 << 22  # bytes: more than any colour profile, EXIF or XMP data

_IS_WORD = np.array([chr(i).isalnum() or chr(i) == "_" for i in range(128)] + [False] * 128)
# Chunks that Pillow refuses if they are shorter.
_SHORTEST = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26}
_CRC_OF_BYTE = np.array([zlib.crc32(bytes([i])) ^ zlib.crc32(b"\0") for i in range(256)], np.int64)


def png_head(file: tf.Tensor, kind: int, gray_16_kind: int) -> tf.Tensor:
    """Read the head of a PNG file up to its pixels, see `file_bytes.make_head`."""
    data = file_bytes(file)
    size, name, width, height, depth, color = fields(
        data, 8, (0, -4), (4, 4), (8, -4), (12, -4), (16, 1), (17, 1)
    )
    end = length(data)
    names = np.array([code(name) for name in _SHORTEST])
    shortest = np.array(list(_SHORTEST.values()))
    needed_alpha = tf.where(color == 2, np.int64(6), tf.where(color == 0, np.int64(2), 0))

    def step(at: tf.Tensor, is_valid: tf.Tensor) -> tuple[tf.Tensor, ...]:
        size, name, *numbers = fields(data, at, (0, -4), (4, 4), *((8 + 4 * i, -4) for i in range(5)))
        is_data = name == code(b"IDAT")
        fine = (at + 12 + size <= end) & (size <= _MAX_CHUNK)
        fine &= tf.reduce_all(tf.gather(tf.constant(_IS_WORD), read(data, at + 4, 4)), axis=0)
        fine &= (name != code(b"IEND")) & (name != code(b"fdAT"))
        fine &= ~tf.reduce_any((name == names) & (size < shortest), axis=0)
        # Transparency is two bytes a channel, and one an entry of a palette.
        fine &= (name != code(b"tRNS")) | (size >= needed_alpha)
        # An animation's first frame may be part of the image; Pillow then reads it into that part.
        is_whole = tf.reduce_all(tf.stack(numbers) == tf.stack([0, width, height, 0, 0]), axis=0)
        fine &= (name != code(b"fcTL")) | is_whole
        checked = tf.cond(fine & ~is_data, lambda: _has_right_checksum(data, at, size), lambda: is_data)
        is_valid &= checked
        return is_valid & ~is_data, tf.where(is_data, at, at + 12 + size), is_valid

    is_valid = (size == 13) & (name == code(b"IHDR")) & (width > 0) & (height > 0)
    goes_on, _, is_valid = walk(step, (is_valid, _FIRST, is_valid), _MAX_CHUNKS)
    kind = tf.where((depth == 16) & (color == 0), np.int64(gray_16_kind), kind)
    return make_head(is_valid & ~goes_on, height, width, kind)


def decode_gray_16(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Decode a PNG file of 16 bits gray: Pillow clips to 255, `tf.io.decode_png` would shift.

    Args:
        file: scalar string, the whole file.
        head: what `png_head` returned for it.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    del head
    gray = tf.io.decode_png(file, channels=1, dtype=tf.uint16)
    return tf.tile(tf.cast(tf.minimum(gray, 255), tf.uint8), [1, 1, 3])


def _has_right_checksum(data: tf.Tensor, at: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return whether the checksum of the chunk at this position, of so many bytes, is right.

    A checksum of zeros and a message is that of the message alone, and the checksum of two parts is
    that of the second, and of the first moved on by as many zeros as the second has bytes. So all
    pairs of neighbours are joined at once, until one is left. Moving on is linear in the bits: the
    four bytes of a checksum are looked up each in a table of 256 entries, and the tables of a double
    distance are the tables moved on themselves.
    """

    def moved(tables: tf.Tensor, checksums: tf.Tensor) -> tf.Tensor:
        four = tf.bitwise.right_shift(checksums[:, None], np.array([0, 8, 16, 24]))
        index = tf.bitwise.bitwise_and(four, np.int64(255)) + np.array([0, 256, 512, 768])
        a, b, c, d = tf.unstack(tf.gather(tables, index), num=4, axis=1)
        return tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(a, b), tf.bitwise.bitwise_xor(c, d))

    def join(checksums: tf.Tensor, tables: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        odd = tf.size(checksums) % 2
        pairs = tf.reshape(tf.concat([tf.zeros([odd], tf.int64), checksums], axis=0), [-1, 2])
        joined = tf.bitwise.bitwise_xor(moved(tables, pairs[:, 0]), pairs[:, 1])
        return joined, moved(tables, tables)

    content = tf.cast(data[at + 4 : at + 8 + size], tf.int32)
    # The checksum starts from ones: as if the first four bytes were inverted.
    content = tf.concat([255 - content[:4], content[4:]], axis=0)
    start = tf.gather(tf.constant(_CRC_OF_BYTE), content)
    low = np.arange(256)
    by_one = np.concatenate([_CRC_OF_BYTE, low, low << 8, low << 16]).astype(np.int64)
    joined, _ = tf.while_loop(
        lambda checksums, tables: tf.size(checksums) > 1,
        join,
        (start, tf.constant(by_one)),
        shape_invariants=(tf.TensorShape([None]), tf.TensorShape([1024])),
    )
    noted = read(data, at + 8 + size, 4)
    bytes_ = tf.bitwise.right_shift(tf.bitwise.invert(joined[0]), np.array([24, 16, 8, 0]))
    return tf.reduce_all(tf.bitwise.bitwise_and(bytes_, np.int64(255)) == noted, axis=0)
