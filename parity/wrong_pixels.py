"""Preprocessing as it is often written wrongly: from a photograph's pixels to pixel values.

Each function takes uint8 pixels (h, w, 3) and the checkpoint's `ImageProcessing`, and returns float32
(H, W, 3). All but one resize with TensorFlow's own functions, as pipelines do that never heard of Pillow.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np


def right(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """What the port does."""
    import tensorflow as tf

    from tf_segformer.preprocessing import preprocess

    return preprocess(tf.constant(pixels), processing).numpy()


def bgr(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """The channels as OpenCV reads them."""
    return right(np.ascontiguousarray(pixels[..., ::-1]), processing)


def bicubic(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """Another filter."""
    from tf_segformer.resampling import BICUBIC

    return right(pixels, replace(processing, resample=BICUBIC))


def mean_of_one_half(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """Normalised to -1…1, as Inception's models were."""
    return right(pixels, replace(processing, image_mean=(0.5,) * 3, image_std=(0.5,) * 3))


def normalized_before_rescaling(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """The mean taken from levels of 0…255, and the rescaling after it."""
    levels = right(pixels, replace(processing, do_rescale=False, do_normalize=False))
    return (levels - np.float32(processing.image_mean)) / np.float32(processing.image_std) / np.float32(255)


def not_antialiased(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """`tf.image.resize` with its defaults."""
    return _resized(pixels, processing, antialias=False)


def never_rounded_to_levels(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """`tf.image.resize` with antialiasing, which keeps fractions of levels; Pillow rounds to whole ones."""
    return _resized(pixels, processing, antialias=True)


def corners_aligned(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """Bilinear samples with the corner pixels of both sizes on each other."""
    import tensorflow as tf

    levels = tf.compat.v1.image.resize_bilinear(
        pixels[np.newaxis], (processing.height, processing.width), align_corners=True
    )
    return _normalized(levels[0].numpy(), processing)


def height_and_width_swapped(pixels: np.ndarray, processing: Any) -> np.ndarray:
    """The image resized as if its sides were the other way round."""
    return right(np.ascontiguousarray(pixels.transpose(1, 0, 2)), processing)


def _resized(pixels: np.ndarray, processing: Any, *, antialias: bool) -> np.ndarray:
    import tensorflow as tf

    levels = tf.image.resize(pixels, (processing.height, processing.width), antialias=antialias)
    return _normalized(levels.numpy(), processing)


def _normalized(levels: np.ndarray, processing: Any) -> np.ndarray:
    values = levels * np.float32(processing.rescale_factor)
    return (values - np.float32(processing.image_mean)) / np.float32(processing.image_std)
