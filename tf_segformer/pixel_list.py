"""A list of images of different sizes as one tensor of a graph, from which they are read without a copy.

It is what `tf.TensorArray` is made of, in a form that a dataset's function can also give back. (A string
tensor of serialized images holds them as well, but every operation on it copies every image.)
"""

import tensorflow as tf

_ANY_SHAPE = -1


def empty_list(count: tf.Tensor) -> tf.Tensor:
    """Return a list of so many places, with no pixels ([0]) at any; a variant scalar."""
    return tf.raw_ops.TensorListFromTensor(tensor=tf.zeros([count, 0], tf.uint8), element_shape=_ANY_SHAPE)


def pixels_at(pixels: tf.Tensor, place: tf.Tensor | int) -> tf.Tensor:
    """Return the pixels at a place, uint8 of any shape."""
    return tf.raw_ops.TensorListGetItem(
        input_handle=pixels,
        index=tf.cast(place, tf.int32),
        element_shape=_ANY_SHAPE,
        element_dtype=tf.uint8,
    )


def with_pixels_at(pixels: tf.Tensor, place: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Return a list with these pixels, uint8 of any shape, at a place."""
    return tf.raw_ops.TensorListSetItem(
        input_handle=pixels, index=tf.cast(place, tf.int32), item=image, resize_if_index_out_of_bounds=False
    )
