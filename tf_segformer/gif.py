"""The first frame of a GIF file in plain TensorFlow ops, as Pillow's `convert("RGB")` gives it.

`tf.io.decode_gif` decodes every frame (558 KB became 1.2 GB) and paints transparent pixels black.
So the first frame alone is written into a new file, with its palette filled up to 256 colours and
without the extension that makes a colour transparent, and that file is decoded.
Source of the layout: Pillow's GifImagePlugin.
"""

import numpy as np
import tensorflow as tf

from tf_segformer.canvas import first_frame_on_canvas
from tf_segformer.file_bytes import fields, file_bytes, length, little_endian, make_head, walk
from tf_segformer.streams import if_decoded, one_stream, pixels_of

_EXTENSION, _IMAGE, _TRAILER = b"!,;"
_GRAPHIC_CONTROL, _COMMENT = 0xF9, 0xFE
_HAS_PALETTE, _INTERLACED = 0x80, 0x40
_GRAYS = bytes(level for level in range(256) for _ in range(3))
# TensorFlow keeps a frame whose pixels end too early, with whatever the memory held in the others,
# and reads no further frame. So a frame of one pixel follows: where it is missing, so are pixels.
_SECOND_FRAME = bytes([_IMAGE, 0, 0, 0, 0, 1, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 0, 2, 2, 0x44, 0x01, 0])


def gif_head(file: tf.Tensor, kind: int) -> tf.Tensor:
    """Read the head of a GIF file up to its first frame's pixels, see `file_bytes.make_head`."""
    data = file_bytes(file)
    file_end = length(data)
    canvas_width, canvas_height, flags = fields(data, 6, (0, 2), (2, 2), (4, 1))
    palette = _palette_length(flags)

    # Walk through the extensions; transparency is -1, or the transparent colour. Within an
    # extension the position is that of the next block's length.
    def step(at: tf.Tensor, within: tf.Tensor, transparency: tf.Tensor) -> tuple[tf.Tensor, ...]:
        first, label, size, flags, color = fields(data, at, (0, 1), (1, 1), (2, 1), (3, 1), (6, 1))
        ends = ((first == _IMAGE) | (first == _TRAILER) | (at >= file_end)) & ~(within & (at < file_end))
        extension = ~within & (first == _EXTENSION)
        is_transparent = extension & (label == _GRAPHIC_CONTROL) & (size > 0) & (flags % 2 == 1)
        # Pillow takes the end of an extension without a block for an empty first block.
        empty = (size == 0) & (label != _COMMENT)
        advance = tf.where(within, 1 + first, tf.where(extension, tf.where(empty, np.int64(3), 2), 1))
        return (
            ~ends,
            tf.where(ends, at, at + advance),
            tf.where(within, first > 0, extension),  # what is unknown is skipped
            tf.where(is_transparent, color, transparency),
        )

    goes_on, at, _, transparency = walk(step, (True, 13 + palette, False, -1))
    mark, left, top, width, height, flags = fields(data, at, (0, 1), (1, 2), (3, 2), (5, 2), (7, 2), (9, 1))
    own_palette = _palette_length(flags)
    data_start = at + 10 + own_palette
    is_valid = ~goes_on & (mark == _IMAGE) & (data_start + 1 < file_end) & (height > 0) & (width > 0)
    return make_head(
        is_valid,
        # Pillow lets the canvas grow with the frame.
        tf.maximum(canvas_height, top + height),
        tf.maximum(canvas_width, left + width),
        kind,
        top,
        left,
        height,
        width,
        tf.maximum(transparency, 0),
        flags,
        palette,
        at + 10,
        own_palette,
        data_start,
    )


