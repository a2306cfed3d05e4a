"""PNG files to RGB pixels in plain TensorFlow ops, equal to Pillow's `convert("RGB")`.

The chunks are read as Pillow's PngImagePlugin reads them, which is stricter than libpng about those
that are not needed: before the pixels their checksums must be right, and the known ones complete.
The decoder is then given the header, the palette and the pixels alone: libpng would decompress texts
and colour profiles, of which a small file may hold gigabytes.
"""

import zlib

import numpy as np
import tensorflow as tf

from tf_segformer.file_bytes import byte_string, code, fields, file_bytes, length, make_head, read, walk
from tf_segformer.lazy_function import STREAMS
from tf_segformer.png_checksum import checksum
from tf_segformer.streams import if_decoded, one_stream, pixels_of

_FIRST = 8  # behind the signature
_HEADER_END = 33
_END = b"\0\0\0\0IEND\xaeB`\x82"
_MAX_CHUNKS = 500  # before the pixels
_MAX_CHUNK = 1 << 22  # bytes: more than any colour profile, EXIF or XMP data
_AT_ONCE = 1024  # chunks of pixels of one length that are passed in one step

_IS_WORD = np.array([chr(i).isalnum() or chr(i) == "_" for i in range(128)] + [False] * 128)
# Chunks that Pillow refuses if they are shorter.
_SHORTEST = {
    b"IHDR": 13, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"acTL": 8, b"fcTL": 26, b"fdAT": 4,
}  # fmt: skip
_PALETTE, _GRAY = 3, 0  # types of colour
# Of the header's checksum, where 16 bits gray become 8 bits gray and alpha.
_HEADERS = [b"IHDR" + bytes(8) + kind + bytes(3) for kind in (b"\x10\0", b"\x08\x04")]
_CHANGE = np.frombuffer((zlib.crc32(_HEADERS[0]) ^ zlib.crc32(_HEADERS[1])).to_bytes(4, "big"), np.uint8)


