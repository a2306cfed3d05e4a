"""Image file bytes to RGB pixels in plain TensorFlow ops, equal to Pillow's bit for bit.

The reference is `Image.open(file).convert("RGB")`. Where TensorFlow's own decoder gives something
else, the file is rewritten before and its pixels are treated after it, see `bmp`, `gif`, `jpeg`, `png`
and `webp`. What is equal and what is refused: docs/image-formats.md.
"""

from collections.abc import Callable
from enum import IntEnum, auto
from functools import partial

import tensorflow as tf

from tf_segformer import exif
from tf_segformer.bmp import bmp_head, bmp_pixels
from tf_segformer.file_bytes import require
from tf_segformer.gif import gif_head, gif_pixels, gif_stream
from tf_segformer.jpeg import ink_pixels, ink_streams, jpeg_head
from tf_segformer.lazy_function import HEAD_LENGTH, STREAMS, file_function
from tf_segformer.png import gray_16_pixels, gray_16_stream, png_head, png_stream
from tf_segformer.streams import decode_jpeg, decode_other, pixels_of
from tf_segformer.webp import webp_head, webp_pixels, webp_stream

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
    """What a file is; an entry of its head."""

    FOREIGN = 0  # none of the formats
    REFUSED = auto()  # of a format, but damaged or of a kind that is not read
    JPEG = auto()  # of one or three components: decoded as it is
    PNG = auto()  # rewritten, and then complete when it is decoded; those below are not
    INKS = auto()
    GRAY_16 = auto()
    GIF = auto()
    BMP = auto()
    WEBP = auto()


# Each is made ready only when it is first called, see `file_function`.
_HEADS = [
    file_function(partial(jpeg_head, kind=Kind.JPEG, inks_kind=Kind.INKS)),
    file_function(partial(png_head, kind=Kind.PNG, gray_16_kind=Kind.GRAY_16)),
    file_function(partial(gif_head, kind=Kind.GIF)),
    file_function(partial(bmp_head, kind=Kind.BMP)),
    file_function(partial(webp_head, kind=Kind.WEBP)),
]
_STREAMS = {
    Kind.PNG: file_function(png_stream, 2),
    Kind.INKS: file_function(ink_streams, 2),
    Kind.GRAY_16: file_function(gray_16_stream, 2),
    Kind.GIF: file_function(gif_stream, 2),
    Kind.BMP: lambda file, head: tf.fill([STREAMS], b""),
    Kind.WEBP: file_function(webp_stream, 2),
}
_bmp_pixels = file_function(bmp_pixels, 2)
_PIXELS = {
    Kind.INKS: file_function(ink_pixels, 3),
    Kind.GRAY_16: file_function(gray_16_pixels, 3),
    Kind.GIF: file_function(gif_pixels, 3),
    Kind.BMP: lambda file, head, decoded: _bmp_pixels(file, head),
    Kind.WEBP: file_function(webp_pixels, 3),
}
# By the operation that decodes them: the kinds of file, and of what is rewritten.
STREAM_DECODERS: tuple[tuple[Callable[[tf.Tensor], tf.Tensor], tuple[Kind, ...]], ...] = (
    (decode_jpeg, (Kind.JPEG, Kind.PNG, Kind.INKS)),
    (decode_other, (Kind.GRAY_16, Kind.GIF, Kind.WEBP)),
)
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
        `rewrite` and `finish`; all zeros but for the kind where `image_size` would raise.
    """
    foreign = tf.zeros([HEAD_LENGTH], tf.int64)
    refused = tf.one_hot(2, HEAD_LENGTH, on_value=tf.constant(Kind.REFUSED, tf.int64))

    def head_of(read: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
        head = read(file)
        return tf.where(head[2] > 0, head, refused)

    calls = [lambda call=call: head_of(call) for call in _HEADS]
    return tf.ensure_shape(tf.switch_case(image_format(file), [*calls, lambda: foreign]), [HEAD_LENGTH])


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
def rewrite(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Make the streams of a file that is not decoded as it is; nothing is raised for any bytes whatever.

    Args:
        file: scalar string, the whole file.
        head: what `inspect_image` returned for it, of a kind beyond `Kind.JPEG`.

    Returns:
        string [STREAMS], to be decoded each by the operation that `STREAM_DECODERS` names for the kind;
        empty ones are not decoded.
    """
    branch = tf.cast(head[2] - Kind.PNG, tf.int32)
    calls = [lambda call=call: call(file, head) for call in _STREAMS.values()]
    return tf.ensure_shape(tf.switch_case(branch, calls), [STREAMS])


