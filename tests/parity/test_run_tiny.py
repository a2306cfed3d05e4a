"""The real frameworks on the tiny fixture: equal as it is, different once something is spoiled."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from parity import cli
from parity.planting import tanh_gelu
from parity.report import schema
from parity.results import load_result
from parity.taps import expected_taps
from tests.parity.schema_check import violations

MODEL = Path(__file__).parent.parent / "fixtures" / "segmentation_tiny"
PHOTO = Path(__file__).parent.parent / "fixtures" / "photos" / "chelsea.png"


def run(tmp_path, *more, model=MODEL):
    report = tmp_path / "report.json"
    arguments = ["run", str(model), "--size", "64", "--image", str(PHOTO), "--report", str(report)]
    code = cli.app([*arguments, "--in-process", *more])
    return code, json.loads(report.read_text())


def test_the_tiny_checkpoint_is_equal_in_both_lanes(tmp_path, capsys):
    code, report = run(tmp_path, "--work", str(tmp_path / "work"))
    print(capsys.readouterr().out)
    assert code == 0
    assert violations(report, schema()) == []
    counts = {lane["dtype"]: len(lane["rows"]) for lane in report["lanes"]}
    result = load_result(tmp_path / "work" / "keras-float32")
    taps = len(result.manifest.expected_taps)
    parameters = len(load_result(tmp_path / "work" / "reference-float32").manifest.expected_gradients)
    # In float32 also the decoded and the preprocessed pixels, and the label map at the photograph's size.
    both = taps + 2 + 1 + parameters
    assert counts == {"float32": both + 3, "float64": both}
    assert result.arrays["labels/original_size"].shape == (1, 300, 451)
    versions = report["runs"][0]["versions"]
    assert {"torch", "tensorflow", "transformers", "keras"} <= set(versions)


def test_a_wrong_activation_is_different_and_localised(tmp_path, capsys):
    with tanh_gelu(None):
        code, report = run(tmp_path, "--without", "gradients")
        assert code == 1
        assert violations(report, schema()) == []
        name = "segformer.encoder.block.0.0.mlp.activation"
        assert f"First failing tap (float64): {name}," in report["first_difference"]
        arguments = ["localize", str(MODEL), "--size", "64", "--image", str(PHOTO), "--in-process"]
        assert cli.app(arguments) == 1
    assert f"Local fault: on the reference's own input {name} is still off" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["empty folder", "truncated weights", "no preprocessing"])
def test_a_broken_checkpoint_is_3_and_reported(tmp_path, damage, capsys):
    model = tmp_path / "model"
    shutil.copytree(MODEL, model, ignore=shutil.ignore_patterns("*_*", "*.bin"))
    shutil.copy(MODEL / "preprocessor_config.json", model)
    if damage == "empty folder":
        shutil.rmtree(model)
        model.mkdir()
    elif damage == "truncated weights":
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (model / "preprocessor_config.json").unlink()
    code, report = run(tmp_path, model=model)
    assert code == 3
    assert violations(report, schema()) == []
    assert "torch_ref failed" in report["error"]


def test_an_image_that_is_none_is_3_and_reported(tmp_path, capsys):
    image = tmp_path / "broken.jpg"
    image.write_bytes(b"\xff\xd8\xff not a picture")
    code, report = run(tmp_path, "--image", str(image))
    assert code == 3
    assert "broken.jpg" in report["error"]


def test_expected_taps_are_those_of_the_reference():
    torch_ref = pytest.importorskip("torch_ref")
    reference = torch_ref.Reference.from_pretrained(MODEL)
    assert expected_taps(reference.config) == torch_ref.tap_names(reference.config)


def test_each_framework_in_its_own_process(tmp_path):
    """The command as users run it; few levels, because the imports alone take long enough."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "parity", "run", str(MODEL), "--size", "64"]
    command += ["--dtype", "float32", "--levels", "logits,pixels", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert "EQUAL" in done.stdout
    assert "torch_ref float32:" in done.stderr
    assert violations(json.loads(report.read_text()), schema()) == []
