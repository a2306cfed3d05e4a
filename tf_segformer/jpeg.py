"""JPEG files to RGB pixels in plain TensorFlow ops, equal to Pillow's `convert("RGB")`.

`tf.io.decode_jpeg` equals Pillow for gray and colour files. Files of four inks (CMYK, YCCK) come
out up to a level off, and the inks themselves cannot be had. What can be had, for the inks a and k
of a pixel, is a·k/255 if the file bears Adobe's mark and (255-a)·(255-k)/255 if not, both rounded
down. Their difference gives a + k exactly. With a quantisation table of zeros an ink becomes a
constant 128, so that the other one is known: four decodings for a rare kind of file.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import MAX_STEPS, file_bytes, has_bytes, little_endian, unsigned

_START = b"\xff\xd8"
_ADOBE_CMYK = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
_TABLE = b"\xff\xdb\x00\x43"  # of quantisation; its number and 64 values follow
_INKS = 4


class _Head(NamedTuple):
    """Positions in the head of a file of four inks, scalar int32."""

    frame: tf.Tensor
    scan: tf.Tensor  # the first one
    transform: tf.Tensor  # not a position: 0 for CMYK, else YCCK


def jpeg_size(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, scalar int64, from a file, scalar string."""
    shape = tf.cast(tf.image.extract_jpeg_shape(file), tf.int64)
    return shape[0], shape[1]


def decode_jpeg(file: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG file: baseline or progressive, gray, YCbCr, RGB, CMYK or YCCK.

    Args:
        file: scalar string, the whole file.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    components = tf.image.extract_jpeg_shape(file)[2]
    pixels = tf.cond(components == 4, lambda: _decode_inks(file), lambda: _decode(file))
    return tf.ensure_shape(pixels, [None, None, 3])


def _decode(file: tf.Tensor) -> tf.Tensor:
    # The default DCT differs from libjpeg's by up to 18 levels on two thirds of the pixels.
    return tf.io.decode_jpeg(file, channels=3, dct_method="INTEGER_ACCURATE")


def _decode_inks(file: tf.Tensor) -> tf.Tensor:
    head = _read_head(file_bytes(file))
    first_three = _inks_beside(3, file, head)
    fourth = _inks_beside(0, file, head)[:, :, :1]
    first_three = tf.cond(head.transform != 0, lambda: _ycc_to_cmy(first_three), lambda: first_three)
    # Inks are stored inverted, 255 is white. Pillow rounds to the nearest.
    return tf.cast((first_three * fourth + 127) // 255, tf.uint8)


def _inks_beside(constant: int, file: tf.Tensor, head: _Head) -> tf.Tensor:
    """Decode with one ink made constant: the fourth gives the first three, the first the fourth.

    Returns:
        int32 [h, w, 3], the first three inks; or the fourth in channel 0.
    """
    # The file's own mark must not be seen: its name is overwritten.
    file = tf.strings.regex_replace(file, "Adobe", "-dobe")
    # An ink's entry in the frame header is its name, its sampling and the number of its table.
    entries = head.frame + 10
    numbers = [unsigned(file_bytes(file), entries + 3 * i + 2, 1) for i in range(_INKS) if i != constant]
    taken = tf.reduce_any(tf.range(_INKS)[:, None] == tf.stack(numbers), axis=1)
    free = tf.argmin(tf.cast(taken, tf.int32))
    number = little_endian(free, 1)
    before_number = entries + 3 * constant + 2
    parts = [
        tf.strings.substr(file, 2, before_number - 2),
        number,
        tf.strings.substr(file, before_number + 1, head.scan - before_number - 1),
        _TABLE,
        number,
        b"\0" * 64,
        tf.strings.substr(file, head.scan, tf.strings.length(file)),
    ]
    marked = _decode(tf.strings.join([_START, _ADOBE_CMYK, *parts]))
    unmarked = _decode(tf.strings.join([_START, *parts]))
    return 255 - 128 + tf.cast(marked, tf.int32) - tf.cast(unmarked, tf.int32)


def _read_head(data: tf.Tensor) -> _Head:
    def step(steps: tf.Tensor, at: tf.Tensor, frame: tf.Tensor, adobe: tf.Tensor) -> tuple[tf.Tensor, ...]:
        marker = unsigned(data, at + 1, 1)
        filling = marker == 0xFF  # any number of FF may precede a marker
        # Of the markers C0 to CF those divisible by four, but for C0, are tables.
        is_frame = (marker == 0xC0) | ((marker > 0xC0) & (marker < 0xCF) & (marker % 4 != 0))
        is_adobe = (marker == 0xEE) & has_bytes(data, at + 4, b"Adobe")
        return (
            steps + 1,
            at + tf.cond(filling, lambda: 1, lambda: 2 + unsigned(data, at + 2, 2, "big")),
            tf.where(is_frame & (frame < 0), at, frame),
            tf.where(is_adobe, at, adobe),
        )

    def goes_on(steps: tf.Tensor, at: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
        segment = has_bytes(data, at, b"\xff") & ~has_bytes(data, at, b"\xff\xda")
        return (steps < MAX_STEPS) & segment

    _, scan, frame, adobe = tf.while_loop(goes_on, step, (0, 2, -1, -1))
    complete = (frame > 0) & has_bytes(data, scan, b"\xff\xda")
    with tf.control_dependencies([tf.debugging.Assert(complete, ["No image in the JPEG file"])]):
        transform = tf.cond(adobe > 0, lambda: unsigned(data, adobe + 15, 1), lambda: 0)
    return _Head(frame, scan, transform)


def _ycc_to_cmy(ycc: tf.Tensor) -> tf.Tensor:
    """Turn luma and chroma into inks with the integers of libjpeg; int32 [h, w, 3], 0 to 255."""
    chroma = np.arange(256) - 128

    def table(factor: float, rounding: int = 1 << 15) -> np.ndarray:
        return chroma * int(factor * (1 << 16) + 0.5) + rounding

    red = tf.constant(table(1.402) >> 16, tf.int32)
    blue = tf.constant(table(1.772) >> 16, tf.int32)
    green_blue = tf.constant(-table(0.34414, -(1 << 15)), tf.int32)
    green_red = tf.constant(-table(0.71414, 0), tf.int32)
    luma, cb, cr = tf.unstack(ycc, axis=-1)
    green = tf.bitwise.right_shift(tf.gather(green_blue, cb) + tf.gather(green_red, cr), 16)
    offsets = tf.stack([tf.gather(red, cr), green, tf.gather(blue, cb)], axis=-1)
    return tf.clip_by_value(255 - (luma[:, :, None] + offsets), 0, 255)
