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
from serving.signatures import input_spec

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
        return np.array([tf.io.encode_png(photo).numpy() for photo in photos], object)
    if dtype == tf.uint8:
        return photos[0][np.newaxis]
    return random.standard_normal((1, 96, 128, 3), np.float32)


def example_answers(
    model: Any, signatures: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return inputs for every signature and what must come out, keyed ``signature/tensor``.

    Logits and features are expected as the Keras model computes them eagerly; the rest as this
    process computes it.
    """
    inputs, expected = {}, {}
    for name, signature in signatures.items():
        spec = input_spec(signature)
        value = inputs[f"{name}/{spec.name}"] = example_values(spec.dtype)
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
        CheckFailedError: it broke a rule of the server, failed, or answered something else.
    """
    with tempfile.TemporaryDirectory(prefix="serving-check-") as folder:
        files = {name: Path(folder) / name for name in ("inputs.npz", "expected.npz", "report.json")}
        session_check.write_npz(files["inputs.npz"], inputs)
        session_check.write_npz(files["expected.npz"], expected)
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
