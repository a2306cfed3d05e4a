"""An export of this TensorFlow, executed in a Session of the versions that servers run."""

import io
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving import session_check

ENVIRONMENTS = Path(__file__).parents[2] / ".venvs"
VERSIONS = os.environ.get("OLD_TENSORFLOW", "2.20 2.18").split()


@pytest.mark.old_tensorflow
@pytest.mark.parametrize("version", VERSIONS)
def test_every_signature_gives_the_same_answer(version, version_dir, served, keras_model, tmp_path):
    from serving.verification import example_values

    inputs, expected = {}, {}
    for name, signature in served.signatures.items():
        ((key, info),) = signature.inputs.items()
        value = example_values(tf.as_dtype(info.dtype))
        inputs[f"{name}/{key}"] = value
        outputs = served.run(name, {key: value})
        expected.update({f"{name}/{output}": array for output, array in outputs.items()})
    session_check.write_npz(tmp_path / "inputs.npz", inputs)
    session_check.write_npz(tmp_path / "expected.npz", expected)
    python = ENVIRONMENTS / f"tensorflow-{version}" / "bin" / "python"
    assert python.exists(), f"{python} is missing; run `make environments`"
    run = subprocess.run(
        [
            *(python, session_check.__file__, version_dir, "--json", tmp_path / "report.json"),
            *("--inputs", tmp_path / "inputs.npz", "--expect", tmp_path / "expected.npz"),
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["tensorflow"].startswith(f"{version}.")
    assert set(report["runs"]) == set(served.signatures)
    assert set(report["compared"]) == set(expected)
    assert report["foreign_modules"] == []
    print({name: values for name, values in report["compared"].items() if np.max(list(values.values()))})


@pytest.mark.old_tensorflow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_webp_file_is_read_or_gets_a_status_alone(version, version_dir, tmp_path):
    """TensorFlow reads WebP since 2.20."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    files = []
    for name in ("PNG", "WEBP", "GIF"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, name)
        files.append(file.getvalue())
    inputs = {"serving_default/image_bytes": np.array(files, object)}
    session_check.write_npz(tmp_path / "inputs.npz", inputs)
    python = ENVIRONMENTS / f"tensorflow-{version}" / "bin" / "python"
    run = subprocess.run(
        [
            *(python, session_check.__file__, version_dir, "--signature", "serving_default"),
            *("--inputs", tmp_path / "inputs.npz", "--outputs", tmp_path / "outputs.npz"),
        ],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    status = session_check.read_npz(tmp_path / "outputs.npz")["serving_default/status_bytes"].tolist()
    is_read = tuple(map(int, version.split("."))) >= (2, 20)
    assert status == [b"ok", b"ok" if is_read else b"damaged, or of a kind that is not supported", b"ok"]
