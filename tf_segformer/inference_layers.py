"""Layers of the inference network, each in the form that TensorFlow's graph optimiser joins into one kernel.

Axes: N tokens (B·H·W), B batch, H W height and width of a feature map, C channels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_segformer.grid import Grid
from tf_segformer.layers import LAYER_NORM_EPSILON
from tf_segformer.numerics import resize_bilinear

# Channels that are multiplied at once for GELU: a register's, a matrix tile's.
GELU_WIDTHS = {tf.float32: 16, tf.bfloat16: 32}


def scoped(call: Callable[..., Any]) -> Callable[..., Any]:
    """Name the operations of a part's call after the part, below those that call it."""

    @functools.wraps(call)
    def within(part: tf.Module, *args: Any) -> Any:
        with tf.name_scope(part.name):
            return call(part, *args)

    return within


class Numbers(NamedTuple):
    """In which dtypes a network computes, and how it holds its weights.

    Attributes:
        images: dtype of the images, of their patch embedding, and in which the answer is given.
        layers: dtype of everything else.
        constant: whether weights are constants of the graph instead of variables. oneDNN then brings them
            into its own layout once instead of at every product: in bfloat16, where a product takes
            little longer than that, it halves their time; in float32 it takes a few percent off.
    """

    images: str
    layers: str
    constant: bool = False

    def of_images(self) -> Numbers:
        """Those of what is done to the images themselves."""
        return self._replace(layers=self.images)

    def of_convolutions(self) -> Numbers:
        """Those of what is convolved, whose weights are always constants.

        On a processor without AVX-512, oneDNN convolves with a variable kernel up to ten times as slowly.
        """
        return self._replace(constant=True)


def numbers_of(precision: str) -> Numbers:
    """Return the dtypes of a precision: ``float32``, ``float64`` or ``bfloat16``."""
    if precision in ("float32", "float64"):
        return Numbers(precision, precision)
    if precision == "bfloat16":
        return Numbers("float32", "bfloat16", constant=True)
    raise ValueError(f"precision is {precision!r}; expected float32, float64 or bfloat16.")


class Weight(tf.Module):
    """A tensor that training made: a variable, or a constant of every graph it is used in."""

    def __init__(self, value: Any, dtype: str, numbers: Numbers, name: str) -> None:
        super().__init__(name=name)
        self.dtype, self.shape = tf.as_dtype(dtype), np.shape(value)
        self._constant = np.asarray(value).astype(self.dtype.as_numpy_dtype) if numbers.constant else None
        if not self.is_constant:
            self.variable = tf.Variable(value, trainable=False, dtype=dtype, name=name)

    @property
    def is_constant(self) -> bool:
        """Whether it is no variable."""
        return self._constant is not None

    def __call__(self) -> tf.Tensor:
        """The tensor."""
        return self.variable.read_value() if self._constant is None else tf.constant(self._constant)


