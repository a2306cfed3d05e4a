"""`import tf_segformer` without TensorFlow, and all that it promises nevertheless; in fresh processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tf_segformer

ROOT = Path(__file__).resolve().parents[2]

COMMAND = """
import sys
from typer.testing import CliRunner
from tf_segformer.cli import app

answer = CliRunner().invoke(app, sys.argv[1:])
print(answer.output)
assert answer.exit_code == 0
heavy = {"tensorflow", "keras", "transformers", "torch"} & set(sys.modules)
assert not heavy, f"imported: {sorted(heavy)}"
"""
LOAD = """
import keras, tf_segformer

assert "TFSegformerModel" not in vars(tf_segformer)  # no name was used
model = keras.saving.load_model("model.keras")
assert type(model).__module__ == "tf_segformer.modeling", type(model)
"""


def run(code, *arguments, cwd=ROOT):
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["evaluate", "--help"]], ids=" ".join)
def test_help_needs_no_tensorflow(arguments):
    answer = run(COMMAND, *arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Usage" in answer.stdout


def test_drawing_scenes_needs_no_tensorflow(tmp_path):
    answer = run(COMMAND, "scenes", tmp_path, "--count", 1, "--size", "32x32")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert (tmp_path / "images/training/scene_000000.jpg").is_file()


def test_where_keras_is_imported_already_it_knows_the_classes(tmp_path):
    tiny = ROOT / "tests/fixtures/segmentation_tiny"
    model = tf_segformer.TFSegformerForSemanticSegmentation.from_pretrained(tiny)
    model.save_pretrained(tmp_path, file_format="keras")
    answer = run(LOAD, cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr


def test_every_name_is_there_and_no_other():
    assert set(tf_segformer.__all__) <= set(dir(tf_segformer))
    found = {name: getattr(tf_segformer, name) for name in tf_segformer.__all__}
    assert found["SegformerImageProcessor"] is found["TFSegformerImageProcessor"]
    namespace = {}
    exec("from tf_segformer import *", namespace)
    assert {name: namespace[name] for name in found} == found
    with pytest.raises(AttributeError, match="module 'tf_segformer' has no attribute 'TFSegformer'"):
        _ = tf_segformer.TFSegformer
