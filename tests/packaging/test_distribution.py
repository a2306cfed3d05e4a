"""Wheel and sdist, and what each extra promises, alone in a clean environment.

Slow: each extra is an environment of up to 3 GB, which is deleted when its test ends.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("tf_segformer", "torch_ref", "parity", "serving")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
TINY = ROOT / "tests" / "fixtures" / "segmentation_tiny"
TENSORFLOW = {"tensorflow", "keras"}
TORCH = {"torch", "torchvision"}
TEST_TOOLS = {"pytest", "hypothesis", "mypy", "ruff"}

pytestmark = pytest.mark.slow

LOAD = """
import numpy as np, sys
from tf_segformer import TFSegformerForSemanticSegmentation
model = TFSegformerForSemanticSegmentation.from_pretrained(sys.argv[1])
assert model(np.zeros((1, 3, 64, 64), np.float32)).logits.shape == (1, 11, 16, 16)
from tf_segformer.labels import ADE20K
assert len(ADE20K.names) == 150
"""
REFERENCE = """
import numpy as np, sys
from torch_ref import Reference
reference = Reference.from_pretrained(sys.argv[1])
assert reference.forward(np.zeros((1, 3, 64, 64), np.float32)).logits.shape == (1, 11, 16, 16)
"""

# extra: (what must work there, as arguments of Python; distributions that must not be there)
PROMISES = {
    "": (
        [["-c", "import parity, serving.session_check"]],
        TENSORFLOW | TORCH | TEST_TOOLS | {"transformers"},
    ),
    "tf": ([["-c", LOAD, TINY / "renamed_keys_safetensors"]], TORCH | TEST_TOOLS),
    "serving": (
        [
            ["-m", "serving", "export", TINY, "models/tiny"],
            [ROOT / "serving" / "session_check.py", "models/tiny/1"],
        ],
        TORCH | TEST_TOOLS,
    ),
    "torch": ([["-c", "import torch"]], TENSORFLOW | TEST_TOOLS),
    "tf,torch": ([["-c", LOAD, TINY / "sharded_bin"]], TEST_TOOLS),
    "reference": ([["-c", REFERENCE, TINY], ["-m", "torch_ref", "--help"]], TENSORFLOW | TEST_TOOLS),
    "parity": ([["-m", "parity", "run", TINY]], TEST_TOOLS),
    "dev": ([["-m", tool, "--version"] for tool in sorted(TEST_TOOLS - {"hypothesis"})], set()),
}


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A wheel made from the sdist, and the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def tracked(*paths):
    command = ["git", "ls-files", "--", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return set(listed.splitlines())


def test_the_wheel_has_every_file_of_the_packages_and_no_other(built):
    names = set(zipfile.ZipFile(built[0]).namelist())
    content = {name for name in names if ".dist-info/" not in name}
    assert content == tracked(*PACKAGES)
    assert {f"{package}/py.typed" for package in PACKAGES} <= content
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_sdist_is_the_whole_project(built):
    with tarfile.open(built[1]) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert tracked() - names <= {".gitignore"}


def test_every_extra_has_a_promise():
    assert EXTRAS.keys() <= PROMISES.keys()


@pytest.mark.parametrize("extra", PROMISES)
def test_an_extra_keeps_its_promise_alone(extra, built, tmp_path):
    promises, absent = PROMISES[extra]
    environment = tmp_path / "environment"
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    pip += ["--constraint", ROOT / "constraints.txt"]
    try:
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        wants_torch = any("torch" in part for part in _requirements(extra))
        if wants_torch and os.environ.get("TORCH_INDEX"):
            subprocess.run([*pip, "--no-deps", "--index-url", os.environ["TORCH_INDEX"], "torch"], check=True)
        subprocess.run([*pip, f"{built[0]}[{extra}]" if extra else built[0]], check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        listed = subprocess.check_output([python, "-m", "pip", "list", "--format=json"])
        assert not absent & {item["name"].lower() for item in json.loads(listed)}
        for arguments in promises:
            # Outside the project, so that the installed packages are what is imported.
            answer = subprocess.run([python, *arguments], cwd=tmp_path, capture_output=True, text=True)
            assert answer.returncode == 0, answer.stdout + answer.stderr
    finally:
        shutil.rmtree(environment, ignore_errors=True)


def _requirements(extra):
    """The extra's requirements, those of the extras it names included."""
    for name in filter(None, extra.split(",")):
        for requirement in EXTRAS[name]:
            inner = requirement.removeprefix("tf-segformer[").rstrip("]")
            yield from [requirement] if inner == requirement else _requirements(inner)
