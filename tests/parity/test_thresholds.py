from dataclasses import replace

import pytest
import typer

from parity import cli
from parity.compare import compare_lane
from parity.fault_list import FAULTS
from parity.files import FileResult
from parity.thresholds import ThresholdError, Thresholds, find_thresholds, load_thresholds
from tests.parity.synthetic import TAPS, floors, result

WHOLE = """
[tolerances]
logits_float32 = 1e-5
taps_float32 = 16
float64 = 1e-11
pixels = 1e-6
gradients_float32 = 1e-3
gradients_float64 = 1e-9

[miou]
max_unexplained = 1e-5
max_difference = 0.0005
min_agreement = 0.9999
"""


def written(tmp_path, text):
    path = tmp_path / "parity.toml"
    path.write_text(text)
    return path


def test_every_key_is_read(tmp_path):
    assert load_thresholds(written(tmp_path, WHOLE)) == Thresholds(
        1e-5, 16.0, 1e-11, 1e-6, 1e-3, 1e-9, 1e-5, 0.0005, 0.9999, "parity.toml"
    )


def test_files_are_judged_by_a_project_s_own_gates():
    found = FileResult("a", "PNG", 100, 3, 2, margin=1e-7, error=1e-5, scale=2.0)
    assert not found.agrees
    assert not replace(found, thresholds=Thresholds(logits_float32=1e-5)).agrees
    assert not replace(found, thresholds=Thresholds(max_unexplained=0.01)).agrees
    assert replace(found, thresholds=Thresholds(logits_float32=1e-5, max_unexplained=0.01)).agrees


def test_loose_gates_let_faults_through(tmp_path, monkeypatch, capsys):
    """What `parity faults --config` is for; the tests of planted faults have the harness's own gates."""
    kept = [fault for fault in FAULTS if fault.name in ("LayerNorm epsilon 1e-6", "a bias forgotten")]
    assert len(kept) == 2
    monkeypatch.setattr(cli, "FAULTS", kept)
    loose = written(tmp_path, "[tolerances]\nfloat64 = 1e-3\ntaps_float32 = 1e4\nlogits_float32 = 1e-2\n")
    assert cli.app(["faults", "--config", str(loose)]) == 1
    said = capsys.readouterr()
    assert "1 of 2 caught by name" in said.out and "thresholds: parity.toml" in said.err
    assert cli.app(["faults", "--config", str(tmp_path / "none.toml")]) == 2


@pytest.mark.parametrize("command", ["localize", "table", "files", "faults", "published", "gradients"])
def test_every_command_that_judges_takes_the_file(command):
    parameters = typer.main.get_command(cli.commands).commands[command].params
    assert "--config" in {option for each in parameters for option in each.opts}


def test_what_is_left_out_has_its_default(tmp_path):
    found = load_thresholds(written(tmp_path, "[miou]\nmin_agreement = 1\n"))
    assert found == Thresholds(min_agreement=1.0, source="parity.toml")


def test_the_file_of_the_working_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_thresholds(None) == Thresholds()
    path = written(tmp_path, WHOLE)
    assert find_thresholds(None).taps_float32 == 16.0
    assert find_thresholds(path) == find_thresholds(None)
    with pytest.raises(ThresholdError, match="cannot read"):
        find_thresholds(tmp_path / "other.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tolerance]\n", "unknown section 'tolerance'; known are tolerances, miou"),
        ("logits_float32 = 1\n", "unknown section 'logits_float32'"),
        ("[tolerances]\nlogits = 1\n", r"unknown key 'logits' in \[tolerances\]; known are logits_float32"),
        ("[tolerances]\nfloat64 = 0\n", "float64 in .* is 0; expected a number above 0"),
        ("[tolerances]\nfloat64 = nan\n", "is nan"),
        ("[tolerances]\nfloat64 = inf\n", "is inf"),
        ("[tolerances]\nfloat64 = true\n", "is True"),
        ("[tolerances]\nfloat64 = '1'\n", "is '1'"),
        ("[miou]\nmin_agreement = 99.9\n", "expected a share, 0 to 1"),
        ("[miou]\nmax_unexplained = -1\n", "expected a share, 0 to 1"),
        ("[miou\n", "cannot read"),
        ("\udcff", "cannot read"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text, message):
    path = tmp_path / "parity.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ThresholdError, match=message):
        load_thresholds(path)


@pytest.mark.parametrize(
    ("dtype", "name", "moved", "gates"),
    [
        ("float32", "logits", 1e-4, Thresholds(logits_float32=1e-3)),
        ("float32", "pixels", 1e-4, Thresholds(pixels=1e-3)),
        ("float32", f"taps/{TAPS[4]}", 1e-4, Thresholds(taps_float32=1000)),
        ("float64", f"taps/{TAPS[4]}", 1e-10, Thresholds(float64=1e-9)),
        ("float64", "logits", 1e-10, Thresholds(float64=1e-9)),
    ],
)
def test_a_project_s_own_gate_decides(dtype, name, moved, gates):
    candidate = result(dtype, "tf_segformer")
    candidate.arrays[name].flat[3] += moved
    level = name.partition("/")[0]
    options = {"levels": (level,), "floors": floors(1e-6), "exact": result("float64")}
    assert not compare_lane(result(dtype), candidate, **options).equal
    assert compare_lane(result(dtype), candidate, thresholds=gates, **options).equal
