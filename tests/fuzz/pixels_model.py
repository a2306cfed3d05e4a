"""A SavedModel that gives the decoded pixels, so that they can be compared with Pillow's.

Signature ``pixels``: ``image_bytes`` string [N] → ``pixels_png_bytes`` string [N] (the RGB pixels as a PNG,
"" where the file was refused). Signature ``one``: ``image_bytes`` string [1] →
``pixels_png_bytes`` string [1]; it raises the decoder's own error.
"""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from tf_segformer.image_decoding import decode_image, image_size

FILES = tf.TensorSpec([None], tf.string, name="image_bytes")


def save_pixels_model(folder: Path, max_pixels: int) -> Path:
    """Write the model; images of more than `max_pixels` pixels are refused by their header."""

    def png(file: tf.Tensor) -> tf.Tensor:
        size = image_size(file)
        height, width = size[0], size[1]
        # Not the product, which overflows.
        fits = (height <= max_pixels) & (width <= max_pixels // tf.maximum(height, 1))
        with tf.control_dependencies([tf.debugging.Assert(fits, ["Too many pixels:", height, width])]):
            checked = tf.identity(file)
        return tf.io.encode_png(decode_image(checked), compression=1)

    @tf.function(input_signature=[FILES], autograph=False)
    def pixels(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        count = tf.size(image_bytes)
        files = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes))
        decoded = files.map(lambda index, file: (index, png(file))).ignore_errors(log_warning=False)
        spare = tf.data.Dataset.from_tensors((count, tf.constant(b"")))  # there is at least one element
        together = decoded.concatenate(spare).batch(tf.cast(count + 1, tf.int64))
        rows, files = together.get_single_element()
        files = tf.tensor_scatter_nd_update(tf.fill([count + 1], b""), rows[:, None], files)[:-1]
        return {"pixels_png_bytes": files}

    @tf.function(input_signature=[FILES], autograph=False)
    def one(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"pixels_png_bytes": png(image_bytes[0])[None]}

    tf.saved_model.save(
        tf.Module(),
        str(folder),
        {"pixels": pixels.get_concrete_function(), "one": one.get_concrete_function()},
    )
    return folder
