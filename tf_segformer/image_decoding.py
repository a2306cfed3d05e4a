"""Image file bytes to RGB pixels in plain TensorFlow ops, equal to Pillow's bit for bit.

The reference is `Image.open(file).convert("RGB")`. Where TensorFlow's own decoder gives something
else, the file is read or rewritten first, see `bmp`, `gif`, `jpeg`, `png` and `webp`. What is equal
and what is refused: docs/image-formats.md.
"""

from collections.abc import Callable
from enum import IntEnum, auto
from functools import partial

import tensorflow as tf

from tf_segformer import exif
from tf_segformer.bmp import bmp_head, decode_bmp
from tf_segformer.file_bytes import require
from tf_segformer.gif import decode_gif, gif_head
from tf_segformer.jpeg import decode_inks, decode_jpeg, jpeg_head
from tf_segformer.lazy_function import HEAD_LENGTH, file_function
from tf_segformer.png import decode_gray_16, png_head
from tf_segformer.webp import decode_webp, webp_head

FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WebP")
# By the first bytes: the format's number, and what the file starts with.
_STARTS = (
    (0, b"\xff\xd8\xff"),
    (1, b"\x89PNG\r\n\x1a\n"),
    (2, b"GIF87a"),
    (2, b"GIF89a"),
    (3, b"BM"),
)
_REFUSAL = f"The bytes are no {', '.join(FORMATS)} file, or it is damaged or of a kind that is not read"


class Kind(IntEnum):
    """What a file needs to be decoded; an entry of its head."""

    REFUSED = 0
    PLAIN = auto()  # JPEG or PNG, by `decode_jpeg` alone
    INKS = auto()
    GRAY_16 = auto()
    GIF = auto()
    BMP = auto()
    WEBP = auto()


# Each is made ready only when it is first called, see `file_function`.
_HEADS = [
    file_function(partial(jpeg_head, kind=Kind.PLAIN, inks_kind=Kind.INKS)),
    file_function(partial(png_head, kind=Kind.PLAIN, gray_16_kind=Kind.GRAY_16)),
    file_function(partial(gif_head, kind=Kind.GIF)),
    file_function(partial(bmp_head, kind=Kind.BMP)),
    file_function(partial(webp_head, kind=Kind.WEBP)),
]
# By kind: file and head to pixels. The plain one is a single operation and needs no head.
DECODERS: dict[Kind, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    Kind.PLAIN: lambda file, head: decode_jpeg(file),
    Kind.INKS: file_function(decode_inks, head=True),
    Kind.GRAY_16: file_function(decode_gray_16, head=True),
    Kind.GIF: file_function(decode_gif, head=True),
    Kind.BMP: file_function(decode_bmp, head=True),
    Kind.WEBP: file_function(decode_webp, head=True),
}
_ORIENTATIONS = {
    "JPEG": file_function(exif.jpeg_orientation),
    "PNG": file_function(exif.png_orientation),
    "WebP": file_function(exif.webp_orientation),
}


@tf.autograph.experimental.do_not_convert
def inspect_image(file: tf.Tensor) -> tf.Tensor:
    """Read the head of a file: whether it can be decoded, its size and what its decoder must know.

    Nothing is raised for any bytes whatever, so that in a batch no file disturbs another. The work
    is bounded, and no memory beside that of the file is taken.

    Args:
        file: scalar string, the whole file.

    Returns:
        int64 [HEAD_LENGTH]: height and width in pixels as in `image_size`, the `Kind`, and more for
        `decode_inspected`; all zeros where `image_size` would raise.
    """
    refused = tf.zeros([HEAD_LENGTH], tf.int64)
    calls = [lambda call=call: call(file) for call in _HEADS]
    return tf.ensure_shape(tf.switch_case(image_format(file), [*calls, lambda: refused]), [HEAD_LENGTH])


