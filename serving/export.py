"""From a checkpoint to a published version directory, checked in a process of its own."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving import manifest, session_check
from serving.layout import existing_ancestor, unfinished_version
from serving.signatures import input_spec, trace_signatures
from serving.warmup import WARMUP_FILE, tensor_proto, write_warmup_records
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.hub import find_file
from tf_segformer.labels import label_set_for
from tf_segformer.preprocessing import ImageProcessing

BATCH_SIZES = (1, 2, 4, 8)
GRAPH_BYTES = 6 << 20  # what a SavedModel may weigh beyond its weights
CHECK_TIMEOUT_SECONDS = 1800
# Float32 noise between eager kernels and the optimised graph is 1e-6 of the largest value; a wrong graph
# is off by more than 1e-2.
CHECK_TOLERANCE = 1e-5
BATCHING_FILE = "batching_parameters.txt"
PROCESSING_FILES = ("processor_config.json", "preprocessor_config.json")


class ExportError(RuntimeError):
    """The model cannot be exported; the message says why and what to do."""


def export_saved_model(
    model_folder: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    version: int | None = None,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
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
        parity_report: the result of a parity run, kept in the manifest.
        progress: called with a short text before each step.

    Returns:
        The version directory, ``models/NAME/VERSION``.

    Raises:
        tf_segformer.checkpoints.CheckpointError: the model cannot be found or read.
        serving.layout.LayoutError: the version exists, or the destination cannot be written.
        ExportError: there is no space, or the check in the fresh process failed.
    """
    destination = Path(destination)
    batch_sizes = sorted(set(batch_sizes))
    if not batch_sizes or batch_sizes[0] < 1:
        raise ExportError(f"batch sizes {batch_sizes}: give one or more numbers from 1 up.")
    with unfinished_version(destination, version) as unfinished, _explain_full_disk(destination):
        progress("Loading the checkpoint")
        model = TFSegformerForSemanticSegmentation.from_pretrained(
            model_folder, data_format="channels_last", name="model"
        )
        processing = read_processing(model_folder)
        label_set = label_set_for(model.config)
        _require_space(destination, model)

        progress("Tracing the signatures")
        module, signatures = trace_signatures(model, processing, label_set)
        progress("Writing the SavedModel")
        options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
        tf.saved_model.save(module, str(unfinished.path), signatures, options)
        extra = unfinished.path / "assets.extra"
        extra.mkdir()
        manifest.write_json(extra / "labels.json", manifest.describe_labels(label_set))
        manifest.copy_licence(model_folder, extra)
        (extra / BATCHING_FILE).write_text(batching_parameters(batch_sizes))
        requests = warmup_requests(signatures, processing, batch_sizes)
        write_warmup_records(extra / WARMUP_FILE, destination.name, requests)

        progress("Checking the SavedModel in a fresh process")
        report = check_in_fresh_process(unfinished.path, *check_case(model, signatures))
        content = {
            "checkpoint": manifest.describe_checkpoint(model_folder),
            "packages": manifest.describe_packages(),
            "preprocessing": processing.to_dict(),
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
        ExportError: there is no usable preprocessor config, or it gives images no fixed size.
    """
    found = [find_file(model_folder, name) for name in PROCESSING_FILES]
    folder = next((path.parent for path in found if path is not None), model_folder)
    try:
        processing = ImageProcessing.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ExportError(str(error)) from error
    if not processing.do_resize or processing.shortest_edge is not None:
        raise ExportError(
            f"{model_folder}: its preprocessing keeps each image's own shape, so images cannot be put into "
            'one batch. Give preprocessor_config.json a fixed "size": {"height": …, "width": …}.'
        )
    return processing


def batching_parameters(batch_sizes: Sequence[int]) -> str:
    """Return the text proto for the server's ``--batching_parameters_file``.

    A merged batch is padded up to the next allowed size, so that only sizes that were warmed up run.
    """
    sizes = "\n".join(f"allowed_batch_sizes: {size}" for size in sorted(batch_sizes))
    return (
        f"max_batch_size {{ value: {max(batch_sizes)} }}\n"
        "batch_timeout_micros { value: 5000 }  # how long a request waits for company\n"
        "max_enqueued_batches { value: 100 }  # beyond that: UNAVAILABLE; no queue grows for ever\n"
        "num_batch_threads { value: 2 }  # batches run at once; each uses all cores\n"
        f"{sizes}\n"
    )


def warmup_requests(
    signatures: Mapping[str, Any], processing: ImageProcessing, batch_sizes: Sequence[int]
) -> list[tuple[str, dict[str, tf.TensorProto]]]:
    """Return one request per signature and batch size, each a few hundred bytes long."""
    image = np.array([tf.io.encode_jpeg(np.zeros((64, 96, 3), np.uint8)).numpy()], object)
    size = (1, processing.height, processing.width)
    requests = []
    for batch_size in batch_sizes:
        for name, signature in signatures.items():
            spec = input_spec(signature)
            one = image if spec.dtype == tf.string else _zeros((*size, spec.shape[-1]), spec)
            inputs = {spec.name: tensor_proto(np.repeat(one, batch_size, axis=0))}
            requests.append((name, inputs))
    return requests


def check_case(
    model: Any, signatures: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs for every signature and what must come out, keyed ``signature/tensor``.

    Logits and features are expected as the Keras model computes them eagerly; the rest as this
    process computes it.
    """
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((48, 80), (75, 50))]
    by_dtype = {
        tf.string: np.array([tf.io.encode_png(photo).numpy() for photo in photos], object),
        tf.uint8: photos[0][np.newaxis],
        tf.float32: random.standard_normal((1, 96, 128, model.config.num_channels), np.float32),
    }
    inputs, expected = {}, {}
    for name, signature in signatures.items():
        spec = input_spec(signature)
        value = inputs[f"{name}/{spec.name}"] = by_dtype[spec.dtype]
        outputs = {tensor: output.numpy() for tensor, output in signature(tf.constant(value)).items()}
        if spec.dtype == tf.float32:
            keras_output = model(value, output_hidden_states=True)
            states = {f"hidden_state_{i}": state for i, state in enumerate(keras_output.hidden_states)}
            eager = {"logits": keras_output.logits, **states}
            outputs = {tensor: eager[tensor].numpy() for tensor in outputs}
        expected.update({f"{name}/{tensor}": output for tensor, output in outputs.items()})
    return inputs, expected