def gif_stream(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Rewrite a GIF file to its first frame, with a palette of 256 colours.

    Args:
        file: scalar string, the whole file.
        head: what `gif_head` returned for it.

    Returns:
        string [STREAMS], the first for `streams.decode_other`; empty where the pixels are cut off.
    """
    height, width, _, flags, palette_length, own_start, own_length, data_start = tf.unstack(head[5:])
    data = file_bytes(file)
    # The pixels are a byte (the code size) and a chain of blocks.
    end = _skip_blocks(data, data_start + 1)
    size = tf.strings.join([little_endian(width, 2), little_endian(height, 2)])
    is_interlaced = tf.bitwise.bitwise_and(flags, np.int64(_INTERLACED)) > 0
    single_frame = [
        b"GIF89a",
        size,
        b"\0\0\0",
        bytes([_IMAGE, 0, 0, 0, 0]),
        size,
        tf.where(is_interlaced, b"\xc7", b"\x87"),  # a palette of 256 colours follows
        _palette(file, palette_length, own_start, own_length),
        tf.strings.substr(file, data_start, end - data_start),
        tf.where(end > length(data), b"\0", b""),  # Pillow does not need it
        _SECOND_FRAME,
        bytes([_TRAILER]),
    ]
    return one_stream(tf.where(end <= length(data) + 1, tf.strings.join(single_frame), b""))


def gif_pixels(file: tf.Tensor, head: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Return the pixels of the first frame of a GIF file, serialized.

    Transparent pixels have the colour of their palette entry.

    Args:
        file: scalar string, the whole file.
        head: what `gif_head` returned for it.
        decoded: string [STREAMS], its decoded streams.
    """
    canvas_height, canvas_width, _, top, left, height, width, color, _, *palette_at, _ = tf.unstack(head)

    def placed() -> tf.Tensor:
        frames = pixels_of(decoded[0], None, None, None, 3)
        colors = tf.reshape(tf.io.decode_raw(_palette(file, *palette_at), tf.uint8), [256, 3])
        return first_frame_on_canvas(
            frames, 2, (top, left, height, width), canvas_height, canvas_width, tf.gather(colors, color)
        )

    return if_decoded(decoded, placed)


def _palette(file: tf.Tensor, length_: tf.Tensor, own_start: tf.Tensor, own_length: tf.Tensor) -> tf.Tensor:
    """Return the 256 colours of the frame, a scalar string of 768 bytes.

    They are the frame's own palette or else the file's, filled up with black. Pillow takes a
    palette that is the grays 0, 1, 2, … for none; without one all are grays.
    """
    own = tf.strings.substr(file, own_start, own_length)
    files = tf.strings.substr(file, np.int64(13), length_)
    own_is_none = own == tf.strings.substr(_GRAYS, np.int64(0), own_length)
    none = own_is_none & (files == tf.strings.substr(_GRAYS, np.int64(0), length_))
    found = tf.where(none, _GRAYS, tf.where(own_is_none, files, own))
    return tf.strings.substr(tf.strings.join([found, b"\0" * len(_GRAYS)]), 0, len(_GRAYS))


def _palette_length(flags: tf.Tensor) -> tf.Tensor:
    return tf.where(flags >= _HAS_PALETTE, tf.bitwise.left_shift(np.int64(6), flags % 8), 0)


def _skip_blocks(data: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
    """Return the position behind a chain of blocks, each a length and as many bytes.

    Behind the last one is a zero. The position is the length of the file and 1 where this is all that is
    missing, and more where the chain breaks off or is too long.
    """
    file_end = length(data)

    def step(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Nearly all blocks of a frame are of the largest length: pass hundreds at a time.
        lengths = tf.cast(data[at : at + 256 * 256 : 256], tf.int64)
        full = tf.reduce_sum(tf.math.cumprod(tf.cast(lengths == 255, tf.int64)), axis=0)
        ends = (lengths[0] == 0) | (at >= file_end)
        following = tf.minimum(at + tf.where(full > 0, 256 * full, 1 + lengths[0]), file_end + 1)
        return ~ends, tf.where(ends, at, following)

    goes_on, at = walk(step, (True, start))
    return 1 + tf.where(goes_on, file_end + 1, at)
