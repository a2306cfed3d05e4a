"""Image file bytes to RGB pixels in plain TensorFlow ops, equal to Pillow's bit for bit.

The reference is `Image.open(file).convert("RGB")`. Where TensorFlow's own decoder gives something
else, the file is read or rewritten first: `bmp`, `gif`, `jpeg`, `webp` and 16-bit gray PNG.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_segformer import exif
from tf_segformer.bmp import bmp_size, decode_bmp
from tf_segformer.file_bytes import file_bytes, has_bytes, unsigned
from tf_segformer.gif import decode_gif, gif_size
from tf_segformer.jpeg import decode_jpeg, jpeg_size
from tf_segformer.webp import decode_webp, webp_size

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")
UNKNOWN = -1

_PNG_GRAY_16 = b"\x10\x00"  # depth and colour type


def image_format(file: tf.Tensor) -> tf.Tensor:
    """Tell the format of a file by its first bytes, as Pillow does.

    Args:
        file: scalar string, the whole file or its first 12 bytes; may be empty.

    Returns:
        scalar int32, an index into `FORMATS`, or `UNKNOWN`.
    """
    head = file_bytes(tf.strings.substr(file, 0, 12))
    matches = tf.stack(
        [
            has_bytes(head, 0, b"\xff\xd8\xff"),
            has_bytes(head, 0, b"\x89PNG\r\n\x1a\n"),
            has_bytes(head, 0, b"GIF87a") | has_bytes(head, 0, b"GIF89a"),
            has_bytes(head, 0, b"BM"),
            has_bytes(head, 0, b"RIFF") & has_bytes(head, 8, b"WEBP"),
        ]
    )
    first = tf.argmax(matches, output_type=tf.int32)
    return tf.where(tf.reduce_any(matches), first, UNKNOWN)


def image_size(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Read height and width in pixels from the head of a file, without decoding it.

    Args:
        file: scalar string, the whole file.

    Returns:
        height and width, scalar int64; those of the canvas for a GIF or animated WebP file.

    Raises:
        tf.errors.InvalidArgumentError: the head is damaged or truncated, or the format unknown.
    """

    def png() -> tuple[tf.Tensor, tf.Tensor]:
        data = file_bytes(tf.strings.substr(file, 0, 24))
        return unsigned(data, 20, 4, "big"), unsigned(data, 16, 4, "big")

    return _by_format(
        file,
        {
            "JPEG": lambda: jpeg_size(file),
            "PNG": png,
            "GIF": lambda: gif_size(file_bytes(file)),
            "BMP": lambda: bmp_size(file_bytes(file)),
            "WebP": lambda: webp_size(file_bytes(file)),
        },
    )


@tf.autograph.experimental.do_not_convert
def decode_image(file: tf.Tensor, *, webp: bool = True, exif_orientation: bool = False) -> tf.Tensor:
    """Decode one image file: JPEG, PNG, GIF (first frame), BMP or WebP (first frame).

    Args:
        file: scalar string, the whole file.
        webp: whether WebP is among the formats. Its decoder is an op that TensorFlow has from 2.20
            on: a SavedModel with it does not load into an older server.
        exif_orientation: whether the image is turned upright as the camera noted in the EXIF data,
            as `PIL.ImageOps.exif_transpose` does. The reference does not.

    Returns:
        uint8 [h, w, 3], RGB, equal bit for bit to Pillow's `Image.open(file).convert("RGB")`.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or of another format. An image may be
            too large for the memory: look at `image_size` first.
    """

    def oriented(pixels: tf.Tensor, orientation: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        if not exif_orientation:
            return pixels
        return exif.apply_orientation(pixels, orientation(file_bytes(file)))

    decoders = {
        "JPEG": lambda: oriented(decode_jpeg(file), exif.jpeg_orientation),
        "PNG": lambda: oriented(_decode_png(file), exif.png_orientation),
        "GIF": lambda: decode_gif(file),
        "BMP": lambda: decode_bmp(file),
    }
    if webp:
        decoders["WebP"] = lambda: oriented(decode_webp(file), exif.webp_orientation)
    return tf.ensure_shape(_by_format(file, decoders), [None, None, 3])


def _by_format(file: tf.Tensor, branches: dict[str, Callable[[], Any]]) -> Any:
    """Call the branch of the file's format."""
    format_ = image_format(file)
    known = tf.reduce_any([format_ == FORMATS.index(name) for name in branches])
    message = f"The bytes are no {', '.join(branches)} file"
    with tf.control_dependencies([tf.debugging.Assert(known, [message])]):
        index = tf.identity(format_)
    return tf.switch_case(index, {FORMATS.index(name): call for name, call in branches.items()})


def _decode_png(file: tf.Tensor) -> tf.Tensor:
    def gray_16() -> tf.Tensor:  # Pillow clips to 255; tf.io.decode_png drops the lower byte
        gray = tf.io.decode_png(file, channels=1, dtype=tf.uint16)
        return tf.tile(tf.cast(tf.minimum(gray, 255), tf.uint8), [1, 1, 3])

    head = file_bytes(tf.strings.substr(file, 0, 26))
    return tf.cond(has_bytes(head, 24, _PNG_GRAY_16), gray_16, lambda: tf.io.decode_png(file, channels=3))
