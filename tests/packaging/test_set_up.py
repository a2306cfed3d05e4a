"""The set-up that `make demo` and `make test` share: which Python, and when an environment counts as made."""

import importlib.util
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


# tools/find-python.sh ----------------------------------------------------------------------------


@pytest.fixture
def find_python(tmp_path):
    """Run the script on a PATH that holds only stand-ins for Python, given as name: version."""
    (tmp_path / "sed").symlink_to(shutil.which("sed"))

    def run(pythons, chosen="", without_venv=()):
        for name, version in pythons.items():
            stand_in = tmp_path / name
            ensurepip = 1 if name in without_venv else 0
            stand_in.write_text(
                f"#!/bin/sh\ncase $2 in *version_info*) echo {version};; *) exit {ensurepip};; esac\n"
            )
            stand_in.chmod(0o755)
        command = ["/bin/sh", ROOT / "tools" / "find-python.sh", "3.11", "3.13"]
        env = {"PATH": str(tmp_path), "PYTHON": chosen}
        return subprocess.run(command, env=env, capture_output=True, text=True)

    return run


@pytest.mark.parametrize(
    ("pythons", "expected"),
    [
        ({"python3": "3.12", "python3.13": "3.13"}, "python3"),
        ({"python3": "3.10", "python3.11": "3.11", "python3.13": "3.13"}, "python3.13"),
        ({"python3": "3.14", "python3.11": "3.11"}, "python3.11"),
        ({"python": "3.11"}, "python"),
    ],
)
def test_the_users_python3_comes_first_then_the_newest_that_fits(find_python, tmp_path, pythons, expected):
    answer = find_python(pythons)
    assert (answer.returncode, answer.stdout) == (0, f"{tmp_path / expected}\n")


@pytest.mark.parametrize("version", ["3.10", "3.14", "2.7", "4.12"])
def test_a_python_that_is_too_old_or_too_new_is_named_with_the_fix(find_python, version):
    answer = find_python({"python3": version})
    assert answer.returncode == 1
    assert f"python3 is {version}" in answer.stderr
    assert "needs Python 3.11 to 3.13" in answer.stderr
    assert "make PYTHON=" in answer.stderr


def test_a_python_that_is_named_is_the_only_one_tried(find_python):
    answer = find_python({"python3": "3.12", "mine": "3.9"}, chosen="mine")
    assert answer.returncode == 1
    assert "mine is 3.9" in answer.stderr


def test_a_python_without_venv_is_passed_over_and_named(find_python, tmp_path):
    pythons = {"python3": "3.12", "python3.11": "3.11"}
    assert find_python(pythons, without_venv=["python3"]).stdout == f"{tmp_path / 'python3.11'}\n"
    answer = find_python(pythons, without_venv=["python3", "python3.11"])
    assert answer.returncode == 1
    assert "apt install python3.12-venv" in answer.stderr


def test_no_python_at_all_is_said(find_python):
    answer = find_python({})
    assert answer.returncode == 1
    assert "no Python at all" in answer.stderr


