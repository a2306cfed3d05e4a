"""What each runner declares is what it gives, for the real frameworks on small networks."""

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity import cli
from parity.compare import LANE_LEVELS, LEVELS
from parity.gradients import zero_by_design
from parity.pipeline import Settings
from parity.processes import record
from parity.report import schema
from parity.results import load_result
from parity.runners import CANDIDATES, RUNNERS, Runner, require_levels, taps_of
from parity.running import HarnessError, Request
from parity.taps import stage_taps
from tests.parity.schema_check import violations
from tests.parity.synthetic import TAPS

FIXTURES = Path(__file__).parents[1] / "fixtures"
PHOTO = FIXTURES / "photos" / "chelsea.png"
# Another config than any published one: two stages of other depths, one head, no reduction in the second.
ODD = {
    "num_encoder_blocks": 4,
    "hidden_sizes": [8, 8, 24, 16],
    "depths": [2, 1, 1, 1],
    "num_attention_heads": [2, 1, 3, 1],
    "sr_ratios": [4, 1, 2, 1],
    "decoder_hidden_size": 12,
    "hidden_act": "silu",
    "num_labels": 5,
}


def silent(text):
    pass


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    from torch_ref import write_seeded_checkpoint

    return write_seeded_checkpoint(tmp_path_factory.mktemp("odd") / "model", "b0", seed=3, **ODD)


