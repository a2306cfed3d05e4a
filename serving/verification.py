"""The check of a written version, before it is published, in a process that imports only TensorFlow."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from serving import session_check
from serving.images import FOREIGN, OK
from serving.options import ExportOptions
from serving.pictures import MAX_LABELS_OF_8_BITS
from tf_segformer.confidence import class_statistics, confidence_map
from tf_segformer.image_decoding import decode_image
from tf_segformer.image_logits import segment_logits
from tf_segformer.labels import LabelSet
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import LOGIT_STRIDE

TIMEOUT_SECONDS = 1800


class Allowance(NamedTuple):
    """By how much an answer may differ from what was expected; see ``session_check.compare``."""

    tolerance: float
    ties: float
    levels: int


# Float32 noise between eager kernels and the optimised graph is 1e-6 of the largest value; a wrong graph
# is off by more than 1e-2.
FLOAT32 = Allowance(1e-5, 1e-3, 0)


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
    model: Any, processing: ImageProcessing, label_set: LabelSet, options: ExportOptions
) -> dict[str, dict[str, np.ndarray]]:
    """Return what each signature must answer to ``example_values``.

    Everything is computed eagerly, image by image, with the Keras model and the public functions of
    ``tf_segformer``; no signature is used.
    """
    values = example_values(tf.float32)
    output = model(values, output_hidden_states=True, training=False)
    answer = _Answerer(model, processing, label_set, options)
    (pixels,) = example_values(tf.uint8)
    labels = label_map(answer.logits(pixels), *pixels.shape[:2])
    answers: dict[str, dict[str, Any]] = {
        "logits": {"logits": output.logits},
        "features": {f"hidden_state_{i}": state for i, state in enumerate(output.hidden_states)},
        "segment_pixels": {"labels": [labels]},
        **answer.files(list(example_values(tf.string))),
    }
    return {name: {key: _array(value) for key, value in outputs.items()} for name, outputs in answers.items()}


class _Answerer:
    """Answers image files as the signatures must."""

    def __init__(
        self, model: Any, processing: ImageProcessing, label_set: LabelSet, options: ExportOptions
    ) -> None:
        self.model = model
        self.processing = processing
        self.label_set = label_set
        self.options = options

    def logits(self, pixels: np.ndarray) -> tf.Tensor:
        """The logits [h, w, K] of one image."""
        return segment_logits(
            tf.constant(pixels),
            self.processing,
            self.options.resizing,
            lambda values: self.model(values, training=False).logits,
            len(self.label_set),
            pass_order=self.options.pillow,
        )

    def files(self, files: list[bytes]) -> dict[str, dict[str, list[Any]]]:
        """By signature and output, what they must answer to a batch of files."""
        images = [self._image(file) for file in files]
        sizes = [image["logits"].shape[:2] for image in images]
        largest = max(height for height, _ in sizes), max(width for _, width in sizes)
        for image, size in zip(images, sizes, strict=True):
            missing = largest[0] - size[0], largest[1] - size[1]
            image["logits"] = np.pad(image["logits"], [(0, missing[0]), (0, missing[1]), (0, 0)])
            image["logits_height"], image["logits_width"] = map(np.int32, size)
        status = ("height", "width", "status_bytes")
        statistics = ("class_share", "class_confidence")
        outputs = {
            "serving_default": ("mask_png_bytes", *status),
            "segment_with_confidence": ("mask_png_bytes", "confidence_png_bytes", *statistics, *status),
            "overlay": ("overlay_png_bytes", *status),
            "logits_from_bytes": ("logits", *status),
        }
        if self.options.resizing.fixed_size(self.processing) is None:
            outputs["logits_from_bytes"] += ("logits_height", "logits_width")
        return {
            signature: {name: [image[name] for image in images] for name in names}
            for signature, names in outputs.items()
        }

    def _image(self, file: bytes) -> dict[str, Any]:
        classes = len(self.label_set)
        if not file.startswith(b"\x89PNG"):
            size = self.options.resizing.fixed_size(self.processing) or (0, 0)
            logits = np.zeros([*(-(-side // LOGIT_STRIDE) for side in size), classes], np.float32)
            numbers = {name: np.zeros(classes, np.float32) for name in ("class_share", "class_confidence")}
            pictures = dict.fromkeys(("mask_png_bytes", "confidence_png_bytes", "overlay_png_bytes"), b"")
            nothing = {"logits": logits, "height": np.int32(0), "width": np.int32(0)}
            return {**nothing, **numbers, **pictures, "status_bytes": FOREIGN}
        pixels = decode_image(tf.constant(file), exif_orientation=self.options.exif_orientation).numpy()
        height, width = pixels.shape[:2]
        logits = self.logits(pixels)
        labels = label_map(logits, height, width).numpy()
        confidence = confidence_map(logits, height, width, self.options.confidence)
        statistics = class_statistics(labels, confidence, classes)
        ids = tf.cast(labels, tf.uint8 if classes <= MAX_LABELS_OF_8_BITS else tf.uint16)
        colored = (pixels // 2) + (self.label_set.colors() // 2)[labels]
        pictures = {
            "mask": ids[..., tf.newaxis],
            "confidence": confidence[..., tf.newaxis],
            "overlay": colored,
        }
        return {
            "logits": logits.numpy(),
            "height": np.int32(height),
            "width": np.int32(width),
            "class_share": statistics.share,
            "class_confidence": statistics.confidence,
            **{f"{name}_png_bytes": tf.io.encode_png(image).numpy() for name, image in pictures.items()},
            "status_bytes": OK,
        }


def _array(value: Any) -> np.ndarray:
    if isinstance(value, list) and isinstance(value[0], bytes):
        return np.array(value, object)
    return np.asarray(value)


def check_in_fresh_process(
    version_dir: Path,
    inputs: Mapping[str, Mapping[str, np.ndarray]],
    expected: Mapping[str, Mapping[str, np.ndarray]],
    allowance: Allowance = FLOAT32,
) -> dict[str, Any]:
    """Run ``session_check.py`` on a version and return its report.

    Args:
        version_dir: the version, published or not.
        inputs: by signature, the tensors to give it.
        expected: by signature, the tensors it must answer.
        allowance: by how much they may differ.

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
            *("--json", str(files["report.json"]), "--tolerance", str(allowance.tolerance)),
            *("--ties", str(allowance.ties), "--levels", str(allowance.levels)),
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
