"""Windows bitmaps (BMP) to RGB pixels in plain TensorFlow ops, as Pillow reads them.

`tf.io.decode_bmp` knows no palettes, no masks, and no 1, 4 or 16 bits per pixel.
Run-length compression is refused. Source of the layout: Pillow's BmpImagePlugin.
"""

from typing import NamedTuple

import tensorflow as tf

from tf_segformer.file_bytes import file_bytes, unsigned

_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)
_NO_COMPRESSION, _MASKS = 0, 3

_Masks = dict[tuple[int, ...], tuple[int, ...]]

# For 32 bits per pixel: masks of red, green, blue and alpha, and the positions of R, G and B.
_BYTES_32: _Masks = {
    (0x00FF0000, 0x0000FF00, 0x000000FF, 0x00000000): (2, 1, 0),
    (0xFF000000, 0x00FF0000, 0x0000FF00, 0x00000000): (3, 2, 1),
    (0xFF000000, 0x0000FF00, 0x000000FF, 0x00000000): (3, 1, 0),
    (0xFF000000, 0x00FF0000, 0x0000FF00, 0x000000FF): (3, 2, 1),
    (0x000000FF, 0x0000FF00, 0x00FF0000, 0xFF000000): (0, 1, 2),
    (0x00FF0000, 0x0000FF00, 0x000000FF, 0xFF000000): (2, 1, 0),
    (0xFF000000, 0x0000FF00, 0x000000FF, 0x00FF0000): (3, 1, 0),
    (0x00000000, 0x00000000, 0x00000000, 0x00000000): (2, 1, 0),
}
# For 24 bits: masks of red, green and blue, and the positions of R, G and B.
_BYTES_24: _Masks = {(0x00FF0000, 0x0000FF00, 0x000000FF): (2, 1, 0)}
# For 16 bits: masks of red, green and blue, and the shifts of R, G and B.
_SHIFTS_16: _Masks = {
    (0x7C00, 0x03E0, 0x001F): (10, 5, 0),
    (0xF800, 0x07E0, 0x001F): (11, 5, 0),
}


class _Header(NamedTuple):
    """The fields of the header; scalar int64."""

    size: tf.Tensor
    offset: tf.Tensor  # of the pixels
    width: tf.Tensor
    height: tf.Tensor
    top_down: tf.Tensor  # 1 if the first row comes first
    bits: tf.Tensor  # per pixel
    compression: tf.Tensor
    colors: tf.Tensor  # in the palette


def _read_header(data: tf.Tensor) -> _Header:
    size = unsigned(data, 14, 4)
    known = tf.reduce_any(size == tf.constant(_HEADER_SIZES, tf.int64))
    check = tf.debugging.Assert(known, ["Unknown size of the BMP header:", size])

    def short_header() -> list[tf.Tensor]:  # OS/2's
        width, height, bits = (tf.cast(unsigned(data, at, 2), tf.int64) for at in (18, 20, 24))
        zero = tf.zeros_like(width)
        return [width, height, zero, bits, zero, zero]

    def long_header() -> list[tf.Tensor]:
        top_down = tf.cast(data[25] == 255, tf.int64)  # the height is negative
        height = unsigned(data, 22, 4)
        height = tf.where(top_down == 1, (1 << 32) - height, height)
        bits = tf.cast(unsigned(data, 28, 2), tf.int64)
        compression, colors = unsigned(data, 30, 4), unsigned(data, 46, 4)
        return [unsigned(data, 18, 4), height, top_down, bits, compression, colors]

    with tf.control_dependencies([check]):
        width, height, top_down, bits, compression, colors = tf.cond(size == 12, short_header, long_header)
    colors = tf.where(colors == 0, tf.bitwise.left_shift(tf.ones_like(bits), bits % 32), colors)
    offset = unsigned(data, 10, 4)
    return _Header(size, offset, width, height, top_down, bits, compression, colors)