@pytest.fixture(scope="module")
def export(odd, tmp_path_factory):
    """A copy of the checkpoint whose images are 64 × 64, and its export."""
    from serving import export

    folder = tmp_path_factory.mktemp("export")
    model = folder / "model"
    shutil.copytree(odd, model)
    settings = json.loads((model / "preprocessor_config.json").read_text()) | {"size": 64}
    (model / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.MonkeyPatch.context() as patch:
        # What an export checks in a process of its own is the business of serving's tests.
        patch.setattr(export, "check_in_fresh_process", lambda *arguments: defaultdict(dict))
        version = export.export_saved_model(model, folder / "models" / "odd", batch_sizes=[1])
    return model, version


def run(model, tmp_path, *more):
    report = tmp_path / "report.json"
    command = ["run", str(model), "--image", str(PHOTO), "--report", str(report), "--in-process"]
    code = cli.app([*command, *more])
    content = json.loads(report.read_text())
    assert violations(content, schema()) == []
    return code, {lane["candidate"]: lane for lane in content["lanes"]}


def test_every_runner_gives_what_it_declares(export, tmp_path, capsys):
    model, version = export
    options = ["--dtype", "float32", "--saved-model", str(version), "--candidates", ",".join(CANDIDATES)]
    code, lanes = run(model, tmp_path, *options, "--work", str(tmp_path / "work"), "--without", "gradients")
    assert code == 0
    assert tuple(lanes) == CANDIDATES
    for name, lane in lanes.items():
        declared = [level for level in RUNNERS[name].levels["float32"] if level != "gradients"]
        assert lane["levels"] == declared
        assert {row["level"] for row in lane["rows"]} == set(declared)
    taps = load_result(tmp_path / "work" / "reference-float32").manifest.expected_taps
    for name in CANDIDATES:
        compared = [row["name"] for row in lanes[name]["rows"] if row["level"] == "taps"]
        assert compared == list(taps_of(name, taps))
    assert len(taps_of("tf_segformer/folded", taps)) == 4
    assert lanes["tf_segformer"]["left_out"] == []
    assert set(taps) - set(stage_taps(taps)) == set(lanes["tf_segformer/folded"]["left_out"])
    assert lanes["saved_model"]["left_out"] == ["decoded", "pixels", "taps", "labels/logit_size"]
    said = capsys.readouterr().out
    assert "because tf_segformer/folded declares not to have it" in said
    # Two of the recorded results, as on another day and another machine.
    work = tmp_path / "work"
    folders = [str(work / f"{name}-float32") for name in ("reference", "tf_segformer-folded")]
    shutil.rmtree(work / "keras-float32")
    assert cli.app(["compare", *folders, "--levels", "logits,labels/logit_size"]) == 0
    folders[0] = str(work / "tf_segformer-eager-float32")
    assert cli.app(["compare", *folders, "--levels", "logits"]) == 0
    changed = json.loads((work / "reference-float32" / "manifest.json").read_text())
    changed["checkpoint_sha256"] = "0" * 64
    (work / "reference-float32" / "manifest.json").write_text(json.dumps(changed))
    assert cli.app(["compare", str(work / "reference-float32"), folders[1], "--levels", "logits"]) == 3


def test_a_session_in_a_process_of_its_own(export, tmp_path):
    """The command that `parity run` starts, by hand: another machine does just this."""
    model, version = export
    request = Request(str(model), PHOTO, "float32", ("logits",))
    reference = record("torch_ref", request, tmp_path / "reference", isolate=False, say=silent)
    served = replace(request, saved_model=version)
    found = record("saved_model", served, tmp_path / "saved", given=tmp_path / "reference", say=silent)
    assert found.manifest.runner == "saved_model" and found.manifest.versions["tensorflow"]
    error = np.abs(found.arrays["logits"] - reference.arrays["logits"]).max()
    assert error <= 2e-6 * np.abs(reference.arrays["logits"]).max()
    folders = [str(tmp_path / name) for name in ("reference", "saved")]
    assert cli.app(["compare", *folders, "--levels", "logits"]) == 0
    assert cli.app(["compare", *folders, "--levels", "logits,labels/original_size"]) == 1


def test_gradients_are_a_level_and_a_command(tmp_path, capsys):
    model = FIXTURES / "segmentation_tiny"
    report = tmp_path / "report.json"
    assert cli.app(["gradients", str(model), "--in-process", "--report", str(report)]) == 0
    content = json.loads(report.read_text())
    assert violations(content, schema()) == []
    assert [lane["levels"] for lane in content["lanes"]] == [["gradients"], ["gradients"]]
    for lane in content["lanes"]:
        assert len(lane["rows"]) == 1 + 143  # the loss and every parameter
    assert "more gradients: all of them pass" in capsys.readouterr().out


def test_a_loss_over_all_pixels_is_different(tmp_path, monkeypatch, capsys):
    """Planted: the mean is taken over the ignored pixels, an eighth of them, too."""
    from tf_segformer import modeling

    right = modeling.segmentation_loss
    monkeypatch.setattr(modeling, "segmentation_loss", lambda *arguments: right(*arguments) * 7 / 8)
    report = tmp_path / "report.json"
    model = str(FIXTURES / "segmentation_tiny")
    options = ["--in-process", "--dtype", "float64", "--report", str(report)]
    assert cli.app(["gradients", model, *options]) == 1
    (lane,) = json.loads(report.read_text())["lanes"]
    # Gradients that are zero by design stay zero.
    failing = {row["name"]: row["error_over_gate"] for row in lane["rows"] if not row["passed"]}
    assert len(failing) == 1 + 143 - len(zero_by_design(row["name"] for row in lane["rows"]))
    assert min(failing.values()) >= 10
    assert "What fails: loss (float64)" in capsys.readouterr().out


def test_an_image_classifier_is_compared(tmp_path):
    model = tmp_path / "classifier"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(FIXTURES / "classification_tiny" / name, model)
    shutil.copy(FIXTURES / "segmentation_tiny" / "preprocessor_config.json", model)
    options = ["--size", "64", "--dtype", "float32", "--without", "gradients"]
    code, lanes = run(model, tmp_path, *options)
    assert code == 0
    lane = lanes["tf_segformer"]
    assert lane["left_out"] == ["labels/original_size"]
    names = [row["name"] for row in lane["rows"] if row["level"] == "taps"]
    assert names[-2:] == ["classifier.pooled", "classifier"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--candidates", "jax"], "unknown candidates"),
        (["--candidates", ","], "unknown candidates"),
        (["--without", "loss"], "unknown levels"),
    ],
)
def test_wrong_usage(tmp_path, options, words, capsys):
    assert cli.app(["run", str(FIXTURES / "segmentation_tiny"), *options]) == 2
    assert words in " ".join(capsys.readouterr().err.replace("│", " ").split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--candidates", "saved_model"], "needs --saved-model"),
        (
            ["--candidates", "saved_model/loaded", "--saved-model", "x", "--dtype", "float64"],
            "nothing in float64",
        ),
    ],
)
def test_a_candidate_that_cannot_run_is_3_before_anything_runs(tmp_path, options, words, capsys):
    assert cli.app(["run", str(FIXTURES / "segmentation_tiny"), *options]) == 3
    assert words in capsys.readouterr().err


def test_levels_that_are_not_declared_are_refused():
    with pytest.raises(HarnessError, match=r"saved_model has no level taps in float32; it has logits"):
        require_levels("saved_model", "float32", ("taps",))
    with pytest.raises(HarnessError, match="gives nothing in float64"):
        require_levels("saved_model", "float64", ("logits",))


def test_an_unknown_runner_owes_every_tap():
    """Results of others, or of a later version: nothing is left out of what they must have."""
    assert taps_of("jax", TAPS) == TAPS
    assert taps_of("saved_model", TAPS) == ()
    assert set(stage_taps(TAPS)) < set(TAPS)
    assert Runner(print, LANE_LEVELS).taps(TAPS) == TAPS


def test_without_leaves_levels_out():
    assert Settings(without=("gradients",)).levels_of("float64") == LANE_LEVELS["float64"][:-1]
    assert Settings(levels=("taps", "logits"), without=("taps",)).levels_of("float32") == ("logits",)
    assert Settings().levels_of("float32") == LEVELS
