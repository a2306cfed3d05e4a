"""From image files' bytes to label maps: an export in a Session against the PyTorch pipeline."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from parity.cli import DIFFERENT, EQUAL, app
from parity.files import KINDS, FileResult, compare_files, files_table, generated_files
from tests.parity.generated_dataset import write_ade20k
from torch_ref import Reference

FIXTURES = Path(__file__).parents[1] / "fixtures"
PHOTOS = sorted(path for path in (FIXTURES / "photos").iterdir() if path.suffix in (".jpg", ".png"))


def test_photographs_and_files_of_every_kind(checkpoint, served, tmp_path):
    files = [(path.name, "photograph", path.read_bytes()) for path in PHOTOS]
    files += generated_files(2 * len(KINDS), 0, tmp_path)
    results = list(compare_files(Reference.from_pretrained(checkpoint), served, files))
    assert {result.kind for result in results} == {"photograph", *KINDS}
    for result in results:
        assert result.agrees, result
    assert sum(result.pixels for result in results) > 2_000_000


@pytest.mark.usefixtures("open_session")
def test_a_different_model_is_found_and_said(checkpoint, version_dir, tmp_path, capsys):
    """The same weights, but the reference resizes by another filter."""
    other = shutil.copytree(checkpoint, tmp_path / "other")
    processing = json.loads((checkpoint / "preprocessor_config.json").read_text())
    (other / "preprocessor_config.json").write_text(json.dumps({**processing, "resample": 3}))
    assert app(["files", str(other), str(version_dir), "--count", "1"]) == DIFFERENT
    assert app(["files", str(checkpoint), str(version_dir), "--count", "1"]) == EQUAL
    assert "| JPEG | 1 |" in capsys.readouterr().out


@pytest.mark.usefixtures("open_session")
def test_the_miou_of_an_export(checkpoint, version_dir, tmp_path, capsys):
    data = write_ade20k(tmp_path / "ade", count=2)
    images, masks = (str(data / kind / "validation") for kind in ("images", "annotations"))
    arguments = ["miou", str(checkpoint), "--images", images, "--annotations", masks, "--reduce-zero-label"]
    arguments += ["--saved-model", str(version_dir), "--report", str(tmp_path / "report.json")]
    assert app(arguments) == EQUAL, capsys.readouterr().out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["settings"]["candidate"]["side"] == "saved_model"
    assert report["evaluation"]["difference"] == 0.0
    checked = {check["name"] for check in report["evaluation"]["checks"]}
    assert "logits" in checked


def test_the_table_adds_up_and_shows_the_worst():
    one = FileResult("a", "PNG", 100, 3, 3, margin=1e-7, error=1e-6, scale=2.0)
    table = files_table([one, replace(one, pixels=50, different=1, ties=0, margin=0.5)])
    assert table.splitlines()[-1] == "| all | 2 | 150 | 4 | 3 | 2.5e-01 | 5.0e-07 |"


@pytest.mark.slow
def test_hundreds_of_files_through_b0(tmp_path):
    from serving.export import export_saved_model
    from torch_ref import write_seeded_checkpoint

    write_seeded_checkpoint(tmp_path / "b0", "b0")
    version = export_saved_model(tmp_path / "b0", tmp_path / "models" / "b0", batch_sizes=[1])
    images = [part for path in PHOTOS for part in ("--image", str(path))]
    command = [sys.executable, "-m", "parity", "files", str(tmp_path / "b0"), str(version), *images]
    run = subprocess.run(command, capture_output=True, text=True)
    print(run.stdout)
    assert run.returncode == EQUAL, run.stdout + run.stderr[-2000:]
