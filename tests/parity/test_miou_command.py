"""`parity miou` with the real frameworks on tiny photographs: verdicts, exit codes, reports, resumption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from parity import cli
from parity.faults import write_tiny_checkpoint
from parity.label_runners import saved_model_side
from parity.miou_report import miou_schema
from parity.planting import tanh_gelu
from parity.running import HarnessError
from tests.parity.generated_dataset import write_ade20k
from tests.parity.schema_check import violations
from tests.parity.test_evaluation import images_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = write_tiny_checkpoint(tmp_path_factory.mktemp("miou") / "model")
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": {"height": 64, "width": 96}}))
    return folder


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_ade20k(tmp_path_factory.mktemp("ade"), count=3)


def miou(tmp_path, model, *more):
    report = tmp_path / "report.json"
    report.unlink(missing_ok=True)
    others = {kind: tmp_path / f"report.{kind}" for kind in ("html", "junit")}
    options = [part for kind, path in others.items() for part in (f"--{kind}", str(path))]
    code = cli.app(["miou", str(model), "--report", str(report), *options, *map(str, more)])
    content = json.loads(report.read_text()) if report.exists() else None
    if content is not None:
        assert violations(content, miou_schema()) == []
        assert content["exit_code"] == code
        assert f'data-verdict="{content["verdict"]}"' in others["html"].read_text()
        junit = others["junit"].read_text()
        assert ("<failure" in junit, "<error" in junit) == (code == 1, code == 3)
    return code, content


def test_keras_equals_pytorch_on_a_dataset(tmp_path, model, dataset, capsys):
    code, report = miou(tmp_path, model, "--data", dataset, "--state", tmp_path / "state")
    out = capsys.readouterr().out
    assert code == 0, out
    assert (report["verdict"], report["error"]) == ("equal", None)
    found = report["evaluation"]
    assert found["images"] == len(found["worst_images"]) == 3
    assert found["difference"] == 0.0
    assert 0.0 < found["reference"]["mean_iou"] < 0.5
    assert found["reference"]["ignored"] > 0
    assert len(found["classes"]) == 11
    assert {check["name"] for check in found["checks"]} >= {"something was scored", "logits", "label maps"}
    assert report["settings"]["reduce_zero_label"] is True
    assert report["settings"]["candidate"]["side"] == "tf_segformer"
    assert len(report["settings"]["reference"]["weights_sha256"]) == 64
    assert (tmp_path / "report.html").read_text().count("<img") == 15  # three photographs, five pictures each
    for word in ("mIoU", "agreement", "worst images", "EQUAL", "label 0 of the annotations is not scored"):
        assert word in out
    # Done already: the same report from the state alone. With other settings: refused.
    again = miou(tmp_path, model, "--data", dataset, "--state", tmp_path / "state")
    assert (again[0], again[1]["evaluation"]) == (0, found)
    changed = tmp_path / "model"
    shutil.copytree(model, changed)
    path = changed / "preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    code, report = miou(tmp_path, changed, "--data", dataset, "--state", tmp_path / "state")
    assert (code, report["verdict"]) == (3, "error")
    assert "reference: was" in report["error"] and "preprocessing_sha256" in report["error"]


def test_a_wrong_activation_is_different(tmp_path, model, dataset, capsys):
    with tanh_gelu(None):
        code, report = miou(tmp_path, model, "--data", dataset)
    assert code == 1
    assert report["verdict"] == "different"
    (check,) = [check for check in report["evaluation"]["checks"] if check["name"] == "logits"]
    assert not check["passed"]
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give a dataset"),
        (["--data", "DATA", "--images", "DATA", "--annotations", "DATA"], "give a dataset"),
        (["--images", "DATA"], "belong together"),
        (["--data", "DATA", "--layout", "voc"], "unknown --layout"),
        (["--data", "DATA", "--no-logits"], "--no-logits is for an export"),
        (["--data", "DATA", "--save-every", "0"], "--save-every"),
        (["--data", "DATA", "--config", "/no/parity.toml"], "cannot read /no/parity.toml"),
    ],
    ids=str,
)
def test_wrong_usage_is_2(tmp_path, dataset, arguments, message, capsys):
    code, report = miou(tmp_path, tmp_path, *[str(dataset) if a == "DATA" else a for a in arguments])
    shown = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert (code, report) == (2, None)
    assert message in shown


def test_a_bad_dataset_is_3_and_every_file_is_named_in_the_report(tmp_path, model, capsys):
    folder = write_ade20k(tmp_path / "ade")
    masks = sorted((folder / "annotations" / "validation").iterdir())
    masks[0].unlink()
    masks[1].write_bytes(b"")
    code, report = miou(tmp_path, model, "--data", folder)
    assert code == 3
    assert report["evaluation"] is None
    shown = capsys.readouterr().err
    for path in masks[:2]:
        assert path.stem in report["error"]
        assert path.stem in shown


@pytest.mark.parametrize("missing", ["model", "data"])
def test_what_is_missing_is_3_and_reported(tmp_path, model, dataset, missing):
    given = {"model": model, "data": dataset} | {missing: tmp_path / "none"}
    code, report = miou(tmp_path, given["model"], "--data", given["data"])
    assert code == 3
    assert "there is no" in report["error"]


def test_an_export_without_logits_must_be_said_to_have_none(tmp_path):
    module = tf.Module()
    signature = tf.function(lambda image_bytes: {"mask_png_bytes": image_bytes})
    function = signature.get_concrete_function(tf.TensorSpec([None], tf.string, "image_bytes"))
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": function})
    with (
        pytest.raises(HarnessError, match=r"no signature logits_from_bytes.*--no-logits"),
        sides(tmp_path, True),
    ):
        pass
    with sides(tmp_path, False) as side:
        mask = Image.fromarray(np.array([[0, 3]], np.uint8))
        mask.save(tmp_path / "mask.png")
        answer = side.segment((tmp_path / "mask.png").read_bytes(), "mask")
    assert (answer.labels.tolist(), answer.logits, side.gives_logits) == ([[0, 3]], None, False)


def sides(folder, logits):
    return saved_model_side(folder / "1", print, logits=logits)


@pytest.mark.slow
def test_500_images_interrupted_by_kill_and_resumed(tmp_path, model):
    """Issue 5, 4: the same numbers to the last digit, real frameworks in processes of their own."""
    dataset = write_ade20k(tmp_path / "ade", count=500)
    command = [sys.executable, "-m", "parity", "miou", str(model), "--data", str(dataset)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    reports = {}
    for name, kills in (("interrupted", (75, 250)), ("whole", ())):
        state, report = tmp_path / f"{name}.state", tmp_path / f"{name}.json"
        whole = [*command, "--state", str(state), "--report", str(report)]
        for images in kills:
            with subprocess.Popen(whole, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
                while len(images_of(state)) < images:
                    assert child.poll() is None, "it ended before it could be killed"
                    time.sleep(0.2)
                child.send_signal(signal.SIGKILL)
                assert child.wait() == -signal.SIGKILL
            assert images <= len(images_of(state)) < 500
        subprocess.run(whole, env=environment, cwd=ROOT, check=True)
        reports[name] = json.loads(report.read_text())
    assert reports["whole"]["evaluation"]["images"] == 500
    assert reports["interrupted"]["evaluation"] == reports["whole"]["evaluation"]
    assert reports["interrupted"]["settings"] == reports["whole"]["settings"]
    assert images_of(tmp_path / "interrupted.state") == images_of(tmp_path / "whole.state")
