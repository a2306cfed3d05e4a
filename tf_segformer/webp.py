"""The first frame of a WebP file in plain TensorFlow ops, as Pillow's `convert("RGB")` gives it.

`tf.io.decode_webp`, an op since TensorFlow 2.20, decodes every frame of an animation. So the first
frame alone is written into a new file, and that file is decoded.
Source of the layout: the WebP container specification, RFC 9649.
"""

import numpy as np
import tensorflow as tf

from tf_segformer.canvas import first_frame_on_canvas
from tf_segformer.file_bytes import code, fields, file_bytes, length, little_endian, make_head, walk
from tf_segformer.streams import if_decoded, one_stream, pixels_of

_FIRST_CHUNK = 12  # behind "RIFF", the file's length and "WEBP"
_ANIMATED, _HAS_ALPHA, _UNKNOWN_FLAGS = 0x02, 0x10, 0xC1
_FRAME_HEADER = 24


def webp_head(file: tf.Tensor, kind: int) -> tf.Tensor:
    """Read all chunks of a WebP file as libwebp's demuxer does, see `file_bytes.make_head`.

    Pillow looks at the heads of all frames before it decodes the first.
    """
    data = file_bytes(file)
    size, name, flags, width, height = fields(data, 0, (4, 4), (12, 4), (20, 1), (24, 3), (27, 3))
    end = 8 + size
    is_extended = name == code(b"VP8X")
    flags = tf.where(is_extended, flags, 0)
    is_animated = flags // _ANIMATED % 2 == 1
    canvas = 1 + tf.stack([height, width])

    # A frame is a chunk that holds others: the walk goes into it. `frame` is the position of the
    # current frame's header, 0 without one, and `alpha` that of its alpha; `first` describes the
    # first image: its place, size and first and last position.
    def step(
        at: tf.Tensor,
        frame: tf.Tensor,
        alpha: tf.Tensor,
        first: tf.Tensor,
        has_loop: tf.Tensor,
        is_valid: tf.Tensor,
    ) -> tuple[tf.Tensor, ...]:
        name, size = fields(data, at, (0, 4), (4, 4))
        frame_size, left, top = fields(data, frame, (4, 4), (8, 3), (11, 3))
        after = at + 8 + size + size % 2
        is_frame, is_alpha = name == code(b"ANMF"), name == code(b"ALPH")
        is_image = (name == code(b"VP8 ")) | (name == code(b"VP8L"))
        in_frame = frame > 0
        frame_end = tf.where(in_frame, frame + 8 + frame_size, end)
        place = tf.where(in_frame, 2 * tf.stack([top, left]), 0)
        image_size = _image_size(data, at)
        room = tf.where(is_extended, canvas - place, image_size)
        fits = tf.where(is_animated, image_size <= room, image_size == room)
        # Each frame has one image, after its alpha if any; a still file has one image.
        is_first = is_image & (first[2] == 0)
        fine = tf.where(
            is_image,
            (after <= frame_end)
            & tf.reduce_all(fits & (image_size > 0), axis=0)
            & tf.where(is_animated, in_frame, is_first),
            (~in_frame | is_alpha) & (~is_frame | has_loop),
        )
        is_valid &= fine & (after <= end)
        described = tf.concat([place, image_size, [tf.where(alpha > 0, alpha, at), after]], axis=0)
        following = tf.where(is_frame, at + _FRAME_HEADER, after)
        return (
            is_valid & (following < end),
            following,
            tf.where(is_frame, at, tf.where(is_image, np.int64(0), frame)),
            tf.where(is_alpha, at, tf.where(is_image | is_frame, np.int64(0), alpha)),
            tf.where(is_first, described, first),
            has_loop | (is_animated & (name == code(b"ANIM")) & (size >= 6)),
            is_valid,
        )

    nothing = np.zeros(6, np.int64)
    is_whole = (
        (end <= length(data))
        & (end > _FIRST_CHUNK)
        & (tf.bitwise.bitwise_and(flags, np.int64(_UNKNOWN_FLAGS)) == 0)
    )
    goes_on, at, frame, _, first, _, is_valid = walk(
        step, (is_whole, _FIRST_CHUNK, 0, 0, nothing, False, is_whole)
    )
    is_valid &= ~goes_on & (at == end) & (frame == 0) & (first[2] > 0)
    canvas = tf.where(is_extended, canvas, first[2:4])
    return make_head(is_valid, *tf.unstack(canvas), kind, *tf.unstack(first), tf.cast(is_extended, tf.int64))


def webp_stream(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a WebP file to its first frame.

    Args:
        file: scalar string, the whole file.
        head: what `webp_head` returned for it.

    Returns:
        string [STREAMS], the first for `streams.decode_other`.
    """
    height, width, start, end, is_extended = tf.unstack(head[5:10])

    def single_frame() -> tf.Tensor:
        chunks = tf.strings.substr(file, start, end - start)
        size = tf.strings.join([little_endian(width - 1, 3), little_endian(height - 1, 3)])
        extended = tf.strings.join([b"VP8X\x0a\0\0\0", bytes([_HAS_ALPHA, 0, 0, 0]), size])
        has_alpha = tf.strings.substr(chunks, 0, 4) == b"ALPH"
        chunks = tf.strings.join([tf.where(has_alpha, extended, b""), chunks])
        length_ = 4 + tf.cast(tf.strings.length(chunks), tf.int64)
        return tf.strings.join([b"RIFF", little_endian(length_, 4), b"WEBP", chunks])

    # Chunks behind the image could be taken for pixels where it ends too early.
    return one_stream(tf.cond(is_extended > 0, single_frame, lambda: file))


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
    is_lossless = (name == code(b"VP8L")) & (head % 256 == 0x2F) & (bits < 1 << 29)  # version 0
    # A shown key frame of a known profile, whose first partition lies within the chunk.
    is_lossy = (name == code(b"VP8 ")) & (mark == code(b"\x9d\x01\x2a"))
    is_lossy &= (head % 2 == 0) & (head // 2 % 8 <= 3) & (head // 16 % 2 == 1) & (head // 32 < size)
    lossy = tf.stack([height, width]) % (1 << 14)
    return tf.where(is_lossless, lossless, tf.where(is_lossy, lossy, np.int64(0)))
