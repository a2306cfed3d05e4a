"""The PyTorch reference as a runner. PyTorch is imported inside functions only."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.gradients import GRADIENT_SIZE, seeded_batch
from parity.result_writer import ResultWriter
from parity.results import GRADIENT_PREFIX, TAP_PREFIX, Result
from parity.running import Request, Say, manifest_of
from parity.taps import expected_taps


def run_reference(request: Request, output: Path, given: Result | None, say: Say) -> Result:
    """Run the PyTorch reference; its preprocessed pixels become everyone's input.

    Args:
        request: what to compute.
        output: folder for the result.
        given: unused; the reference makes its own input.
        say: told about each step.
    """
    say(f"loading PyTorch and the reference, {request.dtype}")
    from torch_ref import Reference, decode_image

    reference = Reference.from_pretrained(request.model, dtype=request.dtype)
    picture = decode_image(request.image)
    pixels, size = _pixels(reference, request, picture), (picture.height, picture.width)
    task = "segmentation" if hasattr(reference.model, "decode_head") else "classification"
    input_pixels = _channels_last(pixels)
    writer = ResultWriter(output)
    if "decoded" in request.levels:
        writer.add("decoded", np.asarray(picture, np.uint8)[None])
    writer.add("pixels", input_pixels)

    def take(name: str, value: np.ndarray) -> None:
        writer.add(TAP_PREFIX + name, value)

    say(f"reference forward pass, {request.dtype}")
    started = time.perf_counter()
    sink = take if "taps" in request.levels else None
    logits = reference.forward(pixels, with_attentions=False, tap_sink=sink).logits
    seconds = time.perf_counter() - started
    if task == "classification":
        logits = logits[:, :, None, None]  # (B, K, 1, 1): a map of one pixel
    writer.add("logits", _channels_last(logits))
    if "labels/logit_size" in request.levels:
        writer.add("labels/logit_size", np.argmax(logits, axis=1).astype(np.int32))
    if "labels/original_size" in request.levels and task == "segmentation":
        say("reference label map at the photograph's size")
        labels = np.asarray(reference.label_map(logits, size)).astype(np.int32)
        writer.add("labels/original_size", labels.reshape(-1, *size))
    parameters: tuple[str, ...] = ()
    if "gradients" in request.levels:
        say(f"reference training step, {request.dtype}")
        parameters = _training_step(reference, writer)
    manifest = manifest_of("torch_ref", request, seconds, input_pixels, size)
    taps = tuple(expected_taps(reference.config, task))
    return writer.finish(replace(manifest, task=task, expected_taps=taps, expected_gradients=parameters))


def _training_step(reference: Any, writer: ResultWriter) -> tuple[str, ...]:
    """Add one step on a seeded batch, and return the parameters that must have a gradient: all."""
    from torch_ref import published_keys
    from torch_ref.training import training_step

    pixels, labels = seeded_batch(reference.config, GRADIENT_SIZE)
    step = training_step(reference, pixels, labels)
    writer.add("training/pixels", pixels)
    writer.add("training/labels", labels)
    writer.add("loss", np.array([step.loss]))
    for key in list(step.gradients):
        writer.add(GRADIENT_PREFIX + key, step.gradients.pop(key))
    keys = published_keys(reference.model)
    return tuple(keys[name] for name, each in reference.model.named_parameters() if each.requires_grad)


def _pixels(reference: Any, request: Request, picture: Any) -> np.ndarray:
    """Preprocess with the reference's own processor: float32 (1, 3, H, W)."""
    if request.size is None:
        pixels = reference.preprocess(picture)
    else:
        size = {"height": request.size, "width": request.size}
        processed = reference.processor(images=picture, size=size, return_tensors="np")
        pixels = processed["pixel_values"].astype(np.float32, copy=False)
    return pixels


def _channels_last(array: np.ndarray) -> np.ndarray:
    """(B, C, H, W) → (B, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))
