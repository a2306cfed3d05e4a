"""The first frame of a WebP file in plain TensorFlow ops, as Pillow's `convert("RGB")` gives it.

TensorFlow decodes every frame of an animation, where it reads WebP at all (from 2.20 on). So the first
frame alone is written into a new file, and that file is decoded.
Source of the layout: the WebP container specification, RFC 9649, and libwebp's demuxer, which is what
decides whether Pillow reads a file.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.canvas import first_frame_on_canvas
from tf_segformer.file_bytes import code, fields, file_bytes, length, little_endian, make_head, walk
from tf_segformer.streams import if_decoded, one_stream, pixels_of

_FIRST_CHUNK = 12  # behind "RIFF", the file's length and "WEBP"
_CHUNK_HEADER, _FRAME_HEADER, _LOOP_HEADER, _EXTENDED_HEADER = 8, 16, 6, 10
_ANIMATED, _HAS_ALPHA, _UNKNOWN_FLAGS = 0x02, 0x10, 0xC1
_MAX_AREA = 1 << 32


class _Frame(NamedTuple):
    """An image and the alpha beside it, as they are found; scalar int64, positions are 0 for none."""

    start: tf.Tensor  # position behind its header
    limit: tf.Tensor  # position behind which its chunks may not reach
    top: tf.Tensor
    left: tf.Tensor
    alpha: tf.Tensor  # position of the chunk
    image: tf.Tensor
    image_end: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor


def webp_head(file: tf.Tensor, kind: int) -> tf.Tensor:
    """Read all chunks of a WebP file as libwebp's demuxer does, see `file_bytes.make_head`.

    Pillow looks at the heads of all frames before it decodes the first. Behind the kind: the first
    frame's row, column, height and width, and where its chunks start and end.
    """
    data = file_bytes(file)
    size, name, header_size, flags, width, height = fields(
        data, 0, (4, 4), (12, 4), (16, 4), (20, 1), (24, 3), (27, 3)
    )
    end = 8 + size
    is_extended = name == code(b"VP8X")
    flags = tf.where(is_extended, flags, 0)
    is_animated = flags // _ANIMATED % 2 == 1
    canvas = 1 + tf.stack([height, width])
    no_frame = tf.zeros([len(_Frame._fields)], tf.int64)

    def close(frame: _Frame, at: tf.Tensor, first: tf.Tensor) -> tf.Tensor:
        """Return the first frame once this one ends at a position, and whether it is valid as an integer."""
        # Alpha that the file's flags do not name is left out, but for an animation.
        counts = is_animated | (flags // _HAS_ALPHA % 2 == 1)
        has_alpha = counts & (frame.alpha > 0)
        place, image_size = tf.stack([frame.top, frame.left]), tf.stack([frame.height, frame.width])
        room = tf.where(is_extended, canvas - place, image_size)
        fits = tf.where(is_animated, image_size <= room, image_size == room)
        is_image = (frame.image > 0) & (~has_alpha | (frame.alpha < frame.image))
        is_image &= tf.reduce_all(fits & (image_size > 0), axis=0)
        # What stands in a frame's place in a file that is no animation is passed over.
        is_empty = (frame.image == 0) & (frame.alpha == 0)
        is_passed = tf.where(is_animated, is_empty, frame.limit <= end)
        start = tf.where(has_alpha, frame.alpha, frame.image)
        described = tf.concat([place, image_size, [start, frame.image_end]], axis=0)
        is_first = (first[2] == 0) & ~is_passed
        fine = (frame.start == 0) | ((at <= frame.limit) & (is_passed | is_image))
        first = tf.where((frame.start > 0) & is_first, described, first)
        return tf.concat([first, [tf.cast(fine, tf.int64)]], axis=0)

    # A frame is a chunk that holds others: the walk goes into it.
    def step(
        at: tf.Tensor, values: tf.Tensor, first: tf.Tensor, has_loop: tf.Tensor, is_valid: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        name, size, left, top, width, height = fields(
            data, at, (0, 4), (4, 4), (8, 3), (11, 3), (14, 3), (17, 3)
        )
        size += size % 2
        after = at + _CHUNK_HEADER + size
        is_frame, is_alpha, is_loop = (name == code(word) for word in (b"ANMF", b"ALPH", b"ANIM"))
        is_lossless = name == code(b"VP8L")
        is_image = is_lossless | (name == code(b"VP8 "))
        frame = _Frame(*tf.unstack(values))
        # A frame goes on with the first alpha and the first image; anything else stands behind it.
        continues = (frame.start > 0) & ((is_alpha & (frame.alpha == 0)) | (is_image & (frame.image == 0)))
        closed = close(frame, at, first)
        first = tf.where(continues, first, closed[:-1])
        is_still = ~continues & (is_alpha | is_image)  # an image that is no frame of an animation
        fine = continues | (closed[-1] > 0)
        fine &= ~is_still | (~is_animated & ~has_loop & (first[2] == 0))
        fine &= continues | (name != code(b"VP8X"))
        fine &= ~is_loop | (size >= _LOOP_HEADER)
        has_room = (size >= _FRAME_HEADER) & ((1 + width) * (1 + height) < _MAX_AREA)
        has_room &= at + 2 * _CHUNK_HEADER + _FRAME_HEADER <= end
        fine &= ~is_frame | (has_loop & has_room)

        image_size = _image_size(data, at)
        fine &= ~is_image | tf.reduce_all(image_size > 0, axis=0)
        # Lossless pixels have alpha of their own.
        has_chunk = (after <= end) & ~(is_lossless & (frame.alpha > 0))
        start = at + _CHUNK_HEADER + _FRAME_HEADER
        opened = _Frame(start, after, 2 * top, 2 * left, *[tf.zeros([], tf.int64)] * 5)
        still = _Frame(at, end + 1, *[tf.zeros([], tf.int64)] * 7)
        current = tf.where(is_still, tf.stack(still), tf.where(continues, values, no_frame))
        current = _Frame(*tf.unstack(current))
        current = current._replace(
            alpha=tf.where(is_alpha, at, current.alpha),
            image=tf.where(is_image, at, current.image),
            image_end=tf.where(is_image, after, current.image_end),
            height=tf.where(is_image, image_size[0], current.height),
            width=tf.where(is_image, image_size[1], current.width),
        )
        taken = continues | is_still
        current = tf.where(taken, tf.stack(current), tf.where(is_frame, tf.stack(opened), no_frame))
        following = tf.where(is_frame, start, after)
        fine &= (following == end) | (following + _CHUNK_HEADER <= end)
        # What follows the first image is not read, unless the file is an extended one.
        stops = ~is_extended & (frame.start > 0) & ~continues
        is_valid &= has_chunk & (stops | fine)
        return (
            is_valid & ~stops & (following < end),
            tf.where(stops, at, following),
            tf.where(stops, values, current),
            tf.where(stops, np.int64(0), first),
            has_loop | is_loop,
            is_valid,
        )

    is_whole = (end <= length(data)) & (tf.bitwise.bitwise_and(flags, np.int64(_UNKNOWN_FLAGS)) == 0)
    is_whole &= is_extended | (name == code(b"VP8 ")) | (name == code(b"VP8L"))
    header_end = _FIRST_CHUNK + _CHUNK_HEADER + header_size + header_size % 2
    at = tf.where(is_extended, header_end, _FIRST_CHUNK)
    is_whole &= at + _CHUNK_HEADER <= end
    is_whole &= ~is_extended | (
        (header_size >= _EXTENDED_HEADER) & (tf.reduce_prod(canvas, axis=0) < _MAX_AREA)
    )
    nothing = np.zeros(6, np.int64)
    goes_on, at, values, first, _, is_valid = walk(step, (is_whole, at, no_frame, nothing, False, is_whole))
    closed = close(_Frame(*tf.unstack(values)), at, first)
    first = closed[:-1]
    is_valid &= ~goes_on & (closed[-1] > 0) & (first[2] > 0)
    canvas = tf.where(is_extended, canvas, first[2:4])
    return make_head(is_valid, *tf.unstack(canvas), kind, *tf.unstack(first))


def webp_stream(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a WebP file to its first frame.

    Args:
        file: scalar string, the whole file.
        head: what `webp_head` returned for it.

    Returns:
        string [STREAMS], the first for `streams.decode_other`.
    """
    height, width, start, end = tf.unstack(head[5:9])
    # Only this: chunks behind the image could be taken for pixels where it ends too early.
    chunks = tf.strings.substr(file, start, end - start)
    size = tf.strings.join([little_endian(width - 1, 3), little_endian(height - 1, 3)])
    extended = tf.strings.join([b"VP8X\x0a\0\0\0", bytes([_HAS_ALPHA, 0, 0, 0]), size])
    has_alpha = tf.strings.substr(chunks, 0, 4) == b"ALPH"
    chunks = tf.strings.join([tf.where(has_alpha, extended, b""), chunks])
    length_ = 4 + tf.cast(tf.strings.length(chunks), tf.int64)
    return one_stream(tf.strings.join([b"RIFF", little_endian(length_, 4), b"WEBP", chunks]))