def bmp_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, scalar int64, from the bytes of a file, uint8 [length]."""
    header = _read_header(data)
    return header.height, header.width


def decode_bmp(file: tf.Tensor) -> tf.Tensor:
    """Decode a bitmap of 1, 4, 8, 16, 24 or 32 bits per pixel, with a palette or masks.

    Args:
        file: scalar string, the whole file.

    Returns:
        uint8 [h, w, 3], RGB, equal to Pillow's `convert("RGB")`.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged, truncated or compressed.
    """
    data = file_bytes(file)
    header = _read_header(data)
    masks = _read_masks(data, header)
    palette, depth = _read_palette(data, header)
    with tf.control_dependencies([_check_kind(header)]):
        rows = _read_rows(data, header, depth)
    width = tf.cast(header.width, tf.int32)

    def indexed(bits: int) -> tf.Tensor:
        shifts = tf.range(8 - bits, -1, -bits)
        index = tf.bitwise.right_shift(tf.cast(rows, tf.int32)[:, :, None], shifts) % (1 << bits)
        index = tf.reshape(index, [tf.shape(rows)[0], -1])[:, :width]
        return tf.gather(palette, index)

    def direct_16() -> tf.Tensor:
        pairs = tf.cast(tf.reshape(rows[:, : 2 * width], [-1, width, 2]), tf.int32)
        value = pairs[:, :, :1] + 256 * pairs[:, :, 1:]
        shifts = _lookup(masks[:3], _SHIFTS_16)
        # Red moves up by one bit where green has six.
        largest = tf.where(shifts[0] == 11, tf.constant([31, 63, 31]), tf.constant([31, 31, 31]))
        level = tf.bitwise.bitwise_and(tf.bitwise.right_shift(value, shifts), largest)
        return tf.cast(level * 255 // largest, tf.uint8)

    def direct(count: int) -> tf.Tensor:
        pixels = tf.reshape(rows[:, : count * width], [-1, width, count])
        order = _lookup(masks[:3], _BYTES_24) if count == 3 else _lookup(masks, _BYTES_32)
        return tf.gather(pixels, order, axis=2)

    branches = {
        1: lambda: indexed(1),
        4: lambda: indexed(4),
        8: lambda: indexed(8),
        16: direct_16,
        24: lambda: direct(3),
        32: lambda: direct(4),
    }
    branch = tf.argmax(tf.constant(list(branches), tf.int64) == depth, output_type=tf.int32)
    pixels = tf.switch_case(branch, list(branches.values()))
    first_row_first = header.top_down == 1
    return tf.cond(first_row_first, lambda: pixels, lambda: tf.reverse(pixels, axis=[0]))


def _check_kind(header: _Header) -> tf.Operation:
    plain = header.compression == _NO_COMPRESSION
    masked = (header.compression == _MASKS) & (header.bits > 8)
    depth = tf.reduce_any(header.bits == tf.constant([1, 4, 8, 16, 24, 32], tf.int64))
    size = (header.width > 0) & (header.height > 0)
    return tf.group(
        tf.debugging.Assert(plain | masked, ["BMP compression is not supported"]),
        tf.debugging.Assert(depth, ["Unknown number of bits per BMP pixel:", header.bits]),
        tf.debugging.Assert(size, ["The BMP image has no pixels"]),
    )


def _read_masks(data: tf.Tensor, header: _Header) -> tf.Tensor:
    """Return int64 [4], the masks of red, green, blue and alpha."""
    # Without masks in the file: those of blue, green, red (and unused) in this order.
    usual_16 = tf.constant([*next(iter(_SHIFTS_16)), 0], tf.int64)
    usual = tf.constant(next(iter(_BYTES_32)), tf.int64)

    def read() -> tf.Tensor:  # behind the header of 40 bytes or within a longer one
        masks = tf.stack([unsigned(data, at, 4) for at in (54, 58, 62)])
        alpha = tf.cond(
            header.size >= 56,
            lambda: unsigned(data, 66, 4),
            lambda: tf.zeros([], tf.int64),
        )
        return tf.concat([masks, [alpha]], axis=0)

    return tf.cond(
        header.compression == _MASKS,
        read,
        lambda: tf.where(header.bits == 16, usual_16, usual),
    )


def _read_palette(data: tf.Tensor, header: _Header) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the palette, uint8 [256, 3] (RGB), and the bits per pixel, scalar int64.

    Pillow ignores a palette of the grays 0, 1, 2, …, or of black and white, and then takes the
    pixels as eight bits, or one, whatever the header says.
    """
    entry = _palette_entry(header)
    count = tf.minimum(header.colors, 1 << 16)
    found = data[header.size + 14 : header.size + 14 + entry * count]
    size = tf.size(found, out_type=tf.int64)  # less than asked for, where the file ends
    found = tf.pad(found, [[0, entry * count - size]])
    colors = tf.reverse(tf.reshape(found, [count, entry])[:, :3], axis=[1])  # from BGR

    grays = tf.cast(tf.range(count) % 256, tf.uint8)
    grays = tf.cond(count == 2, lambda: tf.constant([0, 255], tf.uint8), lambda: grays)
    is_gray = tf.reduce_all(colors == grays[:, None])
    valid = (header.colors > 0) & (header.colors <= 1 << 16) & (is_gray | (size <= 256 * entry))

    every = tf.cast(tf.range(256), tf.uint8)
    every_gray = tf.tile(tf.where(count <= 2, every * 255, every)[:, None], [1, 3])
    with tf.control_dependencies(
        [tf.debugging.Assert(valid | (header.bits > 8), ["BMP palette size:", header.colors])]
    ):
        palette = tf.where(is_gray, every_gray, tf.pad(colors, [[0, 256], [0, 0]])[:256])
    gray_bits = tf.where(count <= 2, tf.constant(1, tf.int64), 8)
    return palette, tf.where(is_gray & (header.bits <= 8), gray_bits, header.bits)


