"""What TensorFlow's decoders are given, and what came of it, within a main graph that raises nothing.

A file is rewritten into streams: bytes that one operation decodes. A stream that is empty is not
decoded. The pixels of a stream, or of a file, are held as `tf.io.serialize_tensor` gives them, since
those of a batch differ in size; an empty string stands for pixels that could not be had.
"""

from collections.abc import Callable

import tensorflow as tf

from tf_segformer.lazy_function import STREAMS


def decode_jpeg(stream: tf.Tensor) -> tf.Tensor:
    """Decode a JPEG file of one or three components, four inks, or a PNG file.

    Args:
        stream: scalar string.

    Returns:
        uint8 [h, w, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: the stream is damaged or truncated.
    """
    # The default DCT differs from libjpeg's by up to 18 levels on two thirds of the pixels.
    return tf.io.decode_jpeg(stream, channels=3, dct_method="INTEGER_ACCURATE")


def decode_other(stream: tf.Tensor) -> tf.Tensor:
    """Decode a GIF, WebP or PNG file.

    The operation is older than that of WebP alone, which TensorFlow has from 2.20 on: before, it
    raises for a WebP file as it does for a damaged one.

    Args:
        stream: scalar string.

    Returns:
        uint8, GIF: [frames, h, w, 3]; WebP: [frames, h, w, 3 or 4]; PNG: [h, w, channels].

    Raises:
        tf.errors.InvalidArgumentError: the stream is damaged or truncated.
    """
    return tf.raw_ops.DecodeImage(contents=stream, channels=0, dtype=tf.uint8, expand_animations=True)


def one_stream(stream: tf.Tensor) -> tf.Tensor:
    """Return the streams of a file that is decoded once, string [STREAMS]."""
    return tf.stack([stream] + [b""] * (STREAMS - 1))


def if_decoded(streams: tf.Tensor, make: Callable[[], tf.Tensor], count: int = 1) -> tf.Tensor:
    """Return what `make` returns, a scalar string, if the first `count` streams were decoded, else ""."""
    there = tf.reduce_all(tf.strings.length(streams[:count]) > 0, axis=0)
    return tf.cond(there, make, lambda: tf.constant(b""))


def pixels_of(stream: tf.Tensor, *shape: int | None) -> tf.Tensor:
    """Return the pixels of a decoded stream, a scalar string: uint8 of this shape."""
    return tf.ensure_shape(tf.io.parse_tensor(stream, tf.uint8), shape)
