"""Windows bitmaps (BMP) to RGB pixels in plain TensorFlow ops, as Pillow reads them.

`tf.io.decode_bmp` knows no palettes, no masks, and no 1, 4 or 16 bits per pixel.
Run-length compression is refused. Source of the layout: Pillow's BmpImagePlugin.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import fields, file_bytes, length, make_head

_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_SHORT_HEADER = 12
_NO_COMPRESSION, _MASKS = 0, 3

_Masks = dict[tuple[int, ...], tuple[int, ...]]

# For 24 bits per pixel, only the first of these, and 32: masks of red, green, blue and alpha, and the
# positions of R, G and B.
_BYTES: _Masks = {
    (0x00FF0000, 0x0000FF00, 0x000000FF, 0x00000000): (2, 1, 0),
    (0xFF000000, 0x00FF0000, 0x0000FF00, 0x00000000): (3, 2, 1),
    (0xFF000000, 0x0000FF00, 0x000000FF, 0x00000000): (3, 1, 0),
    (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF): (3, 2, 1),
    (0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000): (0, 1, 2),
    (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000): (2, 1, 0),
    (0xFF000000, 0x0000FF00, 0x000000FF, 0x00FF0000): (3, 1, 0),
    (0x00000000, 0x00000000, 0x00000000, 0x00000000): (2, 1, 0),
}
# For 16 bits: masks of red, green and blue, and the shifts of R, G and B.
_SHIFTS_16: _Masks = {
    (0x7C00, 0x03E0, 0x001F): (10, 5, 0),
    (0xF800, 0x07E0, 0x001F): (11, 5, 0),
}


class _Header(NamedTuple):
    """The fields of the header; scalar int64."""

    height: tf.Tensor
    width: tf.Tensor
    kind: tf.Tensor
    size: tf.Tensor
    offset: tf.Tensor  # of the pixels
    top_down: tf.Tensor  # 1 if the first row comes first
    bits: tf.Tensor  # per pixel
    compression: tf.Tensor
    colors: tf.Tensor  # in the palette


def bmp_head(file: tf.Tensor, kind: int) -> tf.Tensor:
    """Read the head of a bitmap, see `file_bytes.make_head`."""
    data = file_bytes(file)
    offset, size, *short_header = fields(data, 10, (0, 4), (4, 4), (8, 2), (10, 2), (14, 2))  # OS/2's
    width, height, bits, compression, colors = fields(data, 18, (0, 4), (4, 4), (10, 2), (12, 4), (28, 4))
    top_down = tf.cast(height >= 0xFF << 24, tf.int64)  # the height is negative
    height += top_down * ((1 << 32) - 2 * height)
    zero = tf.zeros([], tf.int64)
    values = tf.where(
        size == _SHORT_HEADER,
        tf.stack([*short_header, zero, zero, zero]),
        tf.stack([width, height, bits, compression, colors, top_down]),
    )
    width, height, bits, compression, colors, top_down = tf.unstack(values)
    colors = tf.where(colors == 0, tf.bitwise.left_shift(np.int64(1), bits % 32), colors)
    checks = [
        tf.reduce_any(size == np.array(_HEADER_SIZES), axis=0) & (size + 14 <= length(data)),
        (compression == _NO_COMPRESSION) | ((compression == _MASKS) & (bits > 8)),
        tf.reduce_any(bits == np.array([1, 4, 8, 16, 24, 32]), axis=0),
        (width > 0) & (height > 0) & (width < 1 << 30) & (height < 1 << 30),
    ]
    is_valid = tf.reduce_all(tf.stack(checks), axis=0)
    return make_head(is_valid, height, width, kind, size, offset, top_down, bits, compression, colors)


def bmp_pixels(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Return the pixels of a bitmap of 1, 4, 8, 16, 24 or 32 bits per pixel, with a palette or masks.

    Args:
        file: scalar string, the whole file.
        head: what `bmp_head` returned for it.

    Returns:
        uint8 [h, w, 3], RGB, serialized; an empty string where the file is truncated, or its palette or
        masks are of an unknown kind.
    """
    data = file_bytes(file)
    header = _Header(*tf.unstack(head)[: len(_Header._fields)])
    content = data[: length(data)]
    masks, has_masks = _read_masks(data, header)
    palette, depth, has_palette = _read_palette(content, header)
    place, has_rows = _find_rows(content, header, depth)

    def pixels() -> tf.Tensor:
        rows = _read_rows(content, header, place)

        def indexed() -> tf.Tensor:
            shifts = tf.cast(tf.range(8 - depth, -1, -depth), tf.int32)
            ones = tf.bitwise.left_shift(1, tf.cast(depth, tf.int32)) - 1
            shifted = tf.bitwise.right_shift(tf.cast(rows, tf.int32)[:, :, None], shifts)
            index = tf.reshape(tf.bitwise.bitwise_and(shifted, ones), [header.height, -1])
            return tf.gather(palette, index[:, : header.width])

        def direct_16() -> tf.Tensor:
            pairs = tf.cast(tf.reshape(rows[:, : 2 * header.width], [-1, header.width, 2]), tf.int32)
            value = pairs[:, :, :1] + 256 * pairs[:, :, 1:]
            shifts, _ = _lookup(masks[:3], _SHIFTS_16)
            # Red moves up by one bit where green has six.
            largest = tf.where(shifts[0] == 11, tf.constant([31, 63, 31]), tf.constant([31, 31, 31]))
            level = tf.bitwise.bitwise_and(tf.bitwise.right_shift(value, shifts), largest)
            return tf.cast(level * 255 // largest, tf.uint8)

        def direct() -> tf.Tensor:
            count = depth // 8
            pixels = tf.reshape(rows[:, : count * header.width], tf.stack([-1, header.width, count]))
            return tf.gather(pixels, _lookup(masks, _BYTES)[0], axis=2)

        branch = tf.where(depth <= 8, 0, tf.where(depth == 16, 1, 2))
        found = tf.switch_case(branch, [indexed, direct_16, direct])
        first_row_first = header.top_down == 1
        found = tf.cond(first_row_first, lambda: found, lambda: tf.reverse(found, axis=[0]))
        return tf.io.serialize_tensor(found)

    return tf.cond(has_masks & has_palette & has_rows, pixels, lambda: tf.constant(b""))


def _read_masks(data: tf.Tensor, header: _Header) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the masks of red, green, blue and alpha, int64 [4], and whether these are known."""
    # Without masks in the file: those of blue, green, red (and unused) in this order.
    usual_16 = tf.constant([*next(iter(_SHIFTS_16)), 0], tf.int64)
    usual = tf.constant(next(iter(_BYTES)), tf.int64)

    # Behind the header of 40 bytes or within a longer one.
    masks = tf.stack(fields(data, 54, (0, 4), (4, 4), (8, 4), (12, 4)))
    has_alpha = (header.size >= 56) & (header.bits == 32)
    masks = tf.where(has_alpha, masks, masks * np.array([1, 1, 1, 0]))
    masks = tf.where(header.compression == _MASKS, masks, tf.where(header.bits == 16, usual_16, usual))
    is_known = tf.where(header.bits == 16, _lookup(masks[:3], _SHIFTS_16)[1], _lookup(masks, _BYTES)[1])
    is_known &= (header.bits != 24) | tf.reduce_all(masks == usual, axis=0)
    return masks, is_known | (header.bits <= 8)


def _read_palette(content: tf.Tensor, header: _Header) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the palette, uint8 [256, 3] (RGB), the bits per pixel, and whether the palette is valid.

    Pillow ignores a palette of the grays 0, 1, 2, …, or of black and white, and then takes the
    pixels as eight bits, or one, whatever the header says.
    """
    entry = _palette_entry(header)
    count = tf.minimum(header.colors, 1 << 16)
    found = content[header.size + 14 : header.size + 14 + entry * count]
    size = tf.size(found, out_type=tf.int64) // entry * entry  # less than asked for, where the file ends
    found = found[:size]
    found = tf.pad(found, [[0, entry * count - size]])
    colors = tf.reverse(tf.reshape(found, [count, entry])[:, :3], axis=[1])  # from BGR

    grays = tf.cast(tf.range(count) % 256, tf.uint8)
    grays = tf.cond(count == 2, lambda: tf.constant([0, 255], tf.uint8), lambda: grays)
    is_gray = tf.reduce_all(colors == grays[:, None], axis=[0, 1])
    valid = (header.colors > 0) & (header.colors <= 1 << 16) & (is_gray | (size <= 256 * entry))

    every = tf.cast(tf.range(256), tf.uint8)
    every_gray = tf.tile(tf.where(count <= 2, every * 255, every)[:, None], [1, 3])
    palette = tf.where(is_gray, every_gray, tf.pad(colors, [[0, 256], [0, 0]])[:256])
    gray_bits = tf.where(count <= 2, tf.constant(1, tf.int64), 8)
    depth = tf.where(is_gray & (header.bits <= 8), gray_bits, header.bits)
    return palette, depth, valid | (header.bits > 8)


def _palette_entry(header: _Header) -> tf.Tensor:
    """Return the bytes per palette entry, scalar int64."""
    return tf.where(header.size == _SHORT_HEADER, tf.constant(3, tf.int64), 4)


def _pixel_offset(content: tf.Tensor, header: _Header) -> tf.Tensor:
    """Return where the pixels start, scalar int64."""
    end = tf.size(content, out_type=tf.int64)
    palette = tf.where(header.bits <= 8, _palette_entry(header) * header.colors, 0)
    masks = tf.where((header.compression == _MASKS) & (header.size == 40), 12, 0)
    header_end = header.size + 14
    # An offset that leaves no room for the palette, or none at all, is put right.
    offset = tf.where(header.offset == header_end, header_end + palette, header.offset)
    behind = tf.minimum(header_end + tf.cast(masks, tf.int64) + palette, end)
    return tf.where(offset == 0, behind, offset)


def _find_rows(content: tf.Tensor, header: _Header, depth: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return where the rows start and end, and the bytes from one to the next and of one, int64 [4].

    Also whether they are in the file.
    """
    row = (header.width * depth + 7) // 8
    stride = (header.width * header.bits + 31) // 32 * 4
    start = _pixel_offset(content, header)
    end = start + stride * (header.height - 1) + row  # the last row needs no padding
    is_there = (end <= tf.size(content, out_type=tf.int64)) & (row <= stride)
    return tf.stack([start, end, stride, row]), is_there


def _read_rows(content: tf.Tensor, header: _Header, place: tf.Tensor) -> tf.Tensor:
    """Return uint8 [h, bytes from a row to the next], the rows in the order of the file."""
    start, end, stride, row = tf.unstack(place)
    pixels = tf.pad(content[start:end], [[0, stride - row]])
    return tf.reshape(pixels, tf.stack([header.height, stride]))


def _lookup(masks: tf.Tensor, table: _Masks) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the table's entry for these masks, int32 [3], and whether there is one."""
    found = tf.reduce_all(tf.constant(list(table), tf.int64) == masks, axis=1)
    return tf.gather(tf.constant(list(table.values())), tf.argmax(found)), tf.reduce_any(found, axis=0)