# tools/environment.py ----------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch):
    spec = importlib.util.spec_from_file_location("environment", ROOT / "tools" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    monkeypatch.setattr(module.platform, "machine", lambda: "x86_64")
    return module


@pytest.fixture
def set_up(environment, monkeypatch, tmp_path):
    """Run the command line with `make` replaced: no download. Returns the exit status."""
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("# download, Linux x86_64: 3.4 GB\ntorch==2.13.0\n")
    made = []

    def run(failure=None, pins=None):
        def make(folder, *_):
            made.append(folder)
            (folder / "bin").mkdir(parents=True)
            (folder / "made-by-make").touch()
            (folder / "bin" / "python").symlink_to(sys.executable)
            if failure:
                raise failure

        if pins:
            constraints.write_text(pins)
        arguments = [str(tmp_path / "venv"), "--constraints", str(constraints), "--install", "numpy"]
        monkeypatch.setattr(environment, "make", make)
        monkeypatch.setattr(sys, "argv", ["environment.py", *arguments])
        return environment.main()

    run.made, run.folder = made, tmp_path / "venv"
    return run


def test_an_environment_is_made_once(set_up, capsys):
    assert set_up() == 0
    said = capsys.readouterr().out
    assert "3.4 GB" in said and "TORCH_INDEX" in said and f"Made {set_up.folder}" in said
    assert set_up() == 0
    assert capsys.readouterr().out == ""
    assert len(set_up.made) == 1


def test_changed_pins_make_it_anew(set_up):
    assert set_up() == 0
    assert set_up(pins="torch==2.14.0\n") == 0
    assert len(set_up.made) == 2


@pytest.mark.parametrize(
    ("failure", "status"), [(subprocess.CalledProcessError(1, "pip"), 1), (KeyboardInterrupt(), 130)]
)
def test_a_set_up_that_did_not_finish_is_never_used(set_up, capsys, failure, status):
    assert set_up(failure=failure) == status
    assert "made anew the next time" in capsys.readouterr().err
    assert set_up() == 0
    assert len(set_up.made) == 2


def test_a_set_up_that_was_killed_is_never_used(set_up):
    (set_up.folder / "bin").mkdir(parents=True)
    (set_up.folder / "made-by-make").touch()
    assert set_up() == 0
    assert len(set_up.made) == 1


def test_an_environment_that_was_moved_or_lost_its_python_is_made_anew(set_up):
    assert set_up() == 0
    (set_up.folder / "bin" / "python").unlink()
    assert set_up() == 0
    stamp = set_up.folder / "complete.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"folder": "/elsewhere/.venv"}))
    assert set_up() == 0
    assert len(set_up.made) == 3


def test_a_folder_of_the_user_is_left_alone(set_up, capsys):
    (set_up.folder / "bin").mkdir(parents=True)
    (set_up.folder / "precious").touch()
    assert set_up() == 1
    assert "VENV=" in capsys.readouterr().err
    assert (set_up.folder / "precious").exists()
    assert not set_up.made


@pytest.mark.parametrize(
    ("variable", "value"),
    [("KERAS_BACKEND", "jax"), ("KERAS_BACKEND", "torch"), ("TF_USE_LEGACY_KERAS", "1")],
)
def test_settings_that_cannot_work_are_refused_before_any_download(
    set_up, monkeypatch, capsys, variable, value
):
    monkeypatch.setenv(variable, value)
    assert set_up() == 1
    assert f"unset {variable}" in capsys.readouterr().err
    assert not set_up.made


def test_a_machine_without_packages_is_refused_before_any_download(set_up, environment, monkeypatch, capsys):
    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    assert set_up() == 1
    assert "Darwin x86_64" in capsys.readouterr().err
    assert not set_up.made


def test_lint_settings_do_not_change_the_fingerprint_but_dependencies_do(environment, monkeypatch, tmp_path):
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("numpy==2.4.6\n")
    text = (ROOT / "pyproject.toml").read_text()

    def fingerprint(project):
        (tmp_path / "pyproject.toml").write_text(project)
        return environment.fingerprint(constraints, [".[dev]"])

    monkeypatch.setattr(environment, "ROOT", tmp_path)
    before = fingerprint(text)
    assert fingerprint(text.replace("[tool.ruff]", "[tool.ruff]\nfix = false")) == before
    assert fingerprint(text.replace('"numpy>=', '"scipy",\n    "numpy>=')) != before


# Makefile ----------------------------------------------------------------------------------------


def run_make(*arguments):
    # Without what an outer `make test` was given.
    outer = {"MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS", "MODEL", "PYTEST", "PYTHON", "TORCH_INDEX"}
    env = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=env, capture_output=True, text=True)


def test_help_is_the_default_and_lists_every_target():
    shown = run_make().stdout
    makefile = (ROOT / "Makefile").read_text()
    phony = [line.split()[1:] for line in makefile.splitlines() if line.startswith(".PHONY:")]
    for target in itertools.chain.from_iterable(phony):
        assert target == "help" or f"  make {target} " in shown


def test_the_demo_takes_its_model_and_torch_its_index_from_variables():
    plain = run_make("--dry-run", "demo").stdout
    assert "--model" not in plain and "--torch-index" not in plain
    chosen = run_make("--dry-run", "demo", "MODEL=some/hub-id", "TORCH_INDEX=https://example.org/cpu").stdout
    assert "--model 'some/hub-id'" in chosen and "--torch-index 'https://example.org/cpu'" in chosen


def test_a_wrong_python_stops_make_at_once():
    answer = run_make("demo", "PYTHON=/bin/false")
    assert answer.returncode == 2
    assert "this needs Python 3.11 to 3.13" in answer.stderr