def png_head(file: tf.Tensor, kind: int, gray_16_kind: int) -> tf.Tensor:
    """Read all chunks of a PNG file, see `file_bytes.make_head`; behind the kind: where they start and end.

    Those are the first and the last position of the pixels' chunks, and of the palette.
    """
    data = file_bytes(file)
    size, name, width, height, depth, color = fields(
        data, _FIRST, (0, -4), (4, 4), (8, -4), (12, -4), (16, 1), (17, 1)
    )
    end = length(data)
    names = np.array([code(name) for name in _SHORTEST])
    shortest = np.array(list(_SHORTEST.values()))
    needed_alpha = tf.where(color == 2, np.int64(6), tf.where(color == _GRAY, np.int64(2), 0))

    # `pixels` holds where the pixels start, 0 before them, and where they end; `palette` the same.
    # An animation's frames have numbers in sequence, of which `number` is the last one.
    def step(
        at: tf.Tensor, count: tf.Tensor, pixels: tf.Tensor, palette: tf.Tensor, number: tf.Tensor,
        frames: tf.Tensor, is_valid: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:  # fmt: skip
        size, name, *numbers = fields(data, at, (0, -4), (4, 4), *((8 + 4 * i, -4) for i in range(5)))
        is_word = tf.reduce_all(tf.gather(tf.constant(_IS_WORD), read(data, at + 4, 4)), axis=0)
        is_before = pixels[0] == 0
        is_data = (name == code(b"IDAT")) & (is_before | (at == pixels[1]))
        is_control, is_frame = name == code(b"fcTL"), name == code(b"fdAT")

        # What Pillow looks at in every chunk.
        fine = ~tf.reduce_any((name == names) & (size < shortest), axis=0)
        # Transparency is two bytes a channel, and one an entry of a palette.
        fine &= (name != code(b"tRNS")) | (size >= needed_alpha)
        fine &= ~(is_control | is_frame) | (numbers[0] == number + 1)
        fine &= ~is_frame | (number >= 0)
        fine &= tf.cond(
            (name == code(b"zTXt")) | (name == code(b"iCCP")),
            lambda: _is_compressed(data[at + 8 : tf.minimum(at + 8 + size, end)], name == code(b"iCCP")),
            lambda: True,
        )
        # Before the pixels. An animation's first frame may be part of the image, and Pillow reads it
        # into that part.
        is_whole = tf.reduce_all(tf.stack(numbers[1:]) == tf.stack([width, height, 0, 0]), axis=0)
        fine_before = (at + 12 + size <= end) & (size <= _MAX_CHUNK) & (count <= _MAX_CHUNKS) & is_word
        fine_before &= (name != code(b"IEND")) & ~is_frame & (~is_control | is_whole)
        fine_before &= (name == code(b"IHDR")) == (at == _FIRST)
        fine_before = tf.cond(
            fine & fine_before & is_before & ~is_data,
            lambda: tf.reduce_all(checksum(data[at + 4 : at + 8 + size]) == read(data, at + 8 + size, 4)),
            lambda: False,
        )
        # Behind the pixels Pillow stops at what is no chunk and at an animation's second frame, and
        # looks at no checksum.
        is_animated = (frames > 0) & (frames + tf.cast(number < 0, tf.int64) > 1)
        stops = ~is_word | (at + 8 > end) | (name == code(b"IEND")) | (is_control & is_animated)
        is_inside = (numbers[1] + numbers[3] <= width) & (numbers[2] + numbers[4] <= height)
        fine_behind = fine & (at + 8 + size <= end) & (~is_control | is_inside)
        fine_behind &= (name != code(b"IHDR")) | (tf.gather(data, tf.minimum(at + 19, end)) == 0)

        following = at + 12 + size
        run_end = tf.cond(is_data, lambda: _run_end(data, at, size), lambda: following)
        is_valid &= is_data | tf.where(is_before, fine_before, stops | fine_behind)
        new_frames = tf.where((frames > 0) | (numbers[0] > 1 << 31), np.int64(0), numbers[0])
        is_palette = is_before & (name == code(b"PLTE"))
        return (
            is_valid & (is_data | is_before | ~stops),
            run_end,
            count + 1,
            tf.where(is_data, tf.stack([tf.where(is_before, at, pixels[0]), run_end]), pixels),
            tf.where(is_palette, tf.stack([at, following]), palette),
            tf.where(is_control | is_frame, numbers[0], number),
            tf.where(is_before & (name == code(b"acTL")), new_frames, frames),
            is_valid,
        )

    is_valid = (size == 13) & (name == code(b"IHDR")) & (width > 0) & (height > 0)
    nothing = np.zeros(2, np.int64)
    goes_on, _, _, pixels, palette, _, _, is_valid = walk(
        step, (is_valid, _FIRST, 0, nothing, nothing, -1, 0, is_valid)
    )
    palette = tf.where(color == _PALETTE, palette, 0)
    kind = tf.where((depth == 16) & (color == _GRAY), np.int64(gray_16_kind), kind)
    return make_head(
        is_valid & ~goes_on, height, width, kind, *tf.unstack(pixels, num=2), *tf.unstack(palette, num=2)
    )


def _run_end(data: tf.Tensor, at: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Return the position behind a chunk of pixels, and behind those after it that are as long."""
    starts = at + (12 + size) * tf.range(_AT_ONCE, dtype=tf.int64)
    positions = tf.minimum(starts, length(data))[:, None] + np.arange(8)  # inside the margin
    heads = tf.gather(data, positions)
    same = tf.reduce_all(heads == heads[0], axis=1)
    return at + (12 + size) * tf.reduce_sum(tf.math.cumprod(tf.cast(same, tf.int64)))


def _is_compressed(content: tf.Tensor, is_profile: tf.Tensor) -> tf.Tensor:
    """Return whether a compressed text or profile is marked with the one method of compression.

    The mark follows a name and a zero. Pillow takes the first byte of a profile without a name for it,
    and does not look for that of a text.
    """
    is_zero = tf.concat([content == 0, [True]], axis=0)
    count = tf.size(content)
    at = 1 + tf.argmax(is_zero, output_type=tf.int32)
    at = tf.where((at > count) & is_profile, 0, at)
    method = tf.gather(tf.concat([content, [0, 0]], axis=0), tf.minimum(at, count))
    return tf.where(at < count, method == 0, ~is_profile)


def png_stream(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a PNG file without what is not needed for its pixels.

    Args:
        file: scalar string, the whole file.
        head: what `png_head` returned for it.

    Returns:
        string [STREAMS], the first for `streams.decode_jpeg`.
    """
    header = tf.strings.substr(file, 0, _HEADER_END)
    return _with_header(file, head, header)


def gray_16_stream(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a PNG file of 16 bits gray to one of gray and alpha of 8 bits each.

    The rows are the same: a filter knows bytes, and both have two of them a pixel.

    Args:
        file: scalar string, the whole file.
        head: what `png_head` returned for it.

    Returns:
        string [STREAMS], the first for `streams.decode_other`.
    """
    start, rest = tf.strings.substr(file, 0, 24), tf.strings.substr(file, 26, 3)
    # A checksum is linear in the bits: the change of two bytes changes it by a constant.
    old = tf.io.decode_raw(tf.strings.substr(file, 29, 4), tf.uint8, fixed_length=4)
    noted = byte_string(tf.cast(tf.bitwise.bitwise_xor(old, _CHANGE), tf.int32))
    return _with_header(file, head, tf.strings.join([start, b"\x08\x04", rest, noted]))


def _with_header(file: tf.Tensor, head: tf.Tensor, header: tf.Tensor) -> tf.Tensor:
    start, end, palette_start, palette_end = tf.unstack(head[3:7])
    end = tf.minimum(end, tf.cast(tf.strings.length(file), tf.int64))
    palette = tf.strings.substr(file, palette_start, palette_end - palette_start)
    # All streams at once: a large file is copied less often.
    first = np.eye(1, STREAMS, dtype=np.int64)[0]
    pixels = tf.strings.substr(file, start * first, (end - start) * first)
    return tf.strings.join([one_stream(tf.strings.join([header, palette])), pixels, one_stream(_END)])


def gray_16_pixels(file: tf.Tensor, head: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Return the pixels of a PNG file of 16 bits gray, serialized.

    Pillow clips to 255; `tf.io.decode_png` would shift.

    Args:
        file: scalar string, the whole file.
        head: what `png_head` returned for it.
        decoded: string [STREAMS], its decoded streams.
    """
    del file, head

    def clipped() -> tf.Tensor:
        bytes_ = pixels_of(decoded[0], None, None, 2)
        gray = tf.where(bytes_[:, :, :1] > 0, np.uint8(255), bytes_[:, :, 1:2])
        return tf.io.serialize_tensor(tf.tile(gray, [1, 1, 3]))

    return if_decoded(decoded, clipped)
