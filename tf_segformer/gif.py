"""The first frame of a GIF file in plain TensorFlow ops, as Pillow's `convert("RGB")` gives it.

`tf.io.decode_gif` decodes every frame (558 KB became 1.2 GB) and paints transparent pixels black.
So the first frame alone is written into a new file, with its palette filled up to 256 colours and
without the extension that makes a colour transparent, and that file is decoded.
Source of the layout: Pillow's GifImagePlugin.
"""

from typing import NamedTuple

import tensorflow as tf

from tf_segformer.canvas import on_canvas
from tf_segformer.file_bytes import MAX_STEPS, file_bytes, little_endian, unsigned, walk

_EXTENSION, _IMAGE, _TRAILER = b"!,;"
_GRAPHIC_CONTROL, _COMMENT = 0xF9, 0xFE
_HAS_PALETTE, _INTERLACED = 0x80, 0x40
_GRAYS = bytes(level for level in range(256) for _ in range(3))


class _Frame(NamedTuple):
    """The description of the first frame; scalar int32."""

    top: tf.Tensor
    left: tf.Tensor
    height: tf.Tensor
    width: tf.Tensor
    canvas_height: tf.Tensor
    canvas_width: tf.Tensor
    canvas_color: tf.Tensor  # an index into the palette
    flags: tf.Tensor
    palette_start: tf.Tensor
    palette_length: tf.Tensor  # in bytes, 0 where there is none
    data_start: tf.Tensor


def gif_size(data: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return height and width in pixels, scalar int64, from the bytes of a file, uint8 [length]."""
    frame = _first_frame(data)
    return tf.cast(frame.canvas_height, tf.int64), tf.cast(frame.canvas_width, tf.int64)


def decode_gif(file: tf.Tensor) -> tf.Tensor:
    """Decode the first frame of a GIF file.

    Args:
        file: scalar string, the whole file.

    Returns:
        uint8 [h, w, 3], RGB. Transparent pixels have the colour of their palette entry.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or truncated.
    """
    data = file_bytes(file)
    frame = _first_frame(data)
    palette = tf.strings.substr(file, frame.palette_start, frame.palette_length)
    rest = tf.where(frame.palette_length > 0, b"\0" * len(_GRAYS), _GRAYS)
    palette = tf.strings.substr(tf.strings.join([palette, rest]), 0, len(_GRAYS))
    # The pixels are a byte (the code size) and a chain of blocks.
    end = _skip_blocks(data, frame.data_start + 1)
    size = tf.strings.join([little_endian(frame.width, 2), little_endian(frame.height, 2)])
    is_interlaced = tf.bitwise.bitwise_and(frame.flags, _INTERLACED) > 0
    single_frame = [
        b"GIF89a",
        size,
        b"\0\0\0",
        bytes([_IMAGE, 0, 0, 0, 0]),
        size,
        tf.where(is_interlaced, b"\xc7", b"\x87"),  # a palette of 256 colours follows
        palette,
        tf.strings.substr(file, frame.data_start, end - frame.data_start),
        bytes([_TRAILER]),
    ]
    pixels = tf.io.decode_gif(tf.strings.join(single_frame))[0]

    colors = tf.reshape(tf.io.decode_raw(palette, tf.uint8), [256, 3])
    return on_canvas(
        pixels,
        frame.top,
        frame.left,
        frame.canvas_height,
        frame.canvas_width,
        tf.gather(colors, frame.canvas_color),
    )


def _first_frame(data: tf.Tensor) -> _Frame:
    def byte(position: int | tf.Tensor) -> tf.Tensor:
        return unsigned(data, position, 1)

    # Walk through the extensions; transparency is -1, or the transparent colour.
    # Within an extension the position is that of the next block's length.
    def step(
        steps: tf.Tensor, position: tf.Tensor, within: tf.Tensor, transparency: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        def next_block() -> tuple[tf.Tensor, ...]:
            length = byte(position)
            return position + 1 + length, length > 0, transparency

        def next_part() -> tuple[tf.Tensor, ...]:
            return tf.cond(byte(position) == _EXTENSION, extension, unknown)

        def extension() -> tuple[tf.Tensor, ...]:
            label, length = byte(position + 1), byte(position + 2)
            is_transparent = tf.cond(
                (label == _GRAPHIC_CONTROL) & (length > 0),
                lambda: byte(position + 3) % 2 == 1,
                lambda: False,
            )
            color = tf.cond(is_transparent, lambda: byte(position + 6), lambda: transparency)
            # Pillow takes the end of an extension without a block for an empty first block.
            empty = (length == 0) & (label != _COMMENT)
            return position + tf.where(empty, 3, 2), True, color

        def unknown() -> tuple[tf.Tensor, ...]:  # Pillow skips it
            return position + 1, False, transparency

        return steps + 1, *tf.cond(within, next_block, next_part)

    steps, position, _, transparency = tf.while_loop(
        lambda steps, position, within, _: (
            (steps < MAX_STEPS) & (within | ((byte(position) != _IMAGE) & (byte(position) != _TRAILER)))
        ),
        step,
        (0, 13 + _palette_length(byte(10)), False, -1),
    )
    is_image = (steps < MAX_STEPS) & (byte(position) == _IMAGE)
    with tf.control_dependencies([tf.debugging.Assert(is_image, ["The GIF file has no image"])]):
        left, top, width, height = (unsigned(data, position + at, 2) for at in (1, 3, 5, 7))
    flags = byte(position + 9)
    local_length = _palette_length(flags)
    return _Frame(
        top=top,
        left=left,
        height=height,
        width=width,
        # Pillow lets the canvas grow with the frame.
        canvas_height=tf.maximum(unsigned(data, 8, 2), top + height),
        canvas_width=tf.maximum(unsigned(data, 6, 2), left + width),
        canvas_color=tf.maximum(transparency, 0),
        flags=flags,
        palette_start=tf.where(local_length > 0, position + 10, 13),
        palette_length=tf.where(local_length > 0, local_length, _palette_length(byte(10))),
        data_start=position + 10 + local_length,
    )


def _palette_length(flags: tf.Tensor) -> tf.Tensor:
    length = tf.bitwise.left_shift(6, tf.bitwise.bitwise_and(flags, 7))
    return tf.where(tf.bitwise.bitwise_and(flags, _HAS_PALETTE) > 0, length, 0)


def _skip_blocks(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the position behind a chain of blocks, each a length and as many bytes."""

    def step(position: tf.Tensor) -> tf.Tensor:
        # Nearly all blocks of a frame are of the largest length: pass hundreds at a time.
        lengths = tf.cast(data[position : position + 256 * 256 : 256], tf.int32)
        full = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths == 255, tf.int32)))
        return position + tf.where(full > 0, 256 * full, 1 + lengths[0])

    return walk(step, lambda position: tf.gather(data, position) == 0, start) + 1
