"""From a checkpoint to a published version directory, checked in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from serving import manifest
from serving.layout import existing_ancestor, unfinished_version
from serving.options import ExportOptions
from serving.precision import LowPrecisionModel, allowance, describe_precision, summary
from serving.signatures import fold, input_spec, trace_signatures
from serving.verification import check_in_fresh_process, example_values, expected_answers
from serving.warmup import WARMUP_FILE, batching_parameters, warmup_requests, write_warmup_records
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.labels import LabelSet, label_set_for
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.segmentation import load_image_processing

BATCH_SIZES = (1, 2, 4, 8)
GRAPH_BYTES = 6 << 20  # what a SavedModel may weigh beyond its weights
BATCHING_FILE = "batching_parameters.txt"


class ExportError(RuntimeError):
    """The model cannot be exported; the message says why and what to do."""


def export_saved_model(
    model_folder: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    version: int | None = None,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    options: ExportOptions | None = None,
    parity_report: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Path:
    """Export a segmentation checkpoint as a version that TensorFlow Serving can serve.

    The version is written under a name no server looks at, loaded in a fresh process that imports
    only TensorFlow, compared there with the Keras model, and then published by one rename.

    Args:
        model_folder: checkpoint folder or Hugging Face Hub id.
        destination: ``models/NAME``; the version becomes a folder in it.
        version: its number; None takes the next free one.
        batch_sizes: those the server will run: the warm-up records and batching parameters list them.
        options: what is fixed in the graph: resizing, orientation, limits; None for the defaults.
        parity_report: the result of a parity run, kept in the manifest.
        progress: called with a short text before each step.

    Returns:
        The version directory, ``models/NAME/VERSION``.

    Raises:
        tf_segformer.checkpoints.CheckpointError: the model cannot be found or read.
        serving.layout.LayoutError: the version exists, or the destination cannot be written.
        serving.verification.CheckFailedError: the written version failed its check.
        ExportError: the model cannot be exported so, or there is no space.
        serving.precision.PrecisionError: the checkpoint does not fit the chosen precision or weights.
    """
    destination = Path(destination)
    options = options or ExportOptions()
    batch_sizes = sorted(set(batch_sizes))
    if not batch_sizes or batch_sizes[0] < 1:
        raise ExportError(f"batch sizes {batch_sizes}: give one or more numbers from 1 up.")
    with unfinished_version(destination, version) as unfinished, _explain_full_disk(destination):
        progress("Loading the checkpoint")
        model = TFSegformerForSemanticSegmentation.from_pretrained(
            model_folder, data_format="channels_last", name="model"
        )
        processing = read_processing(model_folder)
        label_set = read_labels(model)
        check_options(options, processing)
        _require_space(destination, model)

        progress("Tracing the signatures")
        network = fold(model, options)
        module, signatures = trace_signatures(model, processing, label_set, options, network=network)
        progress("Writing the SavedModel")
        save_options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(unfinished.path), signatures, save_options)
        extra = unfinished.path / "assets.extra"
        extra.mkdir()
        manifest.write_json(extra / "labels.json", manifest.describe_labels(label_set))
        manifest.copy_licence(model_folder, extra)
        (extra / BATCHING_FILE).write_text(batching_parameters(batch_sizes))
        requests = warmup_requests(signatures, processing, batch_sizes)
        write_warmup_records(extra / WARMUP_FILE, destination.name, requests)

        answering: Any = model
        precision = None
        if options.rounding:
            progress(f"Comparing {options.rounding} with float32")
            answering = LowPrecisionModel(network)
            precision = describe_precision(model, answering, processing, options)
            progress(summary(precision))

        progress("Checking the SavedModel in a fresh process")
        inputs = {
            name: {input_spec(signature).name: example_values(input_spec(signature).dtype)}
            for name, signature in signatures.items()
        }
        expected = expected_answers(answering, processing, label_set, options)
        report = check_in_fresh_process(unfinished.path, inputs, expected, allowance(precision))
        content = {
            "checkpoint": manifest.describe_checkpoint(model_folder),
            "packages": manifest.describe_packages(),
            "preprocessing": processing.to_dict(),
            "options": options.to_dict(),
            "precision": precision,
            "label_set": label_set.name,
            "batch_sizes": batch_sizes,
            "signatures": report["signatures"],
            "graph": {key: report[key] for key in ("producer", "min_consumer", "nodes")},
            "check": {key: report[key] for key in ("tensorflow", "compared")},
            "parity": parity_report,
        }
        manifest.write_json(extra / "manifest.json", content)
        progress("Publishing")
        return unfinished.publish()


def read_processing(model_folder: str | os.PathLike[str]) -> ImageProcessing:
    """Return the preprocessing of a checkpoint folder or Hub id.

    Raises:
        ExportError: there is no usable preprocessor config.
    """
    try:
        return load_image_processing(model_folder)
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from error


def check_options(options: ExportOptions, processing: ImageProcessing) -> None:
    """Raise ExportError if the options do not fit the checkpoint's preprocessing."""
    try:
        options.resizing.completed(processing)
    except ValueError as error:
        raise ExportError(f"resizing: {error}") from error


def read_labels(model: Any) -> LabelSet:
    """Return the model's classes.

    Raises:
        ExportError: the model's config numbers them with gaps, or the model takes no RGB images.
    """
    if model.config.num_channels != 3:
        raise ExportError(
            f"the model takes {model.config.num_channels} channels; image files have 3. Only RGB models can "
            "be exported for serving from image files."
        )
    try:
        return label_set_for(model.config)
    except ValueError as error:
        raise ExportError(str(error)) from error


def _require_space(destination: Path, model: Any) -> None:
    weights = sum(weight.value.shape.num_elements() * weight.value.dtype.size for weight in model.weights)
    free = shutil.disk_usage(existing_ancestor(destination)).free
    if free < weights + GRAPH_BYTES:
        raise ExportError(
            f"{destination}: {free >> 20} MB are free and {weights + GRAPH_BYTES >> 20} MB are needed. "
            "Free some space, or choose a destination on another disk."
        )


@contextlib.contextmanager
def _explain_full_disk(destination: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if not full and "No space left" not in str(error) and "File too large" not in str(error):
            raise
        raise ExportError(
            f"{destination}: the disk is full or a limit on file sizes was met ({error}); nothing was "
            "published. Free some space, or choose a destination on another disk."
        ) from error
