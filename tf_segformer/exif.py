"""The orientation that a camera notes in a file's EXIF or XMP data, in plain TensorFlow ops.

Neither Pillow's `open` nor TensorFlow's decoders apply it, so that the reference sees a phone's
photograph sideways; `apply_orientation` does what Pillow's `ImageOps.exif_transpose` does.
Nothing here raises, and damaged data count as none.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import code, fields, file_bytes, has_bytes, length, read, walk

_ORIENTATION = 0x0112
_SHORTS, _LONGS = (3, 8), (4, 9, 13)  # types of values
_UNUSABLE = 9
_MAX_PARTS = 1_000  # of a file to look through: a photograph has a dozen before the EXIF data
# The first one in XMP data; \C is any byte.
_XMP_ORIENTATION = r'\C*?tiff:Orientation(?:="|>)([0-9])\C*'

# The bytes of a TIFF entry: tag, type, number of values, the value as a short and as a long one.
_LITTLE = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 9, 10, 11])
_BIG = np.array([1, 0, 3, 2, 7, 6, 5, 4, 9, 8, 11, 10, 9, 8])
_FIELDS = np.zeros([14, 5], np.int64)
for _row, (_field, _power) in enumerate((f, p) for f, n in enumerate((2, 2, 4, 2, 4)) for p in range(n)):
    _FIELDS[_row, _field] = 256**_power
# Bytes of a value by its type; 0 for an unknown one, which is skipped.
_SIZES = np.array([0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 0])


def apply_orientation(pixels: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turn and mirror an image upright.

    Args:
        pixels: uint8 [h, w, 3].
        orientation: scalar int32, the EXIF tag's value, 1 to 8; any other counts as 1.

    Returns:
        uint8 [h, w, 3], or [w, h, 3] for orientations 5 to 8.
    """

    def one_of(*orientations: int) -> tf.Tensor:
        return tf.reduce_any(orientation == np.array(orientations, np.int32), axis=0)

    def turned() -> tf.Tensor:
        image = tf.cond(one_of(5, 6, 7, 8), lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
        flips = tf.stack([one_of(3, 4, 7, 8), one_of(2, 3, 6, 7), False])
        return tf.raw_ops.Reverse(tensor=image, dims=flips)

    upright = tf.cond((orientation >= 2) & (orientation <= 8), turned, lambda: pixels)
    return tf.ensure_shape(upright, [None, None, 3])


def jpeg_orientation(file: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a JPEG file, scalar string; scalar int32, 1 to 8."""
    data = file_bytes(file)
    xmp_name = b"http://ns.adobe.com/xap/1.0/\0"

    def part(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first, marker, size, name, rest = fields(data, at, (0, 1), (1, 1), (2, -2), (4, 4), (8, 2))
        is_segment = (first == 0xFF) & (marker != 0xDA)  # the pixels follow FFDA
        is_filling = is_segment & (marker == 0xFF)  # any number of FF may precede a marker
        is_app1 = is_segment & (marker == 0xE1)
        is_exif = is_app1 & (name == code(b"Exif")) & (rest == 0)
        is_xmp = is_app1 & has_bytes(data, at + 4, xmp_name)
        return is_segment, is_exif, is_xmp, at + 4, size - 2, tf.where(is_filling, at + 1, at + 2 + size)

    return _orientation(file, data, 2, part)


def png_orientation(file: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a PNG file, scalar string; scalar int32, 1 to 8."""
    data = file_bytes(file)

    def part(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        size, name = fields(data, at, (0, -4), (4, 4))
        is_xmp = has_bytes(data, at + 4, b"iTXtXML:com.adobe.xmp\0\0")  # not compressed
        return at + 12 <= length(data), name == code(b"eXIf"), is_xmp, at + 8, size, at + 12 + size

    return _orientation(file, data, 8, part)


def webp_orientation(file: tf.Tensor) -> tf.Tensor:
    """Return the orientation noted in a WebP file, scalar string; scalar int32, 1 to 8."""
    data = file_bytes(file)

    def part(at: tf.Tensor) -> tuple[tf.Tensor, ...]:
        name, size = fields(data, at, (0, 4), (4, 4))
        is_exif, is_xmp = name == code(b"EXIF"), name == code(b"XMP ")
        return at + 8 <= length(data), is_exif, is_xmp, at + 8, size, at + 8 + size + size % 2

    return _orientation(file, data, 12, part)


def _orientation(
    file: tf.Tensor, data: tf.Tensor, start: int, part: Callable[[tf.Tensor], tuple[tf.Tensor, ...]]
) -> tf.Tensor:
    """Look through the parts of a file: the EXIF data win, XMP's orientation stands in.

    Args:
        file: scalar string.
        data: its bytes.
        start: position of the first part.
        part: from a position, whether a part is there, whether it is EXIF or XMP data, where these
            start, how many bytes they are, and the position of the next part.
    """

    def step(at: tf.Tensor, *found: tf.Tensor) -> tuple[tf.Tensor, ...]:
        is_part, is_exif, is_xmp, content, size, following = part(at)
        here = tf.stack([content, size])
        exif, xmp = (
            tf.where(is_part & is_, here, old) for is_, old in zip((is_exif, is_xmp), found, strict=True)
        )
        return is_part, following, exif, xmp

    none = np.zeros(2, np.int64)
    _, _, exif, xmp = walk(step, (True, start, none, none), _MAX_PARTS)
    end = length(data)

    def in_exif() -> tf.Tensor:
        return _tiff_orientation(tf.strings.substr(file, tf.minimum(exif[0], end), exif[1]))

    def in_xmp() -> tf.Tensor:
        text = tf.strings.substr(file, tf.minimum(xmp[0], end), xmp[1])
        digit = tf.strings.regex_replace(text, _XMP_ORIENTATION, r"\1")
        is_digit = tf.strings.regex_full_match(digit, "[0-9]")
        return tf.strings.to_number(tf.where(is_digit, digit, b"0"), tf.int32)

    noted = tf.cond(exif[0] > 0, in_exif, lambda: 0)
    noted = tf.cond((noted == 0) & (xmp[0] > 0), in_xmp, lambda: noted)
    return tf.where((noted >= 1) & (noted <= 8), noted, 1)


def _tiff_orientation(content: tf.Tensor) -> tf.Tensor:
    """Return the orientation in a TIFF directory, a scalar string, scalar int32; 0 where none is noted.

    One that says nothing, such as a text, is `_UNUSABLE`: XMP data do not stand in for it.
    """
    for _ in range(2):  # "Exif" may stand before it, once or twice
        named = tf.strings.substr(content, 0, 6) == b"Exif\0\0"
        content = tf.strings.substr(content, tf.where(named, 6, 0), tf.strings.length(content))
    data = file_bytes(content)
    end = length(data)

    def starts_with(*heads: bytes) -> tf.Tensor:
        numbers = np.array([list(head) for head in heads])
        return tf.reduce_any(tf.reduce_all(read(data, 0, 4) == numbers, axis=1), axis=0)

    # Pillow also takes the two heads of mixed byte order.
    is_little = starts_with(b"II*\0", b"II\0*")
    directory = tf.where(is_little, *fields(data, 4, (0, 4), (0, -4)))
    directory = tf.minimum(directory, end)
    count = tf.where(is_little, *fields(data, directory, (0, 2), (0, -2)))
    entries = data[directory + 2 : end]
    count = tf.minimum(count, tf.size(entries, tf.int64) // 12)
    entries = tf.cast(tf.reshape(entries[: 12 * count], [-1, 12]), tf.int64)
    columns = tf.linalg.matmul(tf.gather(entries, tf.where(is_little, _LITTLE, _BIG), axis=1), _FIELDS)
    tag, kind, values, short, long = tf.unstack(columns, num=5, axis=1)

    def is_one_of(kinds: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_any(kind[:, None] == np.array(kinds), axis=1)

    # Values of more than four bytes lie elsewhere. Pillow stops where that is beyond the end, and
    # skips what is too much for all the data.
    size = values * tf.gather(tf.constant(_SIZES), tf.minimum(kind, len(_SIZES) - 1))
    outside = tf.where(size > 4, size, 0)
    skipped = (outside > 0) & (tf.cumsum(outside) > end)
    stops = (outside > 0) & ~skipped & (long + size > end)
    is_read = (size > 0) & ~skipped & (tf.math.cumprod(tf.cast(~stops, tf.int32)) > 0)
    value = tf.where(is_one_of(_SHORTS), short, tf.where(is_one_of(_LONGS), long, 0))
    value = tf.where((values == 1) & (value > 0), value, _UNUSABLE)
    # The first one counts; behind the last entry a zero stands for none.
    noted = tf.concat([is_read & (tag == _ORIENTATION), [True]], axis=0)
    found = tf.cast(tf.gather(tf.concat([value, [0]], axis=0), tf.argmax(noted)), tf.int32)
    return tf.where(is_little | starts_with(b"MM\0*", b"MM*\0"), found, 0)