class Linear(tf.Module):
    """Kernel and bias of a Keras dense, convolution or depthwise convolution layer."""

    def __init__(
        self,
        layer: Any,
        numbers: Numbers,
        scale: float = 1.0,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        kernel, bias = (np.asarray(weight, np.float64) * scale for weight in (layer.kernel, layer.bias))
        self.kernel = Weight(kernel, numbers.layers, numbers, "kernel")
        self.bias = Weight(bias, numbers.layers, numbers, "bias")
        self.dtype = self.kernel.dtype

    @classmethod
    def of(cls, kernel: Any, bias: Any, numbers: Numbers, name: str) -> Linear:
        """Make one of a kernel and a bias."""
        return cls(SimpleNamespace(kernel=kernel, bias=bias), numbers, name=name)

    @classmethod
    def of_patches(cls, layer: Any, numbers: Numbers, name: str) -> Linear:
        """Make a dense layer of patches (`grid.Patches`) of a convolution whose windows lie side by side.

        In float32 it takes as long as the convolution. In bfloat16 with AMX, oneDNN 3.7 convolves few
        channels (8 to 24) wrongly.
        """
        kernel = np.asarray(layer.kernel)
        return cls.of(kernel.reshape(-1, kernel.shape[-1]), layer.bias, numbers, name)

    @scoped
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """(N, C_in) → (N, C)."""
        return tf.nn.bias_add(tf.matmul(x, self.kernel()), self.bias())

    @scoped
    def convolve(self, x: tf.Tensor, stride: int) -> tf.Tensor:
        """(B, H, W, C_in) → (B, H', W', C), without padding."""
        return tf.nn.bias_add(tf.nn.conv2d(x, self.kernel(), stride, "VALID"), self.bias())

    @scoped
    def convolve_depthwise(self, x: tf.Tensor) -> tf.Tensor:
        """(B, H, W, C) → (B, H, W, C), padded with zeros."""
        return tf.nn.bias_add(tf.nn.depthwise_conv2d(x, self.kernel(), (1, 1, 1, 1), "SAME"), self.bias())


class Norm(tf.Module):
    """Gamma and beta of a LayerNorm."""

    def __init__(self, layer: Any, numbers: Numbers) -> None:
        super().__init__(name="norm")
        self.gamma = Weight(layer.gamma, numbers.layers, numbers, "gamma")
        self.beta = Weight(layer.beta, numbers.layers, numbers, "beta")

    @scoped
    def __call__(self, x: tf.Tensor, grid: Grid) -> tf.Tensor:
        """(N, C) of a grid → (N, C)."""
        return _normalize(x, grid) * self.gamma() + self.beta()


def _normalize(x: tf.Tensor, grid: Grid) -> tf.Tensor:
    """Zero mean and unit variance for each row of `x` (N, C)."""
    if x.dtype == tf.float64:  # the fused operation has no float64
        mean, variance = tf.nn.moments(x, axes=[-1], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + LAYER_NORM_EPSILON)
    channels = x.shape[1]
    # Keeps the optimiser from moving a cast past the reshape, behind which it finds no LayerNorm.
    x = tf.ensure_shape(x, (None, channels))
    # Of `x` itself: it finds none either where two of them have one scale or offset in common.
    count = tf.shape(x)[:1]
    normalized, _, _ = tf.compat.v1.nn.fused_batch_norm(
        tf.reshape(x, grid.shapes(1, grid.count, channels, 1)),
        scale=tf.ones(count),
        offset=tf.zeros(count),
        epsilon=LAYER_NORM_EPSILON,
        data_format="NCHW",
    )
    return grid.tokens(normalized, channels)


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU of `x` (N, C), as half x (1 + erf √½x), in one pass if that is possible.

    The optimiser knows GELU only behind a product with a bias, where oneDNN computes it in float32 on each
    value before it is stored. So `x` is multiplied by an identity matrix, which changes no value: a small
    one, to which the tokens' channels are dealt out in turn.
    """
    y, width = x, GELU_WIDTHS.get(x.dtype)
    if width and x.shape[-1] % width == 0:
        # The optimiser would leave out the addition of what it knows to be zeros.
        zeros = tf.raw_ops.PlaceholderWithDefault(input=tf.zeros([width], x.dtype), shape=[width])
        y = tf.nn.bias_add(tf.matmul(tf.reshape(x, (-1, width)), tf.constant(np.eye(width), x.dtype)), zeros)
    half, root, one = (tf.constant(value, x.dtype) for value in (0.5, 0.5**0.5, 1.0))
    return tf.reshape((tf.math.erf(y * root) + one) * half * y, (-1, x.shape[-1]))


def enlarged_sum(features: list[tf.Tensor], height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Enlarge feature maps (B, H_i, W_i, C) bilinearly, and add them: (B·height·width, C).

    In bfloat16 by products with interpolation matrices: of rows map by map, of columns for all maps at once,
    which adds them. In float32 such products take longer than the interpolation.
    """
    dtype = features[0].dtype
    if dtype != tf.bfloat16:
        return tf.add_n([tokens(resize_bilinear(feature, height, width)) for feature in features])
    enlarged, columns = [], []
    for feature in features:
        batch, rows, length = tf.unstack(tf.shape(feature)[:3])
        channels = feature.shape[-1]
        flat = tf.reshape(feature, (batch, rows, length * channels))
        enlarged.append(
            tf.reshape(
                tf.matmul(interpolation(rows, height, dtype), flat), (batch * height, length, channels)
            )
        )
        columns.append(interpolation(length, width, dtype))
    return tokens(tf.matmul(tf.concat(columns, axis=1), tf.concat(enlarged, axis=1)))


def interpolation(size: tf.Tensor, target: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Return the matrix (target, size) that resizes `size` values linearly, centres of pixels on halves."""
    scale = tf.cast(size, tf.float32) / tf.cast(target, tf.float32)
    centres = tf.range(tf.cast(target, tf.float32)) + 0.5
    positions = tf.clip_by_value(centres * scale - 0.5, 0.0, tf.cast(size - 1, tf.float32))
    distances = tf.abs(positions[:, None] - tf.range(tf.cast(size, tf.float32)))
    return tf.cast(tf.maximum(1.0 - distances, 0.0), dtype)


def tokens(x: tf.Tensor) -> tf.Tensor:
    """(B, H, W, C) → (N, C)."""
    return tf.reshape(x, (-1, x.shape[-1]))
