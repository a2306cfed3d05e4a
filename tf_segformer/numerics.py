"""The two functions whose Keras versions are not exact in float64, and the activations by name."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tf_segformer import environment

environment.check_backend()  # every layer comes by here before it is defined


def gelu(x: tf.Tensor) -> tf.Tensor:
    """Exact GELU, x·Φ(x) (Hendrycks & Gimpel 2016, eq. 2), in the dtype of `x`.

    `tf.nn.gelu` rounds √½ to float32, an error of 4e-9 in float64. Written with erfc, the lower tail
    keeps its relative accuracy; `1 + erf` cancels there.
    """
    half = tf.constant(0.5, x.dtype)
    minus_sqrt_half = tf.constant(-np.sqrt(0.5), x.dtype)
    return half * x * tf.math.erfc(minus_sqrt_half * x)


def resize_bilinear(x: tf.Tensor, height: tf.Tensor | int, width: tf.Tensor | int) -> tf.Tensor:
    """Bilinear resize with half-pixel centres and no antialiasing.

    Computes what `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)` does. In float64
    the interpolation is done here, since `tf.image.resize` always works in float32.

    Args:
        x: (B, H, W, C), floating.
        height: Target height in pixels; may be a scalar integer tensor.
        width: Target width in pixels.

    Returns:
        (B, height, width, C), in the dtype of `x`.
    """
    if x.dtype != tf.float64:
        resized = tf.image.resize(x, (height, width), method="bilinear", antialias=False)
        return tf.cast(resized, x.dtype)
    return _interpolate(_interpolate(x, 1, height), 2, width)


def _interpolate(x: tf.Tensor, axis: int, size: tf.Tensor | int) -> tf.Tensor:
    """Linear interpolation of `x` (B, H, W, C) along one spatial axis."""
    length = tf.shape(x)[axis]
    scale = tf.cast(length, x.dtype) / tf.cast(size, x.dtype)
    centres = (tf.cast(tf.range(size), x.dtype) + 0.5) * scale - 0.5
    centres = tf.maximum(centres, 0.0)
    lower = tf.cast(centres, tf.int32)
    upper = tf.minimum(lower + 1, length - 1)
    weight = centres - tf.cast(lower, x.dtype)
    weight = tf.reshape(weight, (-1, 1, 1) if axis == 1 else (-1, 1))
    return tf.gather(x, lower, axis=axis) * (1.0 - weight) + tf.gather(x, upper, axis=axis) * weight


# The names a checkpoint's `hidden_act` may hold (transformers' ACT2FN) and this port computes.
ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": lambda x: keras.ops.gelu(x, approximate=True),
    "gelu_pytorch_tanh": lambda x: keras.ops.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * tf.sigmoid(1.702 * x),
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "mish": keras.activations.mish,
    "leaky_relu": lambda x: tf.nn.leaky_relu(x, alpha=0.01),
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "linear": tf.identity,
}
