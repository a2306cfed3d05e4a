"""The signatures of an exported model: what a client sends and what it gets back.

    image_bytes ─► decode, resize ─► normalise ─► network ─► label map at the image's own size ─► PNG
                   (batch)          (image by image, or some small ones at a time)

The network and the preparation of files are traced once, and every signature calls those functions.
Every input and output has the batch as its first dimension, since a server merges requests along it;
string outputs end in ``_bytes``, since its REST interface then sends them as base64.
What each tensor means is said in `serving.documentation`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import tensorflow as tf

from serving.float16_weights import Float16Weights
from serving.graph import Tensors, graph_function
from serving.network import pixel_values_spec, trace_network
from serving.options import ExportOptions
from serving.pictures import Pictures
from serving.segmenter import PER_IMAGE, Segmenter
from tf_segformer.labels import LabelSet
from tf_segformer.preprocessing import ImageProcessing

# Float32 weights of up to so many bytes are constants of the graph: B0's, in whose time it counts that oneDNN
# brings variables into its own layout, and which load quickly either way (docs/decisions/0009).
CONSTANT_BYTES = 32 * 2**20


def trace_signatures(
    model: Any,
    processing: ImageProcessing,
    label_set: LabelSet,
    options: ExportOptions | None = None,
    names: Collection[str] | None = None,
    network: Any = None,
) -> tuple[tf.Module, dict[str, Any]]:
    """Trace the signatures of a segmentation model.

    Args:
        model: a ``TFSegformerForSemanticSegmentation``.
        processing: how its checkpoint wants images prepared.
        label_set: its classes.
        options: what was chosen for the export; None for the defaults.
        names: the signatures to trace; None for all.
        network: what ``fold`` returned; None to fold the model here.

    Returns:
        What ``tf.saved_model.save`` takes: a module that tracks the network's variables and nothing
        else (neither a Keras object nor the network's parts reach the file: each would be made again in
        every program that loads it), and the concrete functions by signature name.

    Raises:
        serving.precision.PrecisionError: a weight does not fit the chosen float16.
    """
    options = options or ExportOptions()
    folded = fold(model, options) if network is None else network
    module = tf.Module()
    module.weights = folded.variables
    if options.weights == "float16":
        module.stored = Float16Weights(folded)
    bytes_spec = tf.TensorSpec([None], tf.string, name="image_bytes")
    pixels_spec = tf.TensorSpec([None, None, None, 3], tf.uint8, name="pixels")
    values_spec = pixel_values_spec(model.config.num_channels)
    traced = trace_network(folded, model.config.num_channels)
    segmenter = Segmenter(traced.logits, model.config, processing, options)
    pictures = Pictures(segmenter, label_set)

    def serving_default(image_bytes: tf.Tensor) -> Tensors:
        images = segmenter.images(image_bytes)
        return {**pictures.masks(images), **_per_image(images)}

    def segment_with_confidence(image_bytes: tf.Tensor) -> Tensors:
        images = segmenter.images(image_bytes)
        return {**pictures.confidence(images), **_per_image(images)}

    def overlay(image_bytes: tf.Tensor) -> Tensors:
        images = segmenter.images(image_bytes, keep_decoded=True)
        return {**pictures.overlays(images), **_per_image(images)}

    def logits_from_bytes(image_bytes: tf.Tensor) -> Tensors:
        images = segmenter.images(image_bytes)
        return {**segmenter.padded_logits(images), **_per_image(images)}

    def segment_pixels(pixels: tf.Tensor) -> Tensors:
        logits = segmenter.pixel_logits(pixels)
        height, width = tf.shape(pixels)[1], tf.shape(pixels)[2]
        return {"labels": pictures.label_maps(logits, height, width)}

    def logits(pixel_values: tf.Tensor) -> Tensors:
        return traced.logits(pixel_values)

    def features(pixel_values: tf.Tensor) -> Tensors:
        return traced.features(pixel_values)

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
        if names is None or signature.__name__ in names
    }


def fold(model: Any, options: ExportOptions) -> Any:
    """Return a model's network for inference in an export's precision."""
    is_small = 4 * model.count_params() <= CONSTANT_BYTES
    return model.fold_for_inference(
        None if options.precision == "float32" else options.precision,
        constants=is_small and options.weights != "float16",
    )


def input_spec(signature: Any) -> tf.TensorSpec:
    """Return the one input, with its name, of a function that ``trace_signatures`` returned."""
    (spec,), _ = signature.structured_input_signature
    return spec


def _per_image(images: Tensors) -> Tensors:
    return {name: images[name] for name in PER_IMAGE}
