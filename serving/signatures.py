"""The signatures of an exported model: what a client sends and what it gets back.

    image_bytes ─► decode, resize, normalise ─► network ─► label map at the image's own size ─► PNG
                   (image by image)             (batch)    (image by image)

The network and the preparation of files are traced once, and every signature calls those functions.
Every input and output has the batch as its first dimension, since a server merges requests along it;
string outputs end in ``_bytes``, since its REST interface then sends them as base64.

Axes: N batch, H W an image's own height and width, h w those of the logits, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from serving.graph import Tensors, graph_function
from serving.images import prepare_files, prepare_pixels
from serving.network import pixel_values_spec, trace_network
from serving.pictures import Pictures
from tf_segformer.labels import LabelSet
from tf_segformer.preprocessing import ImageProcessing

PER_IMAGE = ("height", "width", "status_bytes")  # outputs of every signature that takes image files


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
    bytes_spec = tf.TensorSpec([None], tf.string, name="image_bytes")
    pixels_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")
    values_spec = pixel_values_spec(model)
    network = trace_network(model)
    pictures = Pictures(label_set)
    prepare = graph_function(lambda image_bytes: prepare_files(image_bytes, processing), bytes_spec)

    def segment_files(image_bytes: tf.Tensor) -> tuple[tf.Tensor, Tensors, Tensors]:
        """The logits, what ``pictures`` needs, and the outputs that say how each file fared."""
        images = prepare(image_bytes)
        logits = network(images["pixel_values"])["logits"]
        needed = {name: images[name] for name in ("readable", "height", "width")}
        return logits, needed, {name: images[name] for name in PER_IMAGE}

    def serving_default(image_bytes: tf.Tensor) -> Tensors:
        logits, images, outputs = segment_files(image_bytes)
        return {**pictures.masks(logits, images), **outputs}

    def segment_with_confidence(image_bytes: tf.Tensor) -> Tensors:
        logits, images, outputs = segment_files(image_bytes)
        return {**pictures.confidence(logits, images), **outputs}

    def overlay(image_bytes: tf.Tensor) -> Tensors:
        logits, images, outputs = segment_files(image_bytes)
        return {**pictures.overlays(logits, images, image_bytes), **outputs}

    def logits_from_bytes(image_bytes: tf.Tensor) -> Tensors:
        logits, images, outputs = segment_files(image_bytes)
        readable = images["readable"][:, tf.newaxis, tf.newaxis, tf.newaxis]
        return {"logits": tf.where(readable, logits, 0.0), **outputs}

    def segment_pixels(pixels: tf.Tensor) -> Tensors:
        logits = network(prepare_pixels(pixels, processing))["logits"]
        height, width = tf.shape(pixels)[1], tf.shape(pixels)[2]
        return {"labels": pictures.label_maps(logits, height, width)}

    def logits(pixel_values: tf.Tensor) -> Tensors:
        return {"logits": network(pixel_values)["logits"]}

    def features(pixel_values: tf.Tensor) -> Tensors:
        outputs = network(pixel_values)
        return {name: tensor for name, tensor in outputs.items() if name != "logits"}

    signatures: dict[Callable[[tf.Tensor], Tensors], tf.TensorSpec] = {
        serving_default: bytes_spec,
        segment_with_confidence: bytes_spec,
        overlay: bytes_spec,
        segment_pixels: pixels_spec,
        logits_from_bytes: bytes_spec,
        logits: values_spec,
        features: values_spec,
    }
    return module, {
        signature.__name__: graph_function(signature, spec).get_concrete_function()
        for signature, spec in signatures.items()
    }


def input_spec(signature: Any) -> tf.TensorSpec:
    """Return the one input, with its name, of a function that ``trace_signatures`` returned."""
    (spec,), _ = signature.structured_input_signature
    return spec