def check_in_fresh_process(
    version_dir: Path, inputs: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Run ``session_check.py`` on a version and return its report.

    Raises:
        ExportError: it broke a rule of the server, failed, or answered something else.
    """
    with tempfile.TemporaryDirectory(prefix="serving-check-") as folder:
        files = {name: Path(folder) / name for name in ("inputs.npz", "expected.npz", "report.json")}
        session_check.write_npz(files["inputs.npz"], inputs)
        session_check.write_npz(files["expected.npz"], expected)
        command = [
            *(sys.executable, session_check.__file__, str(version_dir.absolute())),
            *("--inputs", str(files["inputs.npz"]), "--expect", str(files["expected.npz"])),
            *("--json", str(files["report.json"]), "--tolerance", str(CHECK_TOLERANCE)),
        ]
        run = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=CHECK_TIMEOUT_SECONDS
        )
        if run.returncode != 0:
            raise ExportError(
                f"The written SavedModel failed its check and was not published:\n{run.stderr[-2000:]}"
            )
        report = json.loads(files["report.json"].read_text())
    if report["foreign_modules"]:
        raise ExportError(f"The check was not independent: it imported {report['foreign_modules']}.")
    return report


def _zeros(shape: tuple[int, ...], spec: tf.TensorSpec) -> np.ndarray:
    return np.zeros(shape, spec.dtype.as_numpy_dtype)


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
