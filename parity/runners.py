"""The adapters: each runs one framework and saves what it produced.

Only this module touches the frameworks, and only inside its functions, so that comparing saved
results needs neither of them. A runner states which levels it can give; asking for more is an
error, not a skipped check.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.circumstances import library_versions, machine, peak_memory_bytes
from parity.compare import LANE_LEVELS
from parity.results import (
    TAP_PREFIX,
    Manifest,
    Result,
    save_result,
    sha256_of,
    weight_files,
)
from parity.taps import expected_taps

Say = Callable[[str], None]


class HarnessError(RuntimeError):
    """The comparison could not be made: nothing is known about equality."""


@dataclass(frozen=True)
class Request:
    """What a runner is asked to compute.

    Attributes:
        model: checkpoint folder or hub id.
        image: image file.
        dtype: ``float32`` or ``float64``.
        levels: levels to produce, a subset of the lane's.
        size: height and width of the preprocessed image; None for the checkpoint's own.
        saved_model: version directory of an export, for the ``saved_model`` runner.
    """

    model: str
    image: Path
    dtype: str
    levels: tuple[str, ...]
    size: int | None = None
    saved_model: Path | None = None


def run_reference(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the PyTorch reference; its preprocessed pixels become everyone's input.

    Args:
        request: what to compute.
        output: folder for the result.
        given: unused; the reference makes its own input.
        say: told about each step.
    """
    say(f"loading PyTorch and the reference, {request.dtype}")
    from torch_ref import Reference

    reference = Reference.from_pretrained(request.model, dtype=request.dtype)
    pixels, size = _reference_pixels(reference, request)
    say(f"reference forward pass, {request.dtype}")
    started = time.perf_counter()
    outputs = reference.forward(pixels, with_taps="taps" in request.levels, with_attentions=False)
    seconds = time.perf_counter() - started
    arrays = {"pixels": _channels_last(pixels)}
    if "taps" in request.levels:
        arrays |= {TAP_PREFIX + name: value for name, value in outputs.taps.items()}
        outputs.taps.clear()
    arrays["logits"] = _channels_last(outputs.logits)
    if "labels/logit_size" in request.levels:
        arrays["labels/logit_size"] = np.argmax(outputs.logits, axis=1).astype(np.int32)
    if "labels/original_size" in request.levels:
        say("reference label map at the photograph's size")
        labels = np.asarray(reference.label_map(outputs.logits, size)).astype(np.int32)
        arrays["labels/original_size"] = labels.reshape(-1, *size)
    manifest = _manifest("torch_ref", request, seconds, arrays["pixels"], size)
    manifest = replace(manifest, expected_taps=tuple(expected_taps(reference.config)))
    return save_result(output, manifest, arrays)


