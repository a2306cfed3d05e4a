"""Ranges in pyproject.toml and exact pins in the constraints files agree with each other."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tf_segformer.environment import PYTHON_RANGE

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONSTRAINTS = [ROOT / "constraints.txt", *sorted((ROOT / "tests" / "environments").glob("*.txt"))]


def pins(path):
    return [Requirement(line) for line in path.read_text().splitlines() if not line.startswith("#")]


def ids(path):
    return path.name


@pytest.mark.parametrize("path", CONSTRAINTS, ids=ids)
def test_a_pin_is_one_exact_public_version_that_any_machine_can_install(path):
    found = pins(path)
    assert len(found) > 20
    for pin in found:
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), f"{pin}: a local tag or not exact"
        assert pin.url is None and not pin.extras
    unmarked = [pin.name for pin in found if pin.marker is None]
    assert len(unmarked) == len(set(unmarked))


def test_the_benchmark_measures_the_versions_that_are_tested():
    tested, measured = (
        {canonicalize_name(pin.name): str(pin.specifier) for pin in pins(path)}
        for path in (ROOT / "constraints.txt", ROOT / "tests/environments/bench.txt")
    )
    assert tested.items() & measured.items() == {pin for pin in measured.items() if pin[0] in tested}
    assert {"openvino", "onnxruntime", "keras-hub", "tensorflow", "torch"} <= measured.keys()


@pytest.mark.parametrize("extra", [None, *PROJECT["optional-dependencies"]])
def test_every_range_contains_its_pin(extra):
    pinned = {canonicalize_name(pin.name): str(pin.specifier)[2:] for pin in pins(ROOT / "constraints.txt")}
    for line in PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            assert requirement.extras <= PROJECT["optional-dependencies"].keys()
        else:
            assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), line


def test_the_python_range_is_the_same_wherever_it_is_written():
    (oldest, newest) = (f"{major}.{minor}" for major, minor in PYTHON_RANGE)
    major, minor = PYTHON_RANGE[1]
    assert SpecifierSet(PROJECT["requires-python"]) == SpecifierSet(f">={oldest},<{major}.{minor + 1}")
    assert f"find-python.sh {oldest} {newest}" in (ROOT / "Makefile").read_text()
    versions = [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if ":: Python :: 3." in c]
    assert (versions[0], versions[-1]) == (oldest, newest)


def test_the_download_size_is_there_to_be_said():
    text = (ROOT / "constraints.txt").read_text()
    for system in ("Linux x86_64", "Linux aarch64", "Darwin arm64"):
        assert re.search(rf"^# download, {system}: [0-9.]+ GB", text, re.MULTILINE)
