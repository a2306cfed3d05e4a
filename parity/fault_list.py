"""The faults that `parity faults` plants, in the order of the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from parity import wrong_pixels
from parity.faults import Fault
from parity.planting import (
    change_attribute,
    change_function,
    change_weights,
    swap_weights,
    tanh_gelu,
)
from parity.results import TAP_PREFIX

_EMBEDDING = "segformer.encoder.patch_embeddings.0"
_BLOCK = "segformer.encoder.block.0.0"
_ATTENTION = f"{_BLOCK}.attention.self"
# The first block with more than one head.
_TWO_HEADS = "segformer.encoder.block.1.0.attention.self"


def _encoder(model: Any) -> Any:
    return model.segformer.encoder


def _head(model: Any) -> Any:
    return model.decode_head


def _blocks(model: Any) -> list[Any]:
    return [block for stage in _encoder(model).blocks for block in stage]


def _attentions(model: Any) -> list[Any]:
    return [block.attention.self_attention for block in _blocks(model)]


def _layer_norms(model: Any) -> list[Any]:
    import keras

    layers = model._flatten_layers()  # Keras has no public way to reach nested layers
    return [layer for layer in layers if isinstance(layer, keras.layers.LayerNormalization)]


def _lowest_bit_flipped(kernel: np.ndarray) -> np.ndarray:
    stored = kernel.astype(np.float32)
    stored.reshape(-1)[:1].view(np.int32)[:] ^= 1
    return stored.astype(kernel.dtype)


def _corners_aligned(resize: Callable) -> Callable:
    def wrong(x: Any, height: int, width: int) -> Any:
        import tensorflow as tf

        resized = tf.compat.v1.image.resize_bilinear(x, (height, width), align_corners=True)
        return tf.cast(resized, x.dtype)

    return wrong


def _nearest(resize: Callable) -> Callable:
    def wrong(x: Any, height: int, width: int) -> Any:
        import tensorflow as tf

        return tf.image.resize(x, (height, width), method="nearest")

    return wrong


def _heads_left_apart(layer: Any) -> Callable:
    def wrong(x: Any, like: Any) -> Any:
        import tensorflow as tf

        return tf.reshape(x, tf.shape(like))

    return wrong


def _not_a_number(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    def spoil(arrays: dict[str, np.ndarray]) -> None:
        arrays[name] = arrays[name].copy()
        arrays[name].reshape(-1)[7] = np.nan

    return spoil


def _brightened(arrays: dict[str, np.ndarray]) -> None:
    if "decoded" in arrays:
        arrays["decoded"] = arrays["decoded"].copy()
        arrays["decoded"].reshape(-1)[5] ^= 1


def _dropped(name: str) -> Callable[[dict[str, np.ndarray]], None]:
    return lambda arrays: arrays.__delitem__(name)


def _shuffled(arrays: dict[str, np.ndarray]) -> None:
    for name in [name for name in arrays if name not in ("decoded", "pixels")]:
        arrays[name] = arrays[name][::-1]


def _reduced(arrays: dict[str, np.ndarray]) -> None:
    if "labels/original_size" in arrays:
        arrays["labels/original_size"] = (arrays["labels/original_size"] - 1) % 256


PREPROCESSING = (
    Fault("channels in the order BGR", "pixels", prepare=wrong_pixels.bgr),
    Fault("bicubic instead of bilinear", "pixels", prepare=wrong_pixels.bicubic),
    Fault("mean and deviation 0.5", "pixels", prepare=wrong_pixels.mean_of_one_half),
    Fault("normalised before rescaling", "pixels", prepare=wrong_pixels.normalized_before_rescaling),
    Fault("resize without antialiasing", "pixels", prepare=wrong_pixels.not_antialiased),
    Fault("resize never rounded to levels", "pixels", prepare=wrong_pixels.never_rounded_to_levels),
    Fault("resize with corners aligned", "pixels", prepare=wrong_pixels.corners_aligned),
    Fault("height and width swapped", "pixels", prepare=wrong_pixels.height_and_width_swapped),
)
NETWORK = (
    Fault(
        "convolution kernel with height and width swapped",
        f"{_EMBEDDING}.proj",
        change_weights("patch_embeddings.0/proj/kernel", lambda w: w.transpose(1, 0, 2, 3)),
    ),
    Fault(
        "padding shifted by a pixel",
        f"{_EMBEDDING}.proj",
        change_attribute(
            lambda model: [each.pad for each in _encoder(model).patch_embeddings],
            "padding",
            lambda pad: tuple((before + 1, after - 1) for before, after in pad.padding),
        ),
    ),
    Fault(
        "LayerNorm epsilon 1e-6",  # the config's `layer_norm_eps`, which the reference never reads
        f"{_EMBEDDING}.layer_norm",
        change_attribute(_layer_norms, "epsilon", 1e-6),
    ),
    Fault(
        "two LayerNorms exchanged",
        f"{_EMBEDDING}.layer_norm",
        swap_weights("patch_embeddings.0/layer_norm", "encoder/layer_norm.0", ("gamma", "beta")),
    ),
    Fault(
        "LayerNorm's beta forgotten",
        f"{_BLOCK}.layer_norm_1",
        change_weights("block.0.0/layer_norm_1/beta", np.zeros_like),
    ),
    Fault(
        "square convolution kernel with in and out swapped",
        f"{_ATTENTION}.sr",
        change_weights("block.0.0/attention/self/sr/kernel", lambda w: w.transpose(0, 1, 3, 2)),
    ),
    Fault(
        "square dense kernel transposed",
        f"{_ATTENTION}.query",
        change_weights("block.0.0/attention/self/query/kernel", np.transpose),
    ),
    Fault(
        "query and key swapped",
        f"{_ATTENTION}.query",
        swap_weights("block.0.0/attention/self/query", "block.0.0/attention/self/key"),
    ),
    Fault(
        "key and value swapped",
        f"{_ATTENTION}.key",
        swap_weights("block.0.0/attention/self/key", "block.0.0/attention/self/value"),
    ),
    Fault(
        "softmax over the queries",
        f"{_ATTENTION}.probabilities",
        change_function(_encoder, "tf.nn.softmax", lambda f: lambda x, axis: f(x, axis=-2)),
    ),
    Fault(
        "scores scaled by all channels, not by a head's",
        f"{_TWO_HEADS}.probabilities",
        change_function(
            _encoder, "tf.nn.softmax", lambda f: lambda x, axis: f(x * x.shape[1] ** -0.5, axis=axis)
        ),
    ),
    Fault(
        "heads not brought back together",
        f"{_TWO_HEADS}.context",
        change_attribute(_attentions, "merge_heads", _heads_left_apart),
    ),
    Fault(
        "output projection transposed",
        f"{_BLOCK}.attention.output.dense",
        change_weights("block.0.0/attention/output/dense/kernel", np.transpose),
    ),
    Fault(
        "residual branch scaled by its survival rate",
        f"{_BLOCK}.layer_norm_2",
        change_attribute(_blocks, "drop_path", lambda block: lambda x, training=None: 0.9 * x),
    ),
    Fault(
        "a bias forgotten",
        f"{_BLOCK}.mlp.dense1",
        change_weights("block.0.0/mlp/dense1/bias", np.zeros_like),
    ),
    Fault(
        "depthwise kernel flipped, as in a true convolution",
        f"{_BLOCK}.mlp.dwconv.dwconv",
        change_weights("block.0.0/mlp/dwconv/dwconv/kernel", lambda w: w[::-1, ::-1]),
    ),
    Fault("tanh GELU", f"{_BLOCK}.mlp.activation", tanh_gelu),
    Fault(
        "the lowest bit of one weight flipped",
        "segformer.encoder.block.1.0.mlp.dense2",
        change_weights("block.1.0/mlp/dense2/kernel", _lowest_bit_flipped),
    ),
    Fault(
        "decode head's concatenation reversed",
        "decode_head.concatenated",
        change_function(_head, "tf.concat", lambda f: lambda values, axis: f(values[::-1], axis=axis)),
    ),
    Fault(
        "feature maps resized with corners aligned",
        "decode_head.concatenated",
        change_function(_head, "resize_bilinear", _corners_aligned),
    ),
    Fault(
        "feature maps resized to the nearest",
        "decode_head.concatenated",
        change_function(_head, "resize_bilinear", _nearest),
    ),
    Fault(
        "stale batch-norm mean",
        "decode_head.batch_norm",
        # As the moving average stood one step of momentum 0.9 earlier, from its start at 0.
        change_weights("decode_head/batch_norm/moving_mean", lambda mean: 0.9 * mean),
    ),
    Fault(
        "stale batch-norm variance",
        "decode_head.batch_norm",
        change_weights("decode_head/batch_norm/moving_variance", lambda v: 0.9 * v + 0.1),
    ),
    Fault(
        "batch-norm epsilon 1e-3",  # Keras' default
        "decode_head.batch_norm",
        change_attribute(lambda model: [_head(model).batch_norm], "epsilon", 1e-3),
    ),
    Fault(
        "ReLU forgotten",
        "decode_head.activation",
        change_function(_head, "tf.nn.relu", lambda f: lambda x: x),
    ),
    Fault(
        "two classes exchanged",
        "decode_head.classifier",
        change_weights("decode_head/classifier/kernel", lambda w: w[..., [1, 0, *range(2, w.shape[-1])]]),
    ),
)
HANDING_OVER = (
    Fault("decoded one level too bright at one pixel", "decoded", spoil=_brightened),
    Fault("a NaN", f"{_BLOCK}.mlp.dense2", spoil=_not_a_number(f"{TAP_PREFIX}{_BLOCK}.mlp.dense2")),
    Fault("a tap dropped", f"{_ATTENTION}.value", spoil=_dropped(f"{TAP_PREFIX}{_ATTENTION}.value")),
    Fault("logits dropped", "logits", spoil=_dropped("logits")),
    Fault("batch shuffled", f"{_EMBEDDING}.proj", spoil=_shuffled),
    Fault("labels reduced twice", "labels/original_size", spoil=_reduced),
)
FAULTS: tuple[Fault, ...] = (*PREPROCESSING, *NETWORK, *HANDING_OVER)
