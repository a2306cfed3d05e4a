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


def test_saved_model_cli_shows_every_signature(version_dir, served):
    shown = run_cli("show", "--dir", version_dir, "--tag_set", "serve")
    for name in served.signatures:
        assert f'"{name}"' in shown
    shown = run_cli("show", "--dir", version_dir, "--tag_set", "serve", "--signature_def", "serving_default")
    assert "inputs['image_bytes'] tensor_info" in shown
    assert "outputs['mask_png_bytes'] tensor_info" in shown


def test_saved_model_cli_runs_a_signature(version_dir, served, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 40, 60, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    run_cli(
        *("run", "--dir", version_dir, "--tag_set", "serve", "--signature_def", "segment_pixels"),
        *("--inputs", f"pixels={tmp_path / 'pixels.npy'}", "--outdir", tmp_path),
    )
    labels = served.run("segment_pixels", {"pixels": pixels})["labels"]
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), labels)


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
