"""JPEG files to RGB pixels in plain TensorFlow ops, equal to Pillow's `convert("RGB")`.

`tf.io.decode_jpeg` equals Pillow for gray and colour files. Files of four inks (CMYK, YCCK) come
out up to a level off, and the inks themselves cannot be had. What can be had, for the inks a and k
of a pixel, is a·k/255 if the file bears Adobe's mark and (255-a)·(255-k)/255 if not, both rounded
down. Their difference gives a + k exactly. With a quantisation table of zeros an ink becomes a
constant 128, so that the other one is known: four decodings for a rare kind of file.

The head is read as Pillow's JpegImagePlugin and libjpeg's jdmarker read it: where one of them
refuses a file, so does this.
"""

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import code, fields, file_bytes, length, little_endian, make_head, walk
from tf_segformer.lazy_function import STREAMS
from tf_segformer.streams import if_decoded, pixels_of

# A scan costs a pass over all pixels, however few its bytes are. An encoder makes about ten.
MAX_SCANS = 100

_START = b"\xff\xd8"
_ADOBE_CMYK = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
_TABLE = b"\xff\xdb\x00\x43"  # of quantisation; its number and 64 values follow
_INKS = 4

# What the markers FF00 to FFFF are.
_UNKNOWN, _SEGMENT, _FRAME, _SCAN, _FILLING, _STUFFING, _ALONE = range(7)
_KINDS = np.full(256, _UNKNOWN, np.int32)
_KINDS[0x00] = _STUFFING
_KINDS[0xD0:0xD8] = _ALONE  # restart markers
_KINDS[0xE0:0xF0] = _KINDS[[0xC4, 0xCC, 0xDB, 0xDC, 0xDD, 0xFE]] = _SEGMENT
_KINDS[0xC0:0xC4] = _KINDS[0xC5:0xC8] = _KINDS[0xC9:0xCC] = _KINDS[0xCD:0xD0] = _FRAME
_KINDS[0xDA] = _SCAN
_KINDS[0xFF] = _FILLING
# Segments that Pillow refuses if they hold their name but little more: four bytes of the name,
# marker, and the lengths that are refused.
_TOO_SHORT = ((code(b"JFIF"), 0xE0, 6, 8), (code(b"ICC_"), 0xE2, 14, 15), (code(b"Adob"), 0xEE, 7, 8))
_LONGEST_FILLING = 4096  # bytes between two segments


