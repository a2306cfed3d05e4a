import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from serving.cli import app

runner = CliRunner()


def test_export_prints_what_was_made_and_how_to_go_on(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = runner.invoke(
        app, ["export", str(checkpoint), "models/tiny", "--version", "4", "--batch-size", "2"]
    )
    assert result.exit_code == 0, result.output
    assert "Published models/tiny/4" in result.output
    assert "serving_default: image_bytes string[?] →" in result.output
    manifest = json.loads((tmp_path / "models/tiny/4/assets.extra/manifest.json").read_text())
    assert manifest["batch_sizes"] == [2]
    docker = re.search(r"docker run .*", result.output)[0]
    batching = re.search(r"--batching_parameters_file=/models/tiny/(\S+)", docker)[1]
    assert (tmp_path / "models/tiny" / batching).is_file()
    assert f"-v {tmp_path}/models/tiny:/models/tiny" in docker
    assert ":predict" in result.output


@pytest.mark.usefixtures("open_session")
def test_the_printed_check_command_runs(version_dir, tmp_path, monkeypatch):
    """In this process; each export runs the script in one of its own."""
    from PIL import Image

    from serving import session_check
    from serving.cli import _summary

    photo = tmp_path / "photo.jpg"
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.full((40, 60, 3), 99, np.uint8)).save(photo)
    (command,) = re.findall(r"python (\S*session_check.py .*)", _summary(version_dir))
    script, *arguments = shlex.split(command)
    assert Path(script).samefile(session_check.__file__)
    assert session_check.main(arguments) == 0
    assert (tmp_path / "answers.npz").is_file()


def test_errors_are_one_line_and_exit_code_1(checkpoint, tmp_path):
    (tmp_path / "b0" / "3").mkdir(parents=True)
    for arguments, message in [
        (["export", str(checkpoint), str(tmp_path / "b0"), "--version", "3"], "never overwritten"),
        (["export", str(checkpoint), str(tmp_path / "7")], "--version 7"),
        (["export", str(tmp_path / "none"), str(tmp_path / "x")], "none"),
        (["export", str(checkpoint), str(tmp_path / "x"), "--batch-size", "0"], "batch sizes"),
        (
            ["export", str(checkpoint), str(tmp_path / "x"), "--precision=bfloat16", "--weights=float16"],
            "Leave one of the two out",
        ),
    ]:
        result = runner.invoke(app, arguments)
        assert result.exit_code == 1, (arguments, result.output)
        assert result.stderr.startswith("error: "), result.stderr
        assert message in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "x").exists()


def test_usage_errors_exit_with_2():
    assert runner.invoke(app, ["export"]).exit_code == 2


def test_the_choices_are_those_of_the_graph():
    """They are spelled out in the command line, so that --help needs no TensorFlow."""
    import inspect

    from serving import cli
    from serving.options import MAX_BYTES, MAX_PIXELS, MEASURES, PRECISIONS, WEIGHTS
    from tf_segformer.resampling import PASS_ORDERS
    from tf_segformer.resizing import POLICIES

    for choices, known in (
        (cli.Resizing, POLICIES),
        (cli.Pillow, PASS_ORDERS),
        (cli.Confidence, MEASURES),
        (cli.Precision, PRECISIONS),
        (cli.Weights, WEIGHTS),
    ):
        assert {choice.value for choice in choices} == set(known)
    parameters = inspect.signature(cli.export).parameters
    assert parameters["max_pixels"].default == MAX_PIXELS
    assert parameters["max_bytes"].default == MAX_BYTES