def _palette_entry(header: _Header) -> tf.Tensor:
    """Return the bytes per palette entry, scalar int64."""
    return tf.where(header.size == 12, tf.constant(3, tf.int64), 4)


def _pixel_offset(data: tf.Tensor, header: _Header) -> tf.Tensor:
    """Return where the pixels start, scalar int64."""
    length = tf.size(data, out_type=tf.int64)
    palette = tf.where(header.bits <= 8, _palette_entry(header) * header.colors, 0)
    masks = tf.where((header.compression == _MASKS) & (header.size == 40), 12, 0)
    header_end = header.size + 14
    # An offset that leaves no room for the palette, or none at all, is put right.
    offset = tf.where(header.offset == header_end, header_end + palette, header.offset)
    behind = tf.minimum(header_end + tf.cast(masks, tf.int64) + palette, length)
    return tf.where(offset == 0, behind, offset)


def _read_rows(data: tf.Tensor, header: _Header, depth: tf.Tensor) -> tf.Tensor:
    """Return uint8 [h, bytes per row], the rows in the order of the file."""
    row = (header.width * depth + 7) // 8
    stride = (header.width * header.bits + 31) // 32 * 4
    needed = stride * (header.height - 1) + row  # the last row needs no padding
    offset = _pixel_offset(data, header)
    enough = offset + needed <= tf.size(data, out_type=tf.int64)
    with tf.control_dependencies(
        [tf.debugging.Assert(enough & (row <= stride), ["The BMP file is truncated"])]
    ):
        pixels = data[offset : offset + needed]
    pixels = tf.pad(pixels, [[0, stride - row]])
    return tf.reshape(pixels, tf.stack([header.height, stride]))


def _lookup(masks: tf.Tensor, table: _Masks) -> tf.Tensor:
    """Return the table's entry for these masks, int32 [3]."""
    found = tf.reduce_all(tf.constant(list(table), tf.int64) == masks, axis=1)
    check = tf.debugging.Assert(tf.reduce_any(found), ["BMP masks are not supported:", masks])
    with tf.control_dependencies([check]):
        return tf.gather(tf.constant(list(table.values())), tf.argmax(found))
