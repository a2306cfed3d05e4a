"""The orientation that a camera notes in a file's EXIF data, in plain TensorFlow ops.

Neither Pillow's `open` nor TensorFlow's decoders apply it, so that the reference sees a phone's
photograph sideways; `apply_orientation` does what Pillow's `ImageOps.exif_transpose` does.
Damaged EXIF data count as none.
"""

from collections.abc import Callable
from typing import Literal

import tensorflow as tf

from tf_segformer.file_bytes import has_bytes, unsigned

_ORIENTATION = 0x0112
_SHORT, _LONG = 3, 4
_MAX_PARTS = 1_000  # of a file to look through: a photograph has a dozen before the EXIF data


def apply_orientation(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror an image upright.

    Args:
        pixels: uint8 [h, w, 3].
        orientation: scalar int32, the EXIF tag's value, 1 to 8; any other counts as 1.

    Returns:
        uint8 [h, w, 3], or [w, h, 3] for orientations 5 to 8.
    """

    def rows(image: tf.Tensor) -> tf.Tensor:
        return tf.reverse(image, axis=[0])

    def columns(image: tf.Tensor) -> tf.Tensor:
        return tf.reverse(image, axis=[1])

    def swap(image: tf.Tensor) -> tf.Tensor:
        return tf.transpose(image, [1, 0, 2])

    upright = tf.switch_case(
        tf.where((orientation >= 1) & (orientation <= 8), orientation - 1, 0),
        [
            lambda: pixels,
            lambda: columns(pixels),
            lambda: rows(columns(pixels)),
            lambda: rows(pixels),
            lambda: swap(pixels),
            lambda: columns(swap(pixels)),
            lambda: rows(columns(swap(pixels))),
            lambda: rows(swap(pixels)),
        ],
    )
    return tf.ensure_shape(upright, [None, None, 3])


def jpeg_orientation(data: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a JPEG file's bytes, uint8 [length]; scalar int32, 1 to 8."""

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return has_bytes(data, at, b"\xff\xe1") & has_bytes(data, at + 4, b"Exif\0\0")

    def ends(at: tf.Tensor) -> tf.Tensor:  # no segment, or the start of the pixels
        return ~has_bytes(data, at, b"\xff") | has_bytes(data, at, b"\xff\xda")

    def following(at: tf.Tensor) -> tf.Tensor:
        filling = has_bytes(data, at, b"\xff\xff")  # any number of FF may precede a marker
        return at + tf.where(filling, 1, 2 + _length(data, at + 2, 2, "big"))

    found = _find(tf.constant(2), is_exif, ends, following)
    return _orientation(data, found, found + 4, _length(data, found + 2, 2, "big") - 2)


def png_orientation(data: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a PNG file's bytes, uint8 [length]; scalar int32, 1 to 8."""
    found = _find(
        tf.constant(8),
        lambda at: has_bytes(data, at + 4, b"eXIf"),
        lambda at: at + 12 > tf.size(data),
        lambda at: at + 12 + _length(data, at, 4, "big"),
    )
    return _orientation(data, found, found + 8, _length(data, found, 4, "big"))


def webp_orientation(data: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a WebP file's bytes, uint8 [length]; scalar int32, 1 to 8."""
    found = _find(
        tf.constant(12),
        lambda at: has_bytes(data, at, b"EXIF"),
        lambda at: at + 8 > tf.size(data),
        lambda at: at + 8 + (_length(data, at + 4, 4, "little") + 1) // 2 * 2,
    )
    return _orientation(data, found, found + 8, _length(data, found + 4, 4, "little"))


def _length(data: tf.Tensor, position: tf.Tensor, size: int, order: Literal["little", "big"]) -> tf.Tensor:
    """Return the number at this position, scalar int32; 0 beyond the end of the data."""
    bytes_ = data[position : position + size]
    value = unsigned(tf.pad(bytes_, [[0, size - tf.size(bytes_)]]), 0, size, order)
    return tf.cast(tf.minimum(tf.cast(value, tf.int64), 1 << 30), tf.int32)


def _find(
    start: tf.Tensor,
    matches: Callable[[tf.Tensor], tf.Tensor],
    ends: Callable[[tf.Tensor], tf.Tensor],
    following: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Return the position of the first part of a file that matches, or -1; scalar int32."""
    _, position = tf.while_loop(
        lambda steps, at: (steps < _MAX_PARTS) & ~matches(at) & ~ends(at),
        lambda steps, at: (steps + 1, following(at)),
        (tf.constant(0), start),
    )
    return tf.where(matches(position), position, -1)


def _orientation(data: tf.Tensor, found: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Return the orientation in these EXIF data, or 1 where they are not found."""
    return tf.cond(found >= 0, lambda: _tiff_orientation(data[start : start + length]), lambda: 1)


def _tiff_orientation(exif: tf.Tensor) -> tf.Tensor:
    """Return the orientation in a TIFF directory, with or without "Exif" before it."""
    named = has_bytes(exif, 0, b"Exif\0\0")
    tiff = exif[tf.where(named, 6, 0) :]

    def read(order: Literal["little", "big"]) -> tf.Tensor:
        directory = _length(tiff, tf.constant(4), 4, order)
        entries = tiff[directory + 2 :]
        count = tf.minimum(_length(tiff, directory, 2, order), tf.size(entries) // 12)
        entries = tf.cast(tf.reshape(entries[: 12 * count], [count, 12]), tf.int32)
        # An entry is a tag, a type, the number of values (four bytes) and the value or its place.
        low, high = (0, 1) if order == "little" else (1, 0)
        fields = entries[:, low::2] + 256 * entries[:, high::2]  # (count, 6)
        tag, kind = fields[:, 0], fields[:, 1]
        one = (fields[:, 2 + low] == 1) & (fields[:, 2 + high] == 0)
        short = fields[:, 4]
        long = tf.where(fields[:, 4 + high] == 0, fields[:, 4 + low], 0)
        value = tf.where(kind == _SHORT, short, long)
        usable = (tag == _ORIENTATION) & one & ((kind == _SHORT) | (kind == _LONG))
        values = tf.boolean_mask(value, usable)
        return tf.concat([[1], values], axis=0)[-1]  # the last one, as in a dictionary

    def starts_with(*heads: bytes) -> tf.Tensor:
        return tf.reduce_any([has_bytes(tiff, 0, head) for head in heads])

    # Pillow also takes the two heads of mixed byte order.
    return tf.case(
        [
            (starts_with(b"II*\0", b"II\0*"), lambda: read("little")),
            (starts_with(b"MM\0*", b"MM*\0"), lambda: read("big")),
        ],
        default=lambda: 1,
    )