@tf.autograph.experimental.do_not_convert
def image_size(file: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Read height and width in pixels from the head of a file, without decoding it.

    They are those of the image that `decode_image` would make, before it is turned upright, and no
    decoder makes a larger one on the way.

    Args:
        file: scalar string, the whole file.

    Returns:
        height and width, scalar int64, at least 1.

    Raises:
        tf.errors.InvalidArgumentError: the head is damaged or truncated, or the format unknown.
    """
    head = inspect_image(file)
    with tf.control_dependencies([require(head[0] > 0, _REFUSAL)]):
        head = tf.identity(head)
    return head[0], head[1]


@tf.autograph.experimental.do_not_convert
def decode_inspected(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Decode a file that `inspect_image` did not refuse.

    Args:
        file: scalar string, the whole file.
        head: what `inspect_image` returned for it.

    Returns:
        uint8 [h, w, 3] as `decode_image`.

    Raises:
        as `decode_image`.
    """
    branch = tf.cast(head[2] - Kind.PLAIN, tf.int32)
    with tf.control_dependencies([require(branch >= 0, _REFUSAL)]):
        branch = tf.identity(branch)
    pixels = tf.switch_case(branch, [lambda call=call: call(file, head) for call in DECODERS.values()])
    return tf.ensure_shape(pixels, [None, None, 3])


@tf.autograph.experimental.do_not_convert
def decode_image(file: tf.Tensor, *, exif_orientation: bool = False) -> tf.Tensor:
    """Decode one image file: JPEG, PNG, GIF (first frame), BMP or WebP (first frame).

    A dataset makes the functions that it maps anew every time it is run, so that there each run
    pays for the decoders of all formats; for a batch of untrusted files see `isolated_decoding`.

    Args:
        file: scalar string, the whole file.
        exif_orientation: whether the image is turned upright as the camera noted in the file, as
            `PIL.ImageOps.exif_transpose` does. The reference does not.

    Returns:
        uint8 [h, w, 3], RGB, equal bit for bit to Pillow's `Image.open(file).convert("RGB")`.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or of another format. An image may be
            too large for the memory: look at `image_size` first.
        tf.errors.NotFoundError: the file is WebP and TensorFlow older than 2.20.
    """
    pixels = decode_inspected(file, inspect_image(file))
    if not exif_orientation:
        return pixels
    # In this order: where two things fail or run at once, TensorFlow may report a cancellation, and
    # a dataset's `ignore_errors` does not pass over that.
    with tf.control_dependencies([pixels]):
        decoded = tf.identity(file)
    return exif.apply_orientation(pixels, read_orientation(decoded))


@tf.autograph.experimental.do_not_convert
def read_orientation(file: tf.Tensor) -> tf.Tensor:
    """Read the orientation noted in a file, for any bytes whatever.

    Args:
        file: scalar string, the whole file.

    Returns:
        scalar int32, 1 to 8; 1 (upright) where none is noted. See `exif.apply_orientation`.
    """
    none: Callable[[tf.Tensor], tf.Tensor] = lambda _: tf.constant(1)  # noqa: E731
    calls = [_ORIENTATIONS.get(name, none) for name in (*FORMATS, "")]
    return tf.switch_case(image_format(file), [lambda call=call: call(file) for call in calls])


def image_format(file: tf.Tensor) -> tf.Tensor:
    """Tell the format of a file by its first bytes, as Pillow does.

    Returns:
        scalar int32, an index into `FORMATS`, or their number.
    """
    head = tf.strings.substr(tf.strings.join([file, b"\0" * 12]), 0, 12)
    starts = [tf.strings.substr(head, 0, len(magic)) == magic for _, magic in _STARTS]
    starts.append((tf.strings.substr(head, 0, 4) == b"RIFF") & (tf.strings.substr(head, 8, 4) == b"WEBP"))
    formats = [*(number for number, _ in _STARTS), FORMATS.index("WebP"), len(FORMATS)]
    matches = tf.stack([*starts, tf.constant(True)])
    return tf.gather(tf.constant(formats), tf.argmax(matches))
