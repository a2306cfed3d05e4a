"""An export of this TensorFlow, executed in a Session of the versions that servers run."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving import session_check
from tests.serving.old_tensorflow import VERSIONS, check, compare


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
    report = compare(version, version_dir, inputs, expected, tmp_path)
    assert set(report["runs"]) == set(served.signatures)
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
    arguments = ("--signature", "serving_default", "--outputs", tmp_path / "outputs.npz")
    check(version, version_dir, inputs, tmp_path, *arguments)
    status = session_check.read_npz(tmp_path / "outputs.npz")["serving_default/status_bytes"].tolist()
    is_read = tuple(map(int, version.split("."))) >= (2, 20)
    assert status == [b"ok", b"ok" if is_read else b"damaged, or of a kind that is not supported", b"ok"]
