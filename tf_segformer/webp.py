"""The first frame of a WebP file in plain TensorFlow ops, as Pillow's `convert("RGB")` gives it.

`tf.io.decode_webp`, an op since TensorFlow 2.20, decodes every frame of an animation. So the first
frame alone is written into a new file, and that file is decoded.
Source of the layout: the WebP container specification, RFC 9649.
"""

import tensorflow as tf

from tf_segformer.canvas import on_canvas
from tf_segformer.file_bytes import file_bytes, has_bytes, little_endian, unsigned, walk

_FIRST_CHUNK = 12  # behind "RIFF", the file's length and "WEBP"
_ANIMATED = 0x02


def webp_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, scalar int64, from the bytes of a file, uint8 [length]."""
    height, width = _chunk_size(data, tf.constant(_FIRST_CHUNK))
    return tf.cast(height, tf.int64), tf.cast(width, tf.int64)


def decode_webp(file: tf.Tensor) -> tf.Tensor:
    """Decode a WebP file, lossy or lossless, or the first frame of an animated one.

    Args:
        file: scalar string, the whole file.

    Returns:
        uint8 [h, w, 3], RGB; alpha is dropped.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    data = file_bytes(file)
    end = unsigned(data, 4, 4) + 8
    whole = tf.debugging.Assert(end <= tf.size(data, out_type=tf.int64), ["The WebP file is truncated"])
    with tf.control_dependencies([whole]):
        end = tf.cast(end, tf.int32)
    # tf.io.decode_webp ignores what comes behind the image; Pillow refuses the file.
    last = walk(lambda at: _next_chunk(data, at), lambda at: at >= end, _FIRST_CHUNK)
    with tf.control_dependencies(
        [tf.debugging.Assert(last == end, ["A chunk of the WebP file is truncated"])]
    ):
        extended = has_bytes(data, _FIRST_CHUNK, b"VP8X")
    is_animated = extended & (unsigned(data, _FIRST_CHUNK + 8, 1) // _ANIMATED % 2 == 1)
    return tf.cond(is_animated, lambda: _first_frame(file, data), lambda: _decode(file))


def _decode(file: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_webp(file)[0, :, :, :3]
    return tf.ensure_shape(pixels, [None, None, 3])


def _next_chunk(data: tf.Tensor, chunk: tf.Tensor) -> tf.Tensor:
    length = unsigned(data, chunk + 4, 4)
    return chunk + 8 + tf.cast(tf.minimum(length + length % 2, 1 << 30), tf.int32)


def _first_frame(file: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    def next_chunk(chunk: tf.Tensor) -> tf.Tensor:
        return _next_chunk(data, chunk)

    def is_frame(chunk: tf.Tensor) -> tf.Tensor:
        return has_bytes(data, chunk, b"ANMF")

    def is_image(chunk: tf.Tensor) -> tf.Tensor:
        return has_bytes(data, chunk, b"VP8 ") | has_bytes(data, chunk, b"VP8L")

    frame = walk(next_chunk, is_frame, _FIRST_CHUNK)
    left, top = 2 * unsigned(data, frame + 8, 3), 2 * unsigned(data, frame + 11, 3)
    width, height = 1 + unsigned(data, frame + 14, 3), 1 + unsigned(data, frame + 17, 3)
    image = walk(next_chunk, is_image, frame + 24)  # behind its alpha, which is not needed
    image_height, image_width = _chunk_size(data, image)
    same = (image_height == height) & (image_width == width)
    with tf.control_dependencies([tf.debugging.Assert(same, ["Unequal sizes in the WebP file"])]):
        chunk = tf.strings.substr(file, image, next_chunk(image) - image)
    header = [b"RIFF", little_endian(4 + tf.strings.length(chunk), 4), b"WEBP"]
    pixels = _decode(tf.strings.join([*header, chunk]))

    canvas_height, canvas_width = _chunk_size(data, tf.constant(_FIRST_CHUNK))
    black = tf.zeros([3], tf.uint8)
    return on_canvas(pixels, top, left, canvas_height, canvas_width, black)


def _chunk_size(data: tf.Tensor, chunk: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, scalar int32, from the chunk at this position."""

    def canvas() -> tuple[tf.Tensor, tf.Tensor]:
        return 1 + unsigned(data, chunk + 15, 3), 1 + unsigned(data, chunk + 12, 3)

    def lossless() -> tuple[tf.Tensor, tf.Tensor]:
        bits = unsigned(data, chunk + 9, 4)
        width, height = 1 + bits % (1 << 14), 1 + bits // (1 << 14) % (1 << 14)
        return tf.cast(height, tf.int32), tf.cast(width, tf.int32)

    def lossy() -> tuple[tf.Tensor, tf.Tensor]:
        known = has_bytes(data, chunk, b"VP8 ") & has_bytes(data, chunk + 11, b"\x9d\x01\x2a")
        with tf.control_dependencies([tf.debugging.Assert(known, ["No image in the WebP file"])]):
            width, height = unsigned(data, chunk + 14, 2), unsigned(data, chunk + 16, 2)
        return height % (1 << 14), width % (1 << 14)

    kinds = [has_bytes(data, chunk, name) for name in (b"VP8X", b"VP8L")]
    return tf.cond(kinds[0], canvas, lambda: tf.cond(kinds[1], lossless, lossy))