def run_keras(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the Keras model in a ``tf.function``, on the reference's pixels.

    The logits come from a graph without taps, as users run it; the taps from a second one, because
    an intermediate that is fetched cannot be fused away.

    Args:
        request: what to compute.
        output: folder for the result.
        given: the reference's result, whose ``pixels`` are the input.
        say: told about each step.
    """
    given = _need(given)
    say(f"loading TensorFlow and the Keras model, {request.dtype}")
    import tensorflow as tf

    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.taps import record_taps

    model = TFSegformerForSemanticSegmentation.from_pretrained(
        request.model, dtype=request.dtype, data_format="channels_last"
    )
    input_pixels = given.arrays["pixels"]
    x = tf.constant(input_pixels.astype(request.dtype))

    @tf.function
    def forward(pixel_values: tf.Tensor) -> tf.Tensor:
        return model(pixel_values).logits

    @tf.function
    def forward_with_taps(pixel_values: tf.Tensor) -> dict[str, tf.Tensor]:
        with record_taps(model) as taps:
            model(pixel_values)
        return dict(taps)

    say(f"Keras forward pass, {request.dtype}")
    forward.get_concrete_function(x)
    started = time.perf_counter()
    logits = forward(x).numpy()
    seconds = time.perf_counter() - started
    arrays: dict[str, Any] = {}
    size = given.manifest.image_size
    if "pixels" in request.levels:
        arrays["pixels"] = _keras_pixels(request)
    if "taps" in request.levels:
        say(f"Keras forward pass with taps, {request.dtype}")
        # Tensors: saving turns them into arrays one at a time.
        arrays |= {TAP_PREFIX + name: value for name, value in forward_with_taps(x).items()}
    arrays["logits"] = logits
    if "labels/logit_size" in request.levels:
        arrays["labels/logit_size"] = tf.argmax(logits, axis=-1, output_type=tf.int32).numpy()
    if "labels/original_size" in request.levels:
        from tf_segformer.postprocessing import label_map

        say("Keras label map at the photograph's size")
        labels = tf.function(label_map)(tf.constant(logits[0]), *map(tf.constant, size))
        arrays["labels/original_size"] = labels.numpy()[None]
    manifest = _manifest("tf_segformer", request, seconds, input_pixels, size)
    manifest = replace(manifest, expected_taps=tuple(expected_taps(model.config)))
    return save_result(output, manifest, arrays)


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
    given = _need(given)
    if not given.tap_names:
        raise HarnessError("a replay needs the reference's taps: record them with --levels taps")
    say(f"loading TensorFlow and the Keras model, {request.dtype}")
    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.taps import record_taps

    model = TFSegformerForSemanticSegmentation.from_pretrained(
        request.model, dtype=request.dtype, data_format="channels_last"
    )
    say(f"Keras layers one by one, {request.dtype}")
    started = time.perf_counter()
    with record_taps(model, given=given.taps) as taps:
        model(given.arrays["pixels"].astype(request.dtype))
    seconds = time.perf_counter() - started
    arrays: dict[str, Any] = {TAP_PREFIX + name: taps.pop(name) for name in list(taps)}
    size = given.manifest.image_size
    manifest = _manifest("tf_segformer/replay", request, seconds, given.arrays["pixels"], size)
    manifest = replace(manifest, expected_taps=tuple(expected_taps(model.config)))
    return save_result(output, manifest, arrays)


def run_saved_model(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run an export as TensorFlow Serving does: in a TF1 Session, without eager mode.

    Its logits are computed from the reference's pixels; its label map comes from the image file's
    bytes, decoded and prepared inside the graph.

    Args:
        request: what to compute; `saved_model` is the version directory.
        output: folder for the result.
        given: the reference's result.
        say: told about each step.

    Raises:
        HarnessError: the export has no signature for a required level.
    """
    given = _need(given)
    if request.saved_model is None:
        raise HarnessError("the saved_model runner needs --saved-model, a version directory")
    say("loading the SavedModel in a Session")
    from serving.session_check import ServedModel

    wanted = {"logits": "logits", "labels/original_size": "serving_default"}
    with ServedModel(request.saved_model) as served:
        for level in request.levels:
            if wanted.get(level) not in served.signatures:
                raise HarnessError(
                    f"the export {request.saved_model} cannot give {level}; its signatures are "
                    f"{', '.join(sorted(served.signatures))}: leave the level out with --levels"
                )
        pixels = given.arrays["pixels"]
        arrays: dict[str, Any] = {}
        started = time.perf_counter()
        if "logits" in request.levels:
            say("SavedModel: logits of the reference's pixels")
            (arrays["logits"],) = served.run("logits", {"pixel_values": pixels}).values()
        if "labels/original_size" in request.levels:
            say("SavedModel: image bytes to label map")
            images = np.array([request.image.read_bytes()], dtype=object)
            answer = served.run("serving_default", {"image_bytes": images})
            arrays["labels/original_size"] = mask_labels(answer, request.image.name)[None]
        seconds = time.perf_counter() - started
    size = given.manifest.image_size
    manifest = replace(
        _manifest("saved_model", request, seconds, pixels, size),
        checkpoint="/".join(request.saved_model.resolve().parts[-2:]),
        checkpoint_sha256="",
    )
    return save_result(output, manifest, arrays)


RUNNERS: dict[str, Callable[[Request, Path, Result | None, Say], Result]] = {
    "torch_ref": run_reference,
    "tf_segformer": run_keras,
    "tf_segformer/replay": run_keras_replay,
    "saved_model": run_saved_model,
}


def _need(given: Result | None) -> Result:
    if given is None or "pixels" not in given.arrays:
        raise HarnessError("this runner needs the reference's result, for its pixels: give it first")
    return given


def _reference_pixels(reference: Any, request: Request) -> tuple[np.ndarray, tuple[int, int]]:
    """Preprocess with the reference's own processor: float32 (1, 3, H, W), and the photo's size."""
    from torch_ref import decode_image

    picture = decode_image(request.image)
    if request.size is None:
        pixels = reference.preprocess(picture)
    else:
        size = {"height": request.size, "width": request.size}
        processed = reference.processor(images=picture, size=size, return_tensors="np")
        pixels = processed["pixel_values"].astype(np.float32, copy=False)
    return pixels, (picture.height, picture.width)


def _keras_pixels(request: Request) -> np.ndarray:
    """Preprocess with the port's in-graph code: float32 (1, H, W, 3)."""
    import tensorflow as tf

    from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

    processing = ImageProcessing.from_pretrained(request.model)
    if request.size is not None:
        processing = replace(processing, height=request.size, width=request.size)

    @tf.function
    def pixels_of(image_bytes: tf.Tensor) -> tf.Tensor:
        return preprocess(decode_image(image_bytes), processing)

    return pixels_of(tf.constant(request.image.read_bytes())).numpy()[None]


def mask_labels(answer: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Return the label map [height, width] of one image in an export's answer.

    Raises:
        HarnessError: the export refused the image.
    """
    from PIL import Image

    status = answer["status_bytes"][0] if "status_bytes" in answer else b"ok"
    if status != b"ok":
        raise HarnessError(f"the export refused {name}: {status.decode()}")
    with Image.open(io.BytesIO(answer["mask_png_bytes"][0])) as image:
        return np.asarray(image).astype(np.int32)


def _manifest(
    runner: str, request: Request, seconds: float, pixels: np.ndarray, size: tuple[int, int]
) -> Manifest:
    return Manifest(
        runner=runner,
        dtype=request.dtype,
        checkpoint=Path(request.model).name,
        checkpoint_sha256=sha256_of(files) if (files := weight_files(Path(request.model))) else "",
        input_sha256=sha256_of([pixels]),
        image_sha256=sha256_of([request.image]),
        image_size=size,
        versions=library_versions(),
        machine=machine(),
        seconds=round(seconds, 4),
        peak_memory_bytes=peak_memory_bytes(),
    )


def _channels_last(array: np.ndarray) -> np.ndarray:
    """(B, C, H, W) → (B, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def check_levels(dtype: str, levels: tuple[str, ...]) -> None:
    """Refuse levels that a lane does not have.

    Raises:
        HarnessError: naming the level and those that exist.
    """
    for level in levels:
        if level not in LANE_LEVELS[dtype]:
            raise HarnessError(
                f"the {dtype} lane has no level {level}; it has {', '.join(LANE_LEVELS[dtype])}"
            )