def webp_pixels(file: tf.Tensor, head: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Return the pixels of a WebP file, or of its first frame, serialized; alpha is dropped.

    Args:
        file: scalar string, the whole file.
        head: what `webp_head` returned for it.
        decoded: string [STREAMS], its decoded streams.
    """
    del file
    canvas_height, canvas_width, _, *place = tf.unstack(head[:7])

    def placed() -> tf.Tensor:
        frames = pixels_of(decoded[0], None, None, None, None)[:, :, :, :3]
        black = tf.zeros([3], tf.uint8)
        return first_frame_on_canvas(frames, 1, place, canvas_height, canvas_width, black)

    return if_decoded(decoded, placed)


def _image_size(data: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
    """Return height and width in pixels, int64 [2], from an image chunk; zeros if damaged."""
    name, size, head, bits, mark, width, height = fields(
        data, chunk, (0, 4), (4, 4), (8, 3), (9, 4), (11, 3), (14, 2), (16, 2)
    )
    lossless = 1 + tf.stack([bits // (1 << 14), bits]) % (1 << 14)
    is_lossless = (name == code(b"VP8L")) & (size >= 5) & (head % 256 == 0x2F) & (bits < 1 << 29)  # version 0
    # A shown key frame of a known profile, whose first partition lies within the chunk.
    is_lossy = (name == code(b"VP8 ")) & (size >= 10) & (mark == code(b"\x9d\x01\x2a"))
    is_lossy &= (head % 2 == 0) & (head // 2 % 8 <= 3) & (head // 16 % 2 == 1) & (head // 32 < size)
    lossy = tf.stack([height, width]) % (1 << 14)
    return tf.where(is_lossless, lossless, tf.where(is_lossy, lossy, np.int64(0)))
