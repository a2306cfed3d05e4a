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
from tf_segformer.pixel_list import empty_list, pixels_at, with_pixels_at

_PARALLEL_FILES = 4  # of a batch that are rewritten or finished at the same time


class Decoded(NamedTuple):
    """A batch of decoded files.

    Attributes:
        pixels: a list of n images, to be read with `image_at(pixels, i)`. It is a tensor itself, a
            variant, so that images of different sizes can be passed on and none is copied.
        is_decoded: bool [n], which images there are.
        sizes: int64 [n, 2], height and width from the head; zeros where the head was refused.
        heads: int64 [n, HEAD_LENGTH], what `inspect_image` returned.
        is_long: bool [n], which files have too many bytes and were not looked at.
        is_large: bool [n], which images have too many pixels and were not decoded.
    """

    pixels: tf.Tensor
    is_decoded: tf.Tensor
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
    return Decoded(*_decode(files, heads, kinds), heads[:, :2], heads, is_long, is_large)


def image_at(pixels: tf.Tensor, index: tf.Tensor | int) -> tf.Tensor:
    """Return an image of `Decoded.pixels`: uint8 [h, w, 3], [0, 0, 3] where it is not decoded."""
    image = pixels_at(pixels, STREAMS * index)
    image = tf.cond(tf.equal(tf.rank(image), 3), lambda: image, lambda: tf.zeros([0, 0, 3], tf.uint8))
    return tf.ensure_shape(image, [None, None, 3])


def _decode(files: tf.Tensor, heads: tf.Tensor, kinds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the pixels of the files whose kind is not refused, and which there are, bool [n]."""
    count = tf.size(files, tf.int64)
    # Of `count` × STREAMS places, a file that is decoded as it is has that of its first stream.
    whole = tf.where(kinds == Kind.JPEG)[:, 0]
    index = tf.where(kinds > Kind.JPEG)[:, 0]
    streams = _for_each(index, (files, heads), lambda item: rewrite(*item), [STREAMS])
    used = tf.where(tf.strings.length(streams) > 0)
    decoded = empty_list(STREAMS * count), tf.fill([STREAMS * count], False)
    for decode, taken in STREAM_DECODERS:
        is_taken = tf.reduce_any(tf.gather(kinds, index)[:, tf.newaxis] == [*taken], axis=1)
        mine = tf.boolean_mask(used, tf.gather(is_taken, used[:, 0]))
        places = STREAMS * tf.gather(index, mine[:, 0]) + mine[:, 1]
        contents = tf.gather_nd(streams, mine)
        if Kind.JPEG in taken:
            places = tf.concat([STREAMS * whole, places], axis=0)
            contents = tf.concat([tf.gather(files, whole), contents], axis=0)
        decoded = _isolated(contents, places, decoded, decode)
    index = tf.where(kinds > Kind.PNG)[:, 0]
    return _finished(index, files, heads, decoded)


def _finished(
    index: tf.Tensor, files: tf.Tensor, heads: tf.Tensor, decoded: tuple[tf.Tensor, tf.Tensor]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make the pixels of the files at these places of their streams; return as `_decode` does."""
    pixels, is_decoded = decoded
    streams = tf.reshape(is_decoded, [-1, STREAMS])
    places = STREAMS * tf.range(tf.shape(streams)[0])[:, tf.newaxis] + tf.range(STREAMS)

    def stream(item: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        place, there = item
        return tf.cond(
            there, lambda: tf.io.serialize_tensor(pixels_at(pixels, place)), lambda: tf.constant(b"")
        )

    def finish_one(item: tuple[tf.Tensor, ...]) -> tf.Tensor:
        file, head, *its_streams = item
        spec = tf.TensorSpec([], tf.string)
        serialized = tf.map_fn(stream, tuple(its_streams), fn_output_signature=spec)
        return finish(file, head, tf.ensure_shape(serialized, [STREAMS]))

    found = _for_each(index, (files, heads, places, streams), finish_one, [])

    def put(i: tf.Tensor, pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = tf.cond(
            tf.strings.length(found[i]) > 0,
            lambda: tf.io.parse_tensor(found[i], tf.uint8),
            lambda: tf.zeros([0], tf.uint8),
        )
        return i + 1, with_pixels_at(pixels, STREAMS * index[i], image)

    _, pixels = tf.while_loop(lambda i, _: i < tf.size(found), put, (0, pixels))
    is_found = tf.strings.length(found) > 0
    return pixels, tf.tensor_scatter_nd_update(streams[:, 0], index[:, tf.newaxis], is_found)


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
    streams: tf.Tensor,
    places: tf.Tensor,
    decoded: tuple[tf.Tensor, tf.Tensor],
    decode: Callable[[tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decode streams, string [m], to their places in a list of pixels, and note there that they are.

    Where one is damaged its place is left as it is.
    """

    def run() -> tuple[tf.Tensor, tf.Tensor]:
        def decode_one(place: tf.Tensor, stream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return place, decode(stream)

        def put(
            decoded: tuple[tf.Tensor, tf.Tensor], item: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            place, pixels = item
            there = tf.tensor_scatter_nd_update(decoded[1], [[place]], [True])
            return with_pixels_at(decoded[0], place, pixels), there

        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.autotune.enabled = False
        data = tf.data.Dataset.from_tensor_slices((places, streams)).map(decode_one)
        data = data.ignore_errors(log_warning=False).with_options(options)
        return data.reduce(decoded, put)

    return tf.cond(tf.size(places) > 0, run, lambda: decoded)
