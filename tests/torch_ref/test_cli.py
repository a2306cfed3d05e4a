"""`python -m torch_ref` from its arguments to its exit codes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from torch_ref import Reference
from torch_ref.cli import app

runner = CliRunner()


def test_write_checkpoint_writes_one_that_loads(tmp_path: Path):
    folder = tmp_path / "b0"
    command = [
        "write-checkpoint",
        str(folder),
        "--seed",
        "3",
        "--num-labels",
        "7",
        "--format",
        "bin",
    ]
    done = runner.invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "Wrote a seeded B0 (15 MB)" in done.output
    assert (folder / "pytorch_model.bin").is_file()
    assert Reference.from_pretrained(folder).config.num_labels == 7
    again = runner.invoke(app, command)
    assert again.exit_code == 2
    assert "already holds pytorch_model.bin" in again.output
    assert runner.invoke(app, [*command, "--overwrite"]).exit_code == 0


def test_an_unknown_variant_is_a_usage_error(tmp_path: Path):
    assert runner.invoke(app, ["write-checkpoint", str(tmp_path), "--variant", "b6"]).exit_code == 2


def test_segment_writes_the_label_map(fixtures: Path, photo: Path, tmp_path: Path):
    output = tmp_path / "labels.png"
    model = fixtures / "segmentation_tiny"
    done = runner.invoke(app, ["segment", str(photo), "--model", str(model), "-o", str(output)])
    assert done.exit_code == 0, done.output
    assert "class_" in done.output
    expected = Reference.from_pretrained(model).segment(photo)
    np.testing.assert_array_equal(np.asarray(Image.open(output)), expected)


@pytest.mark.parametrize(
    ("photo_content", "model", "message"),
    [
        (b"no photo", "segmentation_tiny", "Cannot decode"),
        (None, "segmentation_tiny", "No image file"),
        (b"no photo", "nowhere", "No checkpoint folder"),
    ],
)
def test_segment_names_what_is_wrong(photo_content, model, message, fixtures, tmp_path: Path):
    photo, output = tmp_path / "photo.jpg", tmp_path / "labels.png"
    if photo_content is not None:
        photo.write_bytes(photo_content)
    command = ["segment", str(photo), "--model", str(fixtures / model), "-o", str(output)]
    done = runner.invoke(app, command)
    assert done.exit_code == 2
    assert message in done.output
    assert not output.exists()


def test_examine_passes_a_seeded_checkpoint_and_fails_a_weak_one(
    seeded_b0: Path, fixtures: Path, photo: Path
):
    options = [str(photo), "--size", "64", "--every", "50"]
    done = runner.invoke(app, ["examine", str(seeded_b0), *options])
    assert done.exit_code == 0, done.output
    assert re.search(r"4 tensors scaled, 0 move the logits by under 10 gates", done.output)
    assert "attention.self.key.bias" in done.output
    weak = runner.invoke(app, ["examine", str(fixtures / "segmentation_tiny"), *options])
    assert weak.exit_code == 1, weak.output  # its attention is close to uniform


# `python -m torch_ref --help`, and then which packages it brought along.
AS_A_MODULE = """
import runpy, sys
sys.argv = ["torch_ref", "--help"]
try:
    runpy.run_module("torch_ref", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code
foreign = {"tensorflow", "keras", "tf_segformer", "parity", "serving"} & set(sys.modules)
print(f"foreign: {sorted(foreign)}")
"""


def test_it_runs_as_a_module_and_imports_no_tensorflow():
    done = subprocess.run([sys.executable, "-c", AS_A_MODULE], capture_output=True, text=True, check=True)
    for command in ("write-checkpoint", "segment", "examine"):
        assert command in done.stdout
    assert done.stdout.endswith("foreign: []\n")
