"""A batch of untrusted files to pixels: what is wrong with one does not touch the others.

    files ─► heads ─► streams ─► decoders ─► pixels
            (inspect) (rewrite)  (isolated)  (finish)

All but the decoders raises nothing for any bytes. These run within datasets that pass over errors. A
dataset makes its functions anew each time it is run, and pays for every operation that they can reach:
so there are two datasets of one operation each, and the second is run only where the batch has a file
that needs it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.image_decoding import STREAM_DECODERS, Kind, finish, inspect_image, rewrite
from tf_segformer.lazy_function import HEAD_LENGTH, STREAMS

_PARALLEL_FILES = 4  # of a batch that are rewritten or finished at the same time


class Decoded(NamedTuple):
    """A batch of decoded files.

    Attributes:
        pixels: string [n], each image uint8 [h, w, 3] as `tf.io.serialize_tensor` gives it, to be
            read with `tf.io.parse_tensor(pixels[i], tf.uint8)`; empty where there is none.
        sizes: int64 [n, 2], height and width from the head; zeros where the head was refused.
        heads: int64 [n, HEAD_LENGTH], what `inspect_image` returned.
        is_long: bool [n], which files have too many bytes and were not looked at.
        is_large: bool [n], which images have too many pixels and were not decoded.
    """

    pixels: tf.Tensor
    sizes: tf.Tensor
    heads: tf.Tensor
    is_long: tf.Tensor
    is_large: tf.Tensor


@tf.autograph.experimental.do_not_convert
def decode_batch(
    files: tf.Tensor, *, max_pixels: int, max_bytes: int = tf.int32.max, webp: bool = True
) -> Decoded:
    """Decode files of any bytes whatever, each on its own.

    Args:
        files: string [n], whole files.
        max_pixels: larger images are not decoded; nothing is allocated for them.
        max_bytes: longer files are not looked at; the default is the most that TensorFlow takes.
        webp: whether WebP is decoded, which TensorFlow does from 2.20 on; an older one refuses the file.

    Returns:
        pixels and what is known from the heads. Pixels are equal to those of `image_decoding.decode_image`.
    """
    is_long = tf.strings.length(files) > max_bytes

    def inspect(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        file, is_long = item
        return tf.cond(is_long, lambda: tf.zeros([HEAD_LENGTH], tf.int64), lambda: inspect_image(file))

    spec = tf.TensorSpec([HEAD_LENGTH], tf.int64)
    heads = tf.map_fn(inspect, (files, is_long), fn_output_signature=spec)
    heads = tf.ensure_shape(heads, [None, HEAD_LENGTH])
    height, width, kinds = heads[:, 0], heads[:, 1], heads[:, 2]
    # Not the product, which may overflow.
    is_large = (height > max_pixels) | (width > max_pixels // tf.maximum(height, 1))
    is_refused = is_large if webp else is_large | (kinds == Kind.WEBP)
    kinds = tf.where(is_refused, np.int64(Kind.REFUSED), kinds)
    return Decoded(_decode(files, heads, kinds), heads[:, :2], heads, is_long, is_large)


def _decode(files: tf.Tensor, heads: tf.Tensor, kinds: tf.Tensor) -> tf.Tensor:
    """Return the serialized pixels of the files whose kind is not refused, string [n]."""
    count = tf.size(files, tf.int64)
    # Of `count` × STREAMS places, a file that is decoded as it is has that of its first stream.
    whole = tf.where(kinds == Kind.JPEG)[:, 0]
    index = tf.where(kinds > Kind.JPEG)[:, 0]
    streams = _for_each(index, (files, heads), lambda item: rewrite(*item), [STREAMS])
    used = tf.where(tf.strings.length(streams) > 0)
    decoded = tf.fill([STREAMS * count], b"")
    for decode, taken in STREAM_DECODERS:
        is_taken = tf.reduce_any(tf.gather(kinds, index)[:, tf.newaxis] == [*taken], axis=1)
        mine = tf.boolean_mask(used, tf.gather(is_taken, used[:, 0]))
        places = STREAMS * tf.gather(index, mine[:, 0]) + mine[:, 1]
        contents = tf.gather_nd(streams, mine)
        if Kind.JPEG in taken:
            places = tf.concat([STREAMS * whole, places], axis=0)
            contents = tf.concat([tf.gather(files, whole), contents], axis=0)
        decoded = _isolated(contents, places, decoded, decode)
    decoded = tf.reshape(decoded, [-1, STREAMS])
    index = tf.where(kinds > Kind.PNG)
    finished = _for_each(index[:, 0], (files, heads, decoded), lambda item: finish(*item), [])
    return tf.tensor_scatter_nd_update(decoded[:, 0], index, finished)


def _for_each(
    index: tf.Tensor,
    items: tuple[tf.Tensor, ...],
    call: Callable[[tuple[tf.Tensor, ...]], tf.Tensor],
    shape: list[int],
) -> tf.Tensor:
    """Return what `call` makes of the items at these places, string [m, *shape]."""
    return tf.map_fn(
        call,
        tuple(tf.gather(values, index) for values in items),
        fn_output_signature=tf.TensorSpec(shape, tf.string),
        parallel_iterations=_PARALLEL_FILES,
    )


def _isolated(
    streams: tf.Tensor, places: tf.Tensor, decoded: tf.Tensor, decode: Callable[[tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Put the serialized pixels of streams, string [m], to their places in `decoded`, string [k].

    Where one is damaged its place is left as it is.
    """

    def run() -> tf.Tensor:
        def decode_one(place: tf.Tensor, stream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return place, tf.io.serialize_tensor(decode(stream))

        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.autotune.enabled = False
        data = tf.data.Dataset.from_tensor_slices((places, streams)).map(decode_one)
        data = data.ignore_errors(log_warning=False).with_options(options)
        return data.reduce(
            decoded, lambda found, item: tf.tensor_scatter_nd_update(found, [[item[0]]], [item[1]])
        )

    return tf.cond(tf.size(places) > 0, run, lambda: decoded)