@tf.autograph.experimental.do_not_convert
def finish(file: tf.Tensor, head: tf.Tensor, decoded: tf.Tensor) -> tf.Tensor:
    """Make the pixels of a file from its decoded streams; nothing is raised for any bytes whatever.

    Args:
        file: scalar string, the whole file.
        head: what `inspect_image` returned for it, of a kind beyond `Kind.PNG`.
        decoded: string [STREAMS], the streams' pixels, serialized; empty where there are none.

    Returns:
        the pixels, uint8 [h, w, 3], serialized; an empty string where the file is damaged.
    """
    branch = tf.cast(head[2] - Kind.INKS, tf.int32)
    calls = [lambda call=call: call(file, head, decoded) for call in _PIXELS.values()]
    return tf.ensure_shape(tf.switch_case(branch, calls), [])


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
        tf.errors.InvalidArgumentError: the file is damaged or of another format, or WebP and
            TensorFlow older than 2.20. An image may be too large for the memory: look at
            `image_size` first.
    """
    # All in this order: where two things fail or run at once, TensorFlow may report a cancellation, and
    # a dataset's `ignore_errors` does not pass over that.
    head = inspect_image(file)
    branch = tf.cast(head[2] - Kind.JPEG, tf.int32)
    with tf.control_dependencies([require(branch >= 0, _REFUSAL)]):
        branch = tf.identity(branch)

    def rewritten(kind: Kind) -> tf.Tensor:
        streams = rewrite(file, head)
        if kind == Kind.PNG:
            return decode_jpeg(streams[0])
        pixels = finish(file, head, _decoded(streams, kind))
        with tf.control_dependencies([require(tf.strings.length(pixels) > 0, _REFUSAL)]):
            return pixels_of(tf.identity(pixels), None, None, 3)

    calls = [lambda: decode_jpeg(file), *(lambda kind=kind: rewritten(kind) for kind in _STREAMS)]
    pixels = tf.ensure_shape(tf.switch_case(branch, calls), [None, None, 3])
    if not exif_orientation:
        return pixels
    with tf.control_dependencies([pixels]):
        head = tf.identity(head)
    return exif.apply_orientation(pixels, read_orientation(file, head))


def _decoded(streams: tf.Tensor, kind: Kind) -> tf.Tensor:
    """Decode the streams of a file, one after the other; string [STREAMS]."""
    decode = next((call for call, kinds in STREAM_DECODERS if kind in kinds), None)
    if decode is None:
        return streams

    def one(stream: tf.Tensor) -> tf.Tensor:
        is_there = tf.strings.length(stream) > 0
        return tf.cond(is_there, lambda: tf.io.serialize_tensor(decode(stream)), lambda: stream)

    spec = tf.TensorSpec([], tf.string)
    return tf.ensure_shape(
        tf.map_fn(one, streams, fn_output_signature=spec, parallel_iterations=1), [STREAMS]
    )


@tf.autograph.experimental.do_not_convert
def read_orientation(file: tf.Tensor, head: tf.Tensor) -> tf.Tensor:
    """Read the orientation noted in a file, for any bytes whatever.

    Args:
        file: scalar string, the whole file.
        head: what `inspect_image` returned for it.

    Returns:
        scalar int32, 1 to 8; 1 (upright) where none is noted or the file is refused. See
        `exif.apply_orientation`.
    """
    names = {Kind.JPEG: "JPEG", Kind.INKS: "JPEG", Kind.PNG: "PNG", Kind.GRAY_16: "PNG", Kind.WEBP: "WebP"}
    numbers = [
        list(_ORIENTATIONS).index(names[kind]) if kind in names else len(_ORIENTATIONS) for kind in Kind
    ]
    branch = tf.gather(tf.constant(numbers), head[2])
    calls = [lambda call=call: call(file) for call in _ORIENTATIONS.values()]
    return tf.switch_case(branch, [*calls, lambda: tf.constant(1)])


def image_format(file: tf.Tensor) -> tf.Tensor:
    """Tell the format of a file by its first bytes, as Pillow does.

    Returns:
        scalar int32, an index into `FORMATS`, or their number.
    """
    head = tf.strings.join([tf.strings.substr(file, 0, 12), b"\0" * 12])
    starts = [tf.strings.substr(head, 0, len(magic)) == magic for _, magic in _STARTS]
    starts.append((tf.strings.substr(head, 0, 4) == b"RIFF") & (tf.strings.substr(head, 8, 4) == b"WEBP"))
    formats = [*(number for number, _ in _STARTS), FORMATS.index("WebP"), len(FORMATS)]
    matches = tf.stack([*starts, tf.constant(True)])
    return tf.gather(tf.constant(formats), tf.argmax(matches))
