"""The signatures of an exported model: what a client sends and what it gets back.

    image_bytes ─► decode, resize, normalise ─► network ─► label map at the image's own size ─► PNG
                   (image by image)             (batch)    (image by image)

The network and each step around it is traced once, and every signature calls those functions. Every
input and output has the batch as its first dimension, since a server merges requests along it; string
outputs end in ``_bytes``, since its REST interface then sends them as base64.

Axes: N batch, H W an image's own height and width, h w those of the logits, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from serving.network import Tensors, pixel_values_spec, trace_network
from tf_segformer.labels import LabelSet
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

MAX_LABELS_OF_8_BITS = 255  # ids 0 to 254: 255 stays free, it means "ignore" in label maps


def trace_signatures(
    model: Any, processing: ImageProcessing, label_set: LabelSet
) -> tuple[tf.Module, dict[str, Any]]:
    """Trace every signature of a segmentation model.

    Args:
        model: a ``TFSegformerForSemanticSegmentation`` made with ``data_format="channels_last"``.
        processing: how its checkpoint wants images prepared.
        label_set: its classes.

    Returns:
        What ``tf.saved_model.save`` takes: a module that tracks the model's variables and nothing
        else (no Keras object reaches the file), and the concrete functions by signature name.
    """
    module = tf.Module()
    module.model_variables = {weight.path: weight.value for weight in model.weights}
    network = trace_network(model)
    prepare = _prepare(processing)
    png_masks = _png_masks(len(label_set))
    pixels_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")

    def serving_default(image_bytes: tf.Tensor) -> Tensors:
        images = prepare(image_bytes)
        logits = network(images["pixel_values"])["logits"]
        size = {"height": images["height"], "width": images["width"]}
        masks = png_masks(logits, images["height"], images["width"])
        return {"mask_png_bytes": masks, **size}

    def segment_pixels(pixels: tf.Tensor) -> Tensors:
        logits = network(_prepare_pixels(pixels, processing))["logits"]
        height, width = tf.shape(pixels)[1], tf.shape(pixels)[2]
        labels = tf.map_fn(
            lambda image: label_map(image, height, width),
            logits,
            fn_output_signature=tf.TensorSpec([None, None], tf.int32),
        )
        return {"labels": labels}

    def logits_from_bytes(image_bytes: tf.Tensor) -> Tensors:
        images = prepare(image_bytes)
        size = {"height": images["height"], "width": images["width"]}
        return {"logits": network(images["pixel_values"])["logits"], **size}

    def logits(pixel_values: tf.Tensor) -> Tensors:
        return {"logits": network(pixel_values)["logits"]}

    def features(pixel_values: tf.Tensor) -> Tensors:
        outputs = network(pixel_values)
        return {name: tensor for name, tensor in outputs.items() if name != "logits"}

    bytes_spec = tf.TensorSpec([None], tf.string, name="image_bytes")
    values_spec = pixel_values_spec(model)
    signatures: dict[str, tuple[Callable[[tf.Tensor], Tensors], tf.TensorSpec]] = {
        "serving_default": (serving_default, bytes_spec),
        "segment_pixels": (segment_pixels, pixels_spec),
        "logits_from_bytes": (logits_from_bytes, bytes_spec),
        "logits": (logits, values_spec),
        "features": (features, values_spec),
    }
    return module, {
        name: _function(python_function, spec).get_concrete_function()
        for name, (python_function, spec) in signatures.items()
    }


def input_spec(signature: Any) -> tf.TensorSpec:
    """Return the one input, with its name, of a function that ``trace_signatures`` returned."""
    (spec,), _ = signature.structured_input_signature
    return spec


def _function(python_function: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    """Make a graph function that traces once, for these tensors of any size."""
    # jit_compile=False: a server has XLA switched off. autograph: nothing here needs its rewriting.
    return tf.function(python_function, input_signature=specs, autograph=False, jit_compile=False)


def _prepare(processing: ImageProcessing) -> Any:
    """Image files [N] to pixel values [N, H, W, C], and each image's own size, int32 [N]."""

    def prepare_one(image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        pixels = decode_image(image_bytes)
        return preprocess(pixels, processing), tf.shape(pixels)[0], tf.shape(pixels)[1]

    def prepare(image_bytes: tf.Tensor) -> Tensors:
        specs = (_processed_spec(processing), _INT, _INT)
        values, height, width = tf.map_fn(prepare_one, image_bytes, fn_output_signature=specs)
        return {"pixel_values": values, "height": height, "width": width}

    return _function(prepare, tf.TensorSpec([None], tf.string, name="image_bytes"))


def _prepare_pixels(pixels: tf.Tensor, processing: ImageProcessing) -> tf.Tensor:
    return tf.map_fn(
        lambda image: preprocess(image, processing),
        pixels,
        fn_output_signature=_processed_spec(processing),
    )


def _png_masks(classes: int) -> Any:
    """Logits [N, h, w, K] and the images' sizes, int32 [N], to one gray PNG of label ids each."""
    dtype = tf.uint8 if classes <= MAX_LABELS_OF_8_BITS else tf.uint16

    def png_mask(item: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        labels = tf.cast(label_map(*item), dtype)
        return tf.io.encode_png(labels[:, :, tf.newaxis])

    def png_masks(logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        items = (logits, height, width)
        return tf.map_fn(png_mask, items, fn_output_signature=tf.TensorSpec([], tf.string))

    sizes = tf.TensorSpec([None], tf.int32)
    return _function(png_masks, tf.TensorSpec([None, None, None, classes]), sizes, sizes)


_INT = tf.TensorSpec([], tf.int32)


def _processed_spec(processing: ImageProcessing) -> tf.TensorSpec:
    return tf.TensorSpec([processing.height, processing.width, 3], tf.float32)
