"""The check of a written version, before it is published, in a process that imports only TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving import session_check
from serving.images import OK, UNREADABLE
from serving.pictures import MAX_LABELS_OF_8_BITS
from tf_segformer.confidence import class_statistics, confidence_map
from tf_segformer.labels import LabelSet
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

TIMEOUT_SECONDS = 1800
# Float32 noise between eager kernels and the optimised graph is 1e-6 of the largest value; a wrong graph
# is off by more than 1e-2.
TOLERANCE = 1e-5


class CheckFailedError(RuntimeError):
    """The written version broke a rule of the server, failed, or answered something else."""


def example_values(dtype: tf.DType) -> np.ndarray:
    """Return a small batch for a signature whose input has this dtype: files, pixels or pixel values."""
    random = np.random.default_rng(0)
    photos = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((48, 80), (75, 50))]
    if dtype == tf.string:
        files = [tf.io.encode_png(photo).numpy() for photo in photos]
        return np.array([files[0], b"not an image", files[1]], object)
    if dtype == tf.uint8:
        return photos[0][np.newaxis]
    return random.standard_normal((1, 96, 128, 3), np.float32)


def expected_answers(
    model: Any, processing: ImageProcessing, label_set: LabelSet
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each signature must answer to ``example_values``.

    Everything is computed eagerly, image by image, with the Keras model and the public functions of
    ``tf_segformer``; no signature is used.
    """
    values = example_values(tf.float32)
    output = model(values, output_hidden_states=True, training=False)
    states = {f"hidden_state_{i}": state for i, state in enumerate(output.hidden_states)}
    (pixels,) = example_values(tf.uint8)
    labels = _label_map(model, processing, pixels)[0]
    answers: dict[str, dict[str, Any]] = {
        "logits": {"logits": output.logits},
        "features": states,
        "segment_pixels": {"labels": [labels]},
    }
    files = [_file_answers(model, processing, label_set, file) for file in example_values(tf.string)]
    for name in files[0]:
        answers[name] = {key: [answer[name][key] for answer in files] for key in files[0][name]}
    return {name: {key: _array(value) for key, value in outputs.items()} for name, outputs in answers.items()}


def _file_answers(
    model: Any, processing: ImageProcessing, label_set: LabelSet, file: bytes
) -> dict[str, dict[str, Any]]:
    """What the signatures that take image files must answer to one file."""
    classes = len(label_set)
    readable = file.startswith(b"\x89PNG")
    pixels = decode_image(tf.constant(file)).numpy() if readable else np.zeros((1, 1, 3), np.uint8)
    labels, logits = _label_map(model, processing, pixels)
    confidence = confidence_map(logits, *pixels.shape[:2])
    statistics = class_statistics(labels, confidence, classes)
    ids = tf.cast(labels, tf.uint8 if classes <= MAX_LABELS_OF_8_BITS else tf.uint16)
    colored = (pixels // 2) + (label_set.colors() // 2)[labels]
    pictures = {"mask": ids[..., tf.newaxis], "confidence": confidence[..., tf.newaxis], "overlay": colored}
    files = {name: tf.io.encode_png(picture).numpy() for name, picture in pictures.items()}
    mask = {"mask_png_bytes": files["mask"]}
    answers: dict[str, dict[str, Any]] = {
        "serving_default": mask,
        "segment_with_confidence": {
            **mask,
            "confidence_png_bytes": files["confidence"],
            "class_share": statistics.share,
            "class_confidence": statistics.confidence,
        },
        "overlay": {"overlay_png_bytes": files["overlay"]},
        "logits_from_bytes": {"logits": logits},
    }
    status = OK if readable else UNREADABLE
    size = {"height": np.int32(pixels.shape[0]), "width": np.int32(pixels.shape[1])}
    for outputs in answers.values():
        outputs.update(size)
        if not readable:
            outputs.update({key: _nothing(value) for key, value in outputs.items()})
        outputs["status_bytes"] = status
    return answers


def _label_map(model: Any, processing: ImageProcessing, pixels: np.ndarray) -> tuple[np.ndarray, tf.Tensor]:
    """The label map of one image, and its logits [h, w, K]."""
    values = preprocess(tf.constant(pixels), processing)[tf.newaxis]
    logits = model(values, training=False).logits[0]
    return label_map(logits, *pixels.shape[:2]).numpy(), logits


def _nothing(value: Any) -> Any:
    return b"" if isinstance(value, bytes) else np.zeros_like(value)


def _array(value: Any) -> np.ndarray:
    if isinstance(value, list) and isinstance(value[0], bytes):
        return np.array(value, object)
    return np.asarray(value)


def check_in_fresh_process(
    version_dir: Path,
    inputs: Mapping[str, Mapping[str, np.ndarray]],
    expected: Mapping[str, Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """Run ``session_check.py`` on a version and return its report.

    Args:
        version_dir: the version, published or not.
        inputs: by signature, the tensors to give it.
        expected: by signature, the tensors it must answer.

    Raises:
        CheckFailedError: it broke a rule of the server, failed, or answered something else.
    """
    with tempfile.TemporaryDirectory(prefix="serving-check-") as folder:
        files = {name: Path(folder) / name for name in ("inputs.npz", "expected.npz", "report.json")}
        session_check.write_npz(files["inputs.npz"], _flat(inputs))
        session_check.write_npz(files["expected.npz"], _flat(expected))
        command = [
            *(sys.executable, session_check.__file__, str(version_dir.absolute())),
            *("--inputs", str(files["inputs.npz"]), "--expect", str(files["expected.npz"])),
            *("--json", str(files["report.json"]), "--tolerance", str(TOLERANCE)),
        ]
        run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
        if run.returncode != 0:
            raise CheckFailedError(
                f"The written SavedModel failed its check and was not published:\n{run.stderr[-2000:]}"
            )
        report = json.loads(files["report.json"].read_text())
    if report["foreign_modules"]:
        raise CheckFailedError(f"The check was not independent: it imported {report['foreign_modules']}.")
    return report


def _flat(tensors: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {f"{name}/{key}": value for name, group in tensors.items() for key, value in group.items()}
