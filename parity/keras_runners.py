"""The Keras model as runners: in a graph, eagerly, folded for inference, and layer by layer.

TensorFlow is imported inside functions only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.gradients import NO_RANDOM_DRAWS, training_step
from parity.result_writer import ResultWriter
from parity.results import GRADIENT_PREFIX, TAP_PREFIX, Result
from parity.running import HarnessError, Request, Say, manifest_of, need
from parity.taps import expected_taps, stage_taps


def run_keras(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the Keras model in a ``tf.function``, on the reference's pixels.

    The logits come from a graph without taps, as users run it. The taps come from a second pass without a
    graph: an intermediate that is fetched cannot be fused away, and an operation that is run by itself hands
    over its result at once, so that never all are in memory. What only the graph's optimiser does wrong thus
    shows as wrong logits behind right taps.

    Args:
        request: what to compute.
        output: folder for the result.
        given: the reference's result, whose ``pixels`` are the input.
        say: told about each step.
    """
    import tensorflow as tf

    from tf_segformer.taps import record_taps

    given = need(given)
    writer = ResultWriter(output)
    if request.levels == ("gradients",):
        return _finish("tf_segformer", request, given, writer, None, 0.0, (), say)
    model = _load(request, given, say)
    x = tf.constant(given.arrays["pixels"].astype(request.dtype))

    @tf.function
    def forward(pixel_values: tf.Tensor) -> tf.Tensor:
        return model(pixel_values).logits

    say(f"Keras forward pass, {request.dtype}")
    forward.get_concrete_function(x)
    started = time.perf_counter()
    logits = forward(x).numpy()
    seconds = time.perf_counter() - started
    if "taps" in request.levels:
        say(f"Keras forward pass with taps, {request.dtype}")
        with record_taps(model, sink=_taker(writer)):
            model(x)
    taps = tuple(expected_taps(model.config, given.manifest.task))
    return _finish("tf_segformer", request, given, writer, logits, seconds, taps, say)


