"""The export in the hands of those who do not use a server: saved_model_cli, Keras, tf.saved_model.load."""

import io
import json
import subprocess
import sys
from typing import NamedTuple

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
# One process for all command lines, since importing TensorFlow takes longer than each. What one line has set
# is unset before the next, and every line is checked and run as by the command itself.
CLI = """
import json, sys
from absl import flags
from tensorflow.python.tools import saved_model_cli

for line in json.load(sys.stdin):
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    sys.argv = ["saved_model_cli", *line]
    try:
        saved_model_cli.main()
    except SystemExit as end:
        assert not end.code, line
    print("END OF A LINE", flush=True)
foreign = {"tf_segformer", "serving", "torch"} & set(sys.modules)
assert not foreign, foreign
"""


@pytest.fixture(scope="module")
def png():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def expected(served, png):
    return served.run("serving_default", {"image_bytes": np.array([png], object)})


def run_cli(*lines):
    """What each line of arguments printed."""
    given = json.dumps([list(map(str, line)) for line in lines])
    run = subprocess.run([sys.executable, "-c", CLI], input=given, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.split("END OF A LINE\n")[:-1]


def literal(files):
    """A Python literal of byte strings without a `;`, at which saved_model_cli would split it."""
    return "[" + ", ".join("b'" + "".join(f"\\x{byte:02x}" for byte in file) + "'" for file in files) + "]"


class Ran(NamedTuple):
    """What saved_model_cli was asked, to show and to run, and answered."""

    shown: list[str]
    inputs: dict
    answers: dict


@pytest.fixture(scope="module")
def cli(version_dir, served, tmp_path_factory):
    """The files of a batch include one that is none."""
    folder = tmp_path_factory.mktemp("cli")
    export = "--dir", version_dir, "--tag_set", "serve"
    lines = [("show", *export), ("show", *export, "--signature_def", "serving_default")]
    inputs, answers = {}, {}
    for name, signature in served.signatures.items():
        ((key, info),) = signature.inputs.items()
        value = example_values(tf.as_dtype(info.dtype))
        if info.dtype == tf.string.as_datatype_enum:
            given = "--input_exprs", f"{key}={literal(value)}"
        else:
            np.save(folder / f"{name}.npy", value)
            given = "--inputs", f"{key}={folder / name}.npy"
        inputs[name], answers[name] = {key: value}, folder / name
        lines.append(("run", *export, "--signature_def", name, *given, "--outdir", folder / name))
    return Ran(run_cli(*lines), inputs, answers)


def test_saved_model_cli_shows_every_signature(cli, served):
    assert set(SIGNATURES) == set(served.signatures)  # the next test runs them all
    signatures, tensors, *_ = cli.shown
    for name in served.signatures:
        assert f'"{name}"' in signatures
    assert "inputs['image_bytes'] tensor_info" in tensors
    assert "outputs['mask_png_bytes'] tensor_info" in tensors


@pytest.mark.parametrize("name", SIGNATURES)
def test_saved_model_cli_runs_a_signature(cli, served, name):
    """In a process that imports nothing but TensorFlow."""
    expected = served.run(name, cli.inputs[name])
    answers = cli.answers[name]
    assert {file.stem for file in answers.iterdir()} == set(expected) == set(served.signatures[name].outputs)
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
