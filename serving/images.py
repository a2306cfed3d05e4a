"""From a batch of image files to the network's input, each file on its own.

One file that is damaged, empty or no image must not fail the requests that a server merged with it:
it gets a status text and keeps its place in the batch, filled with zeros.
"""

from __future__ import annotations

import tensorflow as tf

from serving.graph import Tensors
from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

OK = b"ok"
UNREADABLE = b"the bytes are no image that can be read"


def prepare_files(image_bytes: tf.Tensor, processing: ImageProcessing) -> Tensors:
    """Decode, resize and normalise a batch of image files.

    Args:
        image_bytes: string [N], the files.
        processing: the checkpoint's preprocessing, with a fixed size H × W.

    Returns:
        ``pixel_values`` float32 [N, H, W, 3]; ``height`` and ``width`` int32 [N], each image's own;
        ``status_bytes`` string [N], "ok" or what was wrong; ``readable`` bool [N]. Images that are not
        readable have zeros everywhere.
    """

    def prepare(index: tf.Tensor, file: tf.Tensor) -> tuple[tf.Tensor, ...]:
        pixels = decode_image(file)
        size = tf.shape(pixels)
        return index, preprocess(pixels, processing), size[0], size[1]

    # A data set drops what raises an error. One more element, which never does, goes to the row behind
    # the last: `get_single_element` wants at least one.
    count = tf.size(image_bytes)
    shape = [processing.height, processing.width, 3]
    files = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
    prepared = files.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors(log_warning=False)
    prepared = prepared.map(lambda index, values, *size: (index, tf.ensure_shape(values, shape), *size))
    spare = tf.data.Dataset.from_tensors((count, tf.zeros(shape), 0, 0))
    together = prepared.concatenate(spare).batch(tf.cast(count + 1, tf.int64))
    row, *columns = together.get_single_element()
    values, height, width = (
        tf.scatter_nd(row[:, tf.newaxis], column, tf.concat([[count + 1], tf.shape(column)[1:]], 0))[:-1]
        for column in columns
    )
    values = tf.ensure_shape(values, [None, *shape])
    readable = height > 0
    return {
        "pixel_values": values,
        "height": height,
        "width": width,
        "status_bytes": tf.where(readable, OK, UNREADABLE),
        "readable": readable,
    }


def prepare_pixels(pixels: tf.Tensor, processing: ImageProcessing) -> tf.Tensor:
    """Resize and normalise images of one size: uint8 [N, H', W', 3] to float32 [N, H, W, 3]."""
    spec = tf.TensorSpec([processing.height, processing.width, 3], tf.float32)
    return tf.map_fn(lambda image: preprocess(image, processing), pixels, fn_output_signature=spec)