def jpeg_head(file: tf.Tensor, kind: int, inks_kind: int) -> tf.Tensor:
    """Read the head of a JPEG file up to its pixels, see `file_bytes.make_head`."""
    data = file_bytes(file)
    end = length(data)
    names, markers, low, high = (np.array(column) for column in zip(*_TOO_SHORT, strict=True))

    # `found` holds the position of the frame header, and Adobe's note on the colours.
    def step(at: tf.Tensor, found: tf.Tensor, is_valid: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first, marker, size, name, e, transform = fields(
            data, at, (0, 1), (1, 1), (2, -2), (4, 4), (8, 1), (15, 1)
        )
        kind = tf.gather(tf.constant(_KINDS), marker)
        is_scan, is_frame = kind == _SCAN, kind == _FRAME
        is_segment = (kind == _SEGMENT) | is_frame | is_scan
        is_named = (markers == marker) & (names == name)
        is_whole = ~tf.reduce_any(is_named & (size >= low) & (size <= high), axis=0)
        is_whole &= at + 2 + size <= end
        fine = (kind != _UNKNOWN) & (~is_segment | is_whole) & ~(is_frame & (found[0] > 0))
        is_adobe = (marker == 0xEE) & (name == code(b"Adob")) & (e == ord("e")) & (size >= 14)
        advance = tf.where(is_segment, 2 + tf.maximum(size, 2), tf.where(kind == _FILLING, np.int64(1), 2))
        # Both skip what is no marker; a long stretch without one sends the walk beyond the end.
        is_marker = first == 0xFF
        skipped = tf.argmax(data[at : at + _LONGEST_FILLING] == 0xFF)
        skipped = tf.where(skipped > 0, skipped, end)
        noted = tf.stack([tf.where(is_frame, at, found[0]), tf.where(is_adobe, transform, found[1])])
        is_valid &= ~is_marker | fine
        is_end = is_marker & is_scan
        following = tf.where(is_end, at, at + tf.where(is_marker, advance, skipped))
        return (
            is_valid & ~is_end & (following < end),
            following,
            tf.where(is_marker, noted, found),
            is_valid,
        )

    _, scan, found, is_valid = walk(step, (True, 2, np.zeros(2, np.int64), True))
    frame, transform = tf.unstack(found)
    mark, size, depth, height, width, components = fields(
        data, frame, (1, 1), (2, -2), (4, 1), (5, -2), (7, -2), (9, 1)
    )
    start, scan_size, in_scan = fields(data, scan, (0, 2), (2, -2), (4, 1))
    checks = [
        is_valid,
        (frame > 0) & (start == code(b"\xff\xda")) & (depth == 8) & (height > 0) & (width > 0),
        (components == 1) | (components == 3) | (components == _INKS),
        (size == 8 + 3 * components) & (scan_size == 6 + 2 * in_scan),
    ]
    is_valid = tf.reduce_all(tf.stack(checks), axis=0)

    # A frame in one scan is baseline (FFC0, FFC1) and has all components in its first scan.
    one_scan = ~is_valid | ((mark < 0xC2) & (in_scan == components))
    is_valid &= tf.cond(one_scan, lambda: True, lambda: _has_all_scans(data, frame, scan, components))
    kind = tf.where(components == _INKS, np.int64(inks_kind), kind)
    return make_head(is_valid, height, width, kind, frame, scan, transform)


def _has_all_scans(data: tf.Tensor, frame: tf.Tensor, scan: tf.Tensor, components: tf.Tensor) -> tf.Tensor:
    """Return whether every coefficient of every component is there to its last bit, in few scans.

    Where one is missing libjpeg smooths, each of its versions in its own way.
    """
    pixels = data[scan:]
    # Pixels have no FFDA: an FF within them is followed by 00 or a restart marker.
    starts = scan + tf.where((pixels[:-1] == 0xFF) & (pixels[1:] == 0xDA))[: MAX_SCANS + 1, 0]
    headers = tf.cast(tf.gather(data, starts[:, None] + np.arange(16)), tf.int64)  # inside the margin
    in_scan = headers[:, 4:5]
    first, last, bits = tf.unstack(
        tf.gather(headers, tf.minimum(in_scan, 4) * 2 + np.arange(5, 8), batch_dims=1), axis=1
    )
    names = tf.cast(tf.gather(data, frame + 10 + 3 * tf.range(components)), tf.int64)
    has_name = (headers[:, 5:13:2, None] == names) & (np.arange(4)[:, None] < in_scan[:, :, None])
    in_range = (np.arange(64) >= first[:, None]) & (np.arange(64) <= last[:, None])
    touches = tf.reduce_any(has_name, axis=1)[:, :, None] & in_range[:, None, :]  # (scan, component, 64)
    # What counts is the last scan that touches a coefficient: libjpeg notes its precision, even where an
    # earlier one was finer. The scans' numbers are doubled, and odd where they leave no bit out.
    number = 2 * (1 + tf.range(tf.size(starts))) + tf.cast(bits % 16 == 0, tf.int32)
    latest = tf.reduce_max(tf.where(touches, number[:, None, None], 0), axis=0)
    return tf.reduce_all(latest % 2 == 1, axis=[0, 1]) & (tf.size(starts) <= MAX_SCANS)


def ink_streams(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a JPEG file of four inks, CMYK or YCCK, to four that give what the inks are.

    Args:
        file: scalar string, the whole file.
        head: what `jpeg_head` returned for it.

    Returns:
        string [STREAMS], for `streams.decode_jpeg`: with and without Adobe's mark, the last ink constant;
        then the same with the first ink constant.
    """
    frame, scan = tf.unstack(head[3:5])
    # An ink's entry in the frame header is its name, its sampling and the number of its table.
    entries = frame + 10
    positions = tf.minimum(entries + np.arange(2, 3 * _INKS, 3), tf.cast(tf.strings.length(file), tf.int64))
    numbers = tf.gather(file_bytes(file), positions)
    # The file's own mark must not be seen: its name is overwritten.
    unnamed = tf.strings.regex_replace(tf.strings.substr(file, np.int64(0), scan), "Adobe", "-dobe")
    scans = tf.strings.substr(file, scan, tf.cast(tf.strings.length(file), tf.int64))

    def with_constant(ink: int) -> list[tf.Tensor]:
        others = np.arange(_INKS) != ink
        taken = tf.reduce_any((tf.range(_INKS)[:, None] == tf.cast(numbers, tf.int32)) & others, axis=1)
        number = little_endian(tf.argmin(tf.cast(taken, tf.int32)), 1)
        before_number = entries + 3 * ink + 2
        parts = [
            tf.strings.substr(unnamed, np.int64(2), before_number - 2),
            number,
            tf.strings.substr(unnamed, before_number + 1, scan - before_number - 1),
            _TABLE,
            number,
            b"\0" * 64,
            scans,
        ]
        return [tf.strings.join([_START, mark, *parts]) for mark in (_ADOBE_CMYK, b"")]

    return tf.stack([*with_constant(_INKS - 1), *with_constant(0)])


def ink_pixels(file: tf.Tensor, head: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Return the pixels of a JPEG file of four inks, serialized.

    Args:
        file: scalar string, the whole file.
        head: what `jpeg_head` returned for it.
        decoded: string [STREAMS], its decoded streams.
    """
    del file
    transform = head[5]

    def inks_beside(constant: int) -> tf.Tensor:
        """The inks but the one that was made constant: int32 [h, w, 3], the fourth in channel 0."""
        first = 2 * (constant == 0)
        marked, unmarked = (tf.cast(pixels_of(decoded[first + i], None, None, 3), tf.int32) for i in range(2))
        # Clipped for what comes of a damaged file.
        return tf.clip_by_value(255 - 128 + marked - unmarked, 0, 255)

    def pixels() -> tf.Tensor:
        first_three = inks_beside(_INKS - 1)
        fourth = inks_beside(0)[:, :, :1]
        inks = tf.cond(transform != 0, lambda: _ycc_to_cmy(first_three), lambda: first_three)
        # Inks are stored inverted, 255 is white. Pillow rounds to the nearest.
        return tf.io.serialize_tensor(tf.cast((inks * fourth + 127) // 255, tf.uint8))

    return if_decoded(decoded, pixels, count=STREAMS)


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
