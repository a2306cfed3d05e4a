"""The command line with made-up runners: exit codes, reports, and what stands in them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from parity import cli, runners
from parity.compare import LANE_LEVELS, LEVELS
from parity.report import schema
from parity.result_writer import save_result
from parity.results import TAP_PREFIX
from parity.running import HarnessError
from parity.taps import stage_taps
from tests.parity.schema_check import violations
from tests.parity.synthetic import TAPS, result


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    return str(folder)


@pytest.fixture
def spoil(monkeypatch):
    """Replace both runners by made-up ones; the fixture is the list of changes to the candidate."""
    changes = []

    def reference(request, output, given, say):
        made = result(request.dtype)
        return save_result(output, made.manifest, dict(made.arrays))

    def candidate(request, output, given, say):
        made = result(request.dtype, "tf_segformer")
        for change in changes:
            change(made.arrays)
        return save_result(output, made.manifest, dict(made.arrays))

    for name, run in (
        ("torch_ref", reference),
        ("tf_segformer", candidate),
        ("tf_segformer/replay", candidate),
        ("tf_segformer/folded", candidate),
    ):
        monkeypatch.setitem(runners.RUNNERS, name, replace(runners.RUNNERS[name], run=run))
    return changes


def run(model, tmp_path, *more):
    report = tmp_path / "report.json"
    code = cli.app(["run", model, "--in-process", "--report", str(report), *more])
    return code, json.loads(report.read_text()) if report.exists() else None


def test_equal_is_0(model, spoil, tmp_path, capsys):
    code, report = run(model, tmp_path)
    assert code == 0
    assert violations(report, schema()) == []
    assert (report["verdict"], report["exit_code"], report["error"]) == ("equal", 0, None)
    assert [lane["dtype"] for lane in report["lanes"]] == ["float32", "float64"]
    assert "EQUAL" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        lambda arrays: arrays["logits"].__iadd__(1),
        lambda arrays: arrays["logits"].__setitem__((0, 0, 0, 0), np.nan),
        lambda arrays: arrays.pop(TAP_PREFIX + TAPS[3]),
        lambda arrays: arrays.update({"taps/other": np.zeros(1, np.float32)}),
        lambda arrays: arrays.pop("labels/logit_size"),
        lambda arrays: arrays["labels/logit_size"].__iadd__(1),
    ],
    ids=["moved", "NaN", "missing tap", "extra tap", "missing level", "labels"],
)
def test_different_is_1(model, spoil, tmp_path, capsys, change):
    spoil.append(change)
    code, report = run(model, tmp_path)
    assert code == 1
    assert violations(report, schema()) == []
    assert (report["verdict"], report["exit_code"]) == ("different", 1)
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["run"],
        ["run", "MODEL", "--dtype", "float16"],
        ["run", "MODEL", "--levels", "loss"],
        ["run", "MODEL", "--levels", ""],
        ["run", "MODEL", "--size", "8"],
        ["run", "MODEL", "--size", "many"],
        ["run", "MODEL", "--image", "/no/such/picture.png"],
        ["run", "MODEL", "--surprise"],
        ["run", "MODEL", "--saved-model", "/no/such", "--size", "64"],
        ["calibrate", "MODEL"],
        ["calibrate", "MODEL", "--reason", " ", "-o", "f.json"],
        ["record", "MODEL", "--runner", "jax", "--image", "IMAGE", "--output", "o"],
        ["table", "--cases", "b9@512"],
        ["dance"],
    ],
    ids=" ".join,
)
def test_wrong_usage_is_2(model, tmp_path, arguments, capsys):
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"")
    named = {"MODEL": model, "IMAGE": str(picture)}
    assert cli.app([named.get(word, word) for word in arguments]) == 2
    assert capsys.readouterr().out + capsys.readouterr().err is not None


def test_help_is_0(capsys):
    assert cli.app(["--help"]) == 0
    assert "calibrate" in capsys.readouterr().out


def test_a_missing_model_is_3_and_reported(tmp_path, capsys):
    code, report = run(str(tmp_path / "none"), tmp_path)
    assert code == 3
    assert violations(report, schema()) == []
    assert (report["verdict"], report["exit_code"]) == ("error", 3)
    assert "no checkpoint folder" in report["error"]
    assert "no checkpoint folder" in capsys.readouterr().err


def test_a_runner_that_breaks_is_3_and_reported(model, spoil, tmp_path, capsys):
    def breaks(arrays):
        raise RuntimeError("out of cheese")

    spoil.append(breaks)
    code, report = run(model, tmp_path)
    assert code == 3
    assert "tf_segformer failed: RuntimeError: out of cheese" in report["error"]
    assert "out of cheese" in capsys.readouterr().err


@pytest.mark.parametrize("error", [HarnessError("no"), KeyError("x"), KeyboardInterrupt()])
def test_whatever_escapes_is_3_and_reported(model, tmp_path, monkeypatch, error, capsys):
    def breaks(*args, **kwargs):
        raise error

    monkeypatch.setattr("parity.run_command.run_parity", breaks)
    code, report = run(model, tmp_path)
    assert code == 3
    assert report["verdict"] == "error"
    assert report["error"]


def test_results_of_other_weights_are_3(model, spoil, tmp_path, monkeypatch, capsys):
    def candidate(request, output, given, say):
        made = result(request.dtype, "tf_segformer")
        manifest = replace(made.manifest, checkpoint_sha256="0" * 64)
        return save_result(output, manifest, dict(made.arrays))

    monkeypatch.setitem(runners.RUNNERS, "tf_segformer", runners.Runner(candidate, LANE_LEVELS))
    code, report = run(model, tmp_path)
    assert code == 3
    assert "checkpoint_sha256" in report["error"]


def test_one_lane_and_some_levels(model, spoil, tmp_path):
    code, report = run(model, tmp_path, "--dtype", "float32", "--levels", "logits,pixels")
    assert code == 0
    (lane,) = report["lanes"]
    assert [row["name"] for row in lane["rows"]] == ["pixels", "logits"]


def test_levels_that_no_lane_has_compare_nothing(model, spoil, tmp_path):
    code, report = run(model, tmp_path, "--dtype", "float64", "--levels", "pixels")
    assert code == 1
    assert "nothing was compared" in report["lanes"][0]["rows"][0]["note"]


def folded(arrays):
    """Leave of the taps what the folded network declares."""
    for name in set(TAPS) - set(stage_taps(TAPS)):
        del arrays[TAP_PREFIX + name]


def test_what_a_runner_declares_not_to_have_is_left_out_and_said(model, spoil, tmp_path, capsys):
    spoil.append(folded)
    options = ["--candidates", "tf_segformer/folded", "--dtype", "float64"]
    code, report = run(model, tmp_path, *options)
    assert code == 0
    (lane,) = report["lanes"]
    assert set(lane["left_out"]) == {"gradients", *TAPS} - set(stage_taps(TAPS))
    assert "declares not to have it: gradients" in capsys.readouterr().out
    # Of another runner the same is a failure.
    assert run(model, tmp_path, "--dtype", "float64")[0] == 1


def test_a_runner_that_does_not_give_what_it_declares_is_different(model, spoil, tmp_path):
    spoil += [folded, lambda arrays: arrays.pop(TAP_PREFIX + "segformer.encoder.layer_norm.1")]
    code, report = run(model, tmp_path, "--candidates", "tf_segformer/folded", "--dtype", "float64")
    assert code == 1
    (row,) = [row for row in report["lanes"][0]["rows"] if not row["passed"]]
    assert row["name"] == "segformer.encoder.layer_norm.1" and "missing tap" in row["note"]


def test_leaving_everything_out_is_no_pass(model, spoil, tmp_path):
    code, report = run(model, tmp_path, "--without", ",".join(LEVELS))
    assert code == 1
    assert "nothing was compared" in report["lanes"][0]["rows"][0]["note"]


def test_localize(model, spoil, capsys):
    assert cli.app(["localize", model, "--in-process"]) == 0
    assert "Every tap passes." in capsys.readouterr().out
    spoil.append(lambda arrays: arrays[TAP_PREFIX + TAPS[8]].__iadd__(1))
    assert cli.app(["localize", model, "--in-process"]) == 1
    said = capsys.readouterr().out
    assert f"First failing tap (float64): {TAPS[8]}" in said
    assert f"Local fault: on the reference's own input {TAPS[8]} is still off" in said


def test_calibrate_then_run(model, spoil, tmp_path):
    path = tmp_path / "floors.json"
    arguments = ["calibrate", model, "--in-process", "--reason", "a test", "-o", str(path)]
    assert cli.app(arguments) == 0
    content = json.loads(path.read_text())
    assert content["reason"] == "a test"
    assert list(content["taps"]) == list(TAPS)
    assert {"platform", "processor", "cores", "python", "numpy"} <= set(content["machine"])
    code, report = run(model, tmp_path, "--tolerances", str(path), "--dtype", "float32")
    assert code == 0
    assert path.name in report["tolerances"]["noise_source"]


@pytest.mark.parametrize("what", ["input_sha256", "checkpoint_sha256"])
def test_floors_of_something_else_are_refused(model, spoil, tmp_path, what, capsys):
    path = tmp_path / "floors.json"
    cli.app(["calibrate", model, "--in-process", "--reason", "a test", "-o", str(path)])
    path.write_text(json.dumps(json.loads(path.read_text()) | {what: "0" * 64}))
    code, report = run(model, tmp_path, "--tolerances", str(path))
    assert code == 3
    assert what in report["error"]


def test_saved_results_are_compared_later(model, spoil, tmp_path, capsys):
    work = tmp_path / "work"
    assert run(model, tmp_path, "--work", str(work))[0] == 0
    folders = [str(work / name) for name in ("reference-float32", "keras-float32")]
    noise = ["--noise-from", str(work / "reference-float64")]
    assert cli.app(["compare", *folders, *noise]) == 0
    assert cli.app(["compare", *folders]) == 3
    assert "noise floors" in capsys.readouterr().err
    assert cli.app(["compare", *folders, "--levels", "logits"]) == 0
    assert cli.app(["compare", folders[0], str(work / "nothing")]) == 3


def test_results_are_deleted_unless_kept(model, spoil, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert run(model, tmp_path)[0] == 0
    assert not list(tmp_path.glob("parity-*"))


def three_reports(folder):
    names = {"--report": "r.json", "--junit": "r.xml", "--html": "r.html"}
    return [part for option, name in names.items() for part in (option, str(folder / name))]


@pytest.mark.parametrize("verdict", ["equal", "different", "error"])
@pytest.mark.parametrize("command", ["run", "compare"])
def test_every_report_is_written_whatever_became_of_it(model, spoil, tmp_path, command, verdict, capsys):
    out = tmp_path / "new" / "folder"
    if verdict == "different":
        spoil.append(lambda arrays: arrays["logits"].__iadd__(1))
    if command == "run":
        arguments = ["run", "/no/model" if verdict == "error" else model, "--in-process"]
    else:
        work = tmp_path / "work"
        run(model, tmp_path, "--work", str(work))
        if verdict == "error":
            (work / "keras-float64" / "manifest.json").write_text("{}")
        arguments = ["compare", str(work / "reference-float64"), str(work / "keras-float64")]
    code = cli.app([*arguments, *three_reports(out)])
    assert code == {"equal": 0, "different": 1, "error": 3}[verdict]
    report = json.loads((out / "r.json").read_text())
    assert violations(report, schema()) == []
    assert report["verdict"] == verdict
    assert f'data-verdict="{verdict}"' in (out / "r.html").read_text()
    assert ("<img" in (out / "r.html").read_text()) is (verdict != "error")
    junit = (out / "r.xml").read_text()
    assert ("<failure" in junit, "<error" in junit) == (verdict == "different", verdict == "error")
    assert sorted(path.name for path in out.iterdir()) == ["r.html", "r.json", "r.xml"]


def test_a_report_that_cannot_be_written_is_known_before_the_run(model, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "report.html", tmp_path):
        assert cli.app(["run", model, "--html", str(path)]) == 2
        assert "cannot write" in " ".join(capsys.readouterr().err.split())
    same = str(tmp_path / "same")
    assert cli.app(["run", model, "--html", same, "--junit", same]) == 2


def test_a_project_s_thresholds_decide_and_are_reported(model, spoil, tmp_path, monkeypatch, capsys):
    def moved(arrays):
        arrays["logits"] += arrays["logits"].dtype.type(1e-4)

    spoil.append(moved)
    options = ["--dtype", "float32", "--levels", "logits"]
    assert run(model, tmp_path, *options)[0] == 1
    loose = tmp_path / "loose.toml"
    loose.write_text("[tolerances]\nlogits_float32 = 1e-3\n")
    code, report = run(model, tmp_path, *options, "--config", str(loose))
    assert code == 0
    assert (report["tolerances"]["source"], report["tolerances"]["logits_float32_of_scale"]) == (
        "loose.toml",
        1e-3,
    )
    assert "thresholds: loose.toml" in capsys.readouterr().out
    monkeypatch.chdir(tmp_path)
    loose.rename(tmp_path / "parity.toml")
    assert run(model, tmp_path, *options)[0] == 0
    (tmp_path / "parity.toml").write_text("[tolerances]\nlogits = 1\n")
    assert run(model, tmp_path, *options)[0] == 2