def run_keras_eagerly(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the Keras model operation by operation, without a graph, on the reference's pixels.

    Args:
        request: what to compute.
        output: folder for the result.
        given: the reference's result, whose ``pixels`` are the input.
        say: told about each step.
    """
    from tf_segformer.taps import record_taps

    given = need(given)
    model = _load(request, given, say)
    pixels = given.arrays["pixels"].astype(request.dtype)
    writer = ResultWriter(output)
    say(f"Keras forward pass, eagerly, {request.dtype}")
    started = time.perf_counter()
    with record_taps(model, sink=_taker(writer)) if "taps" in request.levels else nullcontext():
        logits = model(pixels).logits.numpy()
    seconds = time.perf_counter() - started
    names = tuple(expected_taps(model.config, given.manifest.task))
    return _finish("tf_segformer/eager", request, given, writer, logits, seconds, names, say)


def run_keras_folded(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the network that exports hold, in a ``tf.function``, on the reference's pixels.

    Its decode head is folded into one product and its layers have other forms, so that what remains to
    be seen of it are the stages' feature maps and the logits.

    Args:
        request: what to compute.
        output: folder for the result.
        given: the reference's result, whose ``pixels`` are the input.
        say: told about each step.
    """
    import tensorflow as tf

    given = need(given)
    if given.manifest.task == "classification":
        raise HarnessError("an image classifier has no decode head to fold: leave tf_segformer/folded out")
    model = _load(request, given, say)
    network = model.fold_for_inference()
    x = tf.constant(given.arrays["pixels"].astype(request.dtype))
    writer = ResultWriter(output)
    say(f"folded network, {request.dtype}")
    forward: Callable[[tf.Tensor], Any] = tf.function(network)
    started = time.perf_counter()
    logits, features = forward(x)
    seconds = time.perf_counter() - started
    names = stage_taps(expected_taps(model.config))
    if "taps" in request.levels:
        for name, feature in zip(names, features, strict=True):
            writer.add(TAP_PREFIX + name, feature)
    return _finish("tf_segformer/folded", request, given, writer, logits.numpy(), seconds, names, say)


def run_keras_replay(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run each layer of the Keras model alone, on what the reference gave to it.

    Eagerly, tap by tap: within a graph the reference's taps would be constants, and those of a B4 are
    larger than a graph may be.

    Args:
        request: what to compute; only taps are.
        output: folder for the result.
        given: the reference's result with taps.
        say: told about each step.
    """
    given = need(given)
    if not given.tap_names:
        raise HarnessError("a replay needs the reference's taps: record them with --levels taps")
    from tf_segformer.taps import record_taps

    model = _load(request, given, say)
    say(f"Keras layers one by one, {request.dtype}")
    started = time.perf_counter()
    writer = ResultWriter(output)
    with record_taps(model, given=given.taps, sink=_taker(writer)):
        model(given.arrays["pixels"].astype(request.dtype))
    seconds = time.perf_counter() - started
    size = given.manifest.image_size
    taps = tuple(expected_taps(model.config, given.manifest.task))
    manifest = manifest_of("tf_segformer/replay", request, seconds, given.arrays["pixels"], size)
    return writer.finish(replace(manifest, task=given.manifest.task, expected_taps=taps))


def _taker(writer: ResultWriter) -> Callable[[str, Any], None]:
    def take(name: str, value: Any) -> None:
        writer.add(TAP_PREFIX + name, value)

    return take


def _load(request: Request, given: Result, say: Say, **options: Any) -> Any:
    say(f"loading TensorFlow and the Keras model, {request.dtype}")
    import tf_segformer

    model_class: Any = tf_segformer.TFSegformerForSemanticSegmentation
    if given.manifest.task == "classification":
        model_class = tf_segformer.TFSegformerForImageClassification
    return model_class.from_pretrained(
        request.model, dtype=request.dtype, data_format="channels_last", **options
    )


def _finish(
    runner: str,
    request: Request,
    given: Result,
    writer: ResultWriter,
    logits: np.ndarray | None,
    seconds: float,
    taps: tuple[str, ...],
    say: Say,
) -> Result:
    """Add what follows from image and logits, and the manifest."""
    import tensorflow as tf

    size = given.manifest.image_size
    _add_pixels(request, writer)
    if logits is not None:
        if given.manifest.task == "classification":
            logits = logits[:, None, None]  # (B, 1, 1, K): a map of one pixel
        writer.add("logits", logits)
        if "labels/logit_size" in request.levels:
            writer.add("labels/logit_size", tf.argmax(logits, axis=-1, output_type=tf.int32))
    wanted = "labels/original_size" in request.levels and given.manifest.task == "segmentation"
    if wanted and logits is not None:
        from tf_segformer.postprocessing import label_map

        say("Keras label map at the photograph's size")
        labels = tf.function(label_map, autograph=False)(tf.constant(logits[0]), *map(tf.constant, size))
        writer.add("labels/original_size", labels.numpy()[None])
    if "gradients" in request.levels:
        say(f"Keras training step, {request.dtype}")
        _add_training_step(request, given, writer, say)
    manifest = manifest_of(runner, request, seconds, given.arrays["pixels"], size)
    return writer.finish(replace(manifest, task=given.manifest.task, expected_taps=taps))


def _add_training_step(request: Request, given: Result, writer: ResultWriter, say: Say) -> None:
    """Add one step on the reference's batch."""
    if "training/pixels" not in given.arrays:
        raise HarnessError("the reference's result has no training step: record it with --levels gradients")
    network = _load(request, given, say, **NO_RANDOM_DRAWS)
    pixels, labels = given.arrays["training/pixels"], given.arrays["training/labels"]
    step = training_step(network, pixels, labels)
    writer.add("loss", np.array([step.loss]))
    for key, gradient in step.gradients.items():
        writer.add(GRADIENT_PREFIX + key, gradient)


def _add_pixels(request: Request, writer: ResultWriter) -> None:
    """Decode and preprocess with the port's in-graph code: uint8 and float32 (1, H, W, 3)."""
    import tensorflow as tf

    names = ("decoded", "pixels")
    if not set(names) & set(request.levels):
        return
    from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

    processing = ImageProcessing.from_pretrained(request.model)
    if request.size is not None:
        processing = replace(processing, height=request.size, width=request.size)

    @tf.function(autograph=False)
    def pixels_of(image_bytes: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        decoded = decode_image(image_bytes)
        return decoded, preprocess(decoded, processing)

    for name, pixels in zip(names, pixels_of(tf.constant(request.image.read_bytes())), strict=True):
        if name in request.levels:
            writer.add(name, pixels.numpy()[None])
