"""The export in the hands of those who do not use a server: saved_model_cli, Keras, tf.saved_model.load."""

import io
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.verification import example_values

SIGNATURES = (
    *("serving_default", "segment_with_confidence", "overlay", "segment_pixels"),
    *("logits_from_bytes", "logits", "features"),
)
CLI = Path(sys.executable).with_name("saved_model_cli")


@pytest.fixture(scope="module")
def png():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def expected(served, png):
    return served.run("serving_default", {"image_bytes": np.array([png], object)})


def run_cli(*arguments):
    run = subprocess.run([CLI, *map(str, arguments)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout


def literal(files):
    """A Python literal of byte strings without a `;`, at which saved_model_cli would split it."""
    return "[" + ", ".join("b'" + "".join(f"\\x{byte:02x}" for byte in file) + "'" for file in files) + "]"


def test_saved_model_cli_shows_every_signature(version_dir, served):
    assert set(SIGNATURES) == set(served.signatures)  # the next test runs them all
    shown = run_cli("show", "--dir", version_dir, "--tag_set", "serve")
    for name in served.signatures:
        assert f'"{name}"' in shown
    shown = run_cli("show", "--dir", version_dir, "--tag_set", "serve", "--signature_def", "serving_default")
    assert "inputs['image_bytes'] tensor_info" in shown
    assert "outputs['mask_png_bytes'] tensor_info" in shown


@pytest.mark.parametrize("name", SIGNATURES)
def test_saved_model_cli_runs_a_signature(version_dir, served, name, tmp_path):
    """In a process that imports nothing but TensorFlow; the files of a batch include one that is none."""
    signature = served.signatures[name]
    ((key, info),) = signature.inputs.items()
    value = example_values(tf.as_dtype(info.dtype))
    if info.dtype == tf.string.as_datatype_enum:
        given = "--input_exprs", f"{key}={literal(value)}"
    else:
        np.save(tmp_path / "input.npy", value)
        given = "--inputs", f"{key}={tmp_path / 'input.npy'}"
    answers = tmp_path / "answers"
    run_cli(
        *("run", "--dir", version_dir, "--tag_set", "serve", "--signature_def", name),
        *(*given, "--outdir", answers),
    )
    expected = served.run(name, {key: value})
    assert {file.stem for file in answers.iterdir()} == set(expected) == set(signature.outputs)
    for output, array in expected.items():
        # Byte strings are pickled by saved_model_cli, a moment ago in a folder of our own.
        found = np.load(answers / f"{output}.npy", allow_pickle=array.dtype == object)
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array, err_msg=output)


def test_saved_model_load(version_dir, png, expected):
    loaded = tf.saved_model.load(str(version_dir))
    answer = loaded.signatures["serving_default"](image_bytes=tf.constant([png]))
    assert answer["mask_png_bytes"].numpy().tolist() == expected["mask_png_bytes"].tolist()


def test_keras_layer_eager_functional_and_predict(version_dir, png, expected):
    layer = keras.layers.TFSMLayer(str(version_dir), call_endpoint="serving_default")
    files = tf.constant([png])
    assert layer(files)["mask_png_bytes"].numpy().tolist() == expected["mask_png_bytes"].tolist()
    inputs = keras.Input((), dtype="string")
    model = keras.Model(inputs, layer(inputs))
    assert model(files)["mask_png_bytes"].numpy().tolist() == expected["mask_png_bytes"].tolist()
    predicted = model.predict(files, verbose=0)
    assert predicted["mask_png_bytes"].tolist() == expected["mask_png_bytes"].tolist()


def test_keras_layer_on_pixel_values(version_dir, served):
    layer = keras.layers.TFSMLayer(str(version_dir), call_endpoint="logits")
    values = np.random.default_rng(0).standard_normal((2, 64, 96, 3), np.float32)
    inputs = keras.Input((64, 96, 3))
    model = keras.Model(inputs, layer(inputs))
    logits = served.run("logits", {"pixel_values": values})["logits"]
    scale = np.abs(logits).max()
    np.testing.assert_allclose(model.predict(values, verbose=0)["logits"], logits, rtol=0, atol=2e-6 * scale)
