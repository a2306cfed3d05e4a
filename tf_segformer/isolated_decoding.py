"""A batch of untrusted files to pixels: what is wrong with one does not touch the others.

A file is first looked at by `inspect_image`, which raises nothing. Then TensorFlow's decoders run
within datasets that pass over errors. A dataset makes its functions anew each time it is run, and
pays for every operation that they can reach. So the one for JPEG and PNG has a single decoder, and
those of the rarer kinds have one each, run only where the batch has such a file.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from tf_segformer.image_decoding import DECODERS, Kind, inspect_image
from tf_segformer.lazy_function import HEAD_LENGTH


class Decoded(NamedTuple):
    """A batch of decoded files.

    Attributes:
        pixels: string [n], each image uint8 [h, w, 3] as `tf.io.serialize_tensor` gives it, to be
            read with `tf.io.parse_tensor(pixels[i], tf.uint8)`; empty where there is none.
        sizes: int64 [n, 2], height and width from the head; zeros where the head was refused. A
            file with a size and without pixels is damaged behind its head, or has too many pixels.
    """

    pixels: tf.Tensor
    sizes: tf.Tensor


@tf.autograph.experimental.do_not_convert
def decode_batch(files: tf.Tensor, *, max_pixels: int, webp: bool = True) -> Decoded:
    """Decode files of any bytes whatever, each on its own.

    Args:
        files: string [n], whole files.
        max_pixels: larger images are not decoded; nothing is allocated for them.
        webp: whether WebP is decoded, whose operation TensorFlow has from 2.20 on. On an older server
            a WebP file would otherwise fail its whole batch, other files alone do not.

    Returns:
        pixels and sizes. Pixels are equal to those of `image_decoding.decode_image`.
    """
    spec = tf.TensorSpec([HEAD_LENGTH], tf.int64)
    heads = tf.ensure_shape(tf.map_fn(inspect_image, files, fn_output_signature=spec), [None, HEAD_LENGTH])
    sizes = heads[:, :2]
    is_small = sizes[:, 0] * sizes[:, 1] <= max_pixels
    kinds = tf.where(is_small, heads[:, 2], Kind.REFUSED)

    decoders = {kind: call for kind, call in DECODERS.items() if webp or kind != Kind.WEBP}
    parts = [_isolated(files, heads, kinds == kind, decode) for kind, decode in decoders.items()]
    return Decoded(tf.strings.join(parts), sizes)


def _isolated(
    files: tf.Tensor, heads: tf.Tensor, chosen: tf.Tensor, decode: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
) -> tf.Tensor:
    """Return the serialized pixels of the chosen files, string [n]; empty for the others."""
    nothing = tf.fill([tf.size(files)], b"")

    def run() -> tf.Tensor:
        index = tf.where(chosen)[:, 0]

        def decode_one(i: tf.Tensor, file: tf.Tensor, head: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return i, tf.io.serialize_tensor(decode(file, head))

        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.autotune.enabled = False
        items = (index, tf.gather(files, index), tf.gather(heads, index))
        data = tf.data.Dataset.from_tensor_slices(items).map(decode_one).ignore_errors(log_warning=False)
        return data.with_options(options).reduce(
            nothing, lambda found, item: tf.tensor_scatter_nd_update(found, [[item[0]]], [item[1]])
        )

    return tf.cond(tf.reduce_any(chosen), run, lambda: nothing)
