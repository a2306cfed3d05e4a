"""What the pages and the example workflow tell people to type is what the command line takes."""

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from parity.cli import commands
from parity.compare import LEVELS
from parity.pytest_plugin import pytest_addoption
from parity.runners import CANDIDATES
from parity.thresholds import Thresholds, load_thresholds

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "docs" / "ci.md", ROOT / "docs" / "miou.md", ROOT / "README.md"]
WORKFLOW = ROOT / "examples" / "github-actions-parity.yml"
PUBLISHED = ROOT / "examples" / "github-actions-published.yml"


def options_of(name):
    command = typer.main.get_command(commands).commands[name]
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


def parity_commands(text):
    return re.findall(r"^python -m parity (\S+)(.*)$", text, re.MULTILINE)


def workflow_commands(path=WORKFLOW):
    (job,) = yaml.safe_load(path.read_text())["jobs"].values()
    steps = job["steps"]
    return [line for step in steps for line in step.get("run", "").splitlines()]


@pytest.mark.parametrize(
    "text",
    [
        *(page.read_text() for page in PAGES),
        *("\n".join(workflow_commands(path)) for path in (WORKFLOW, PUBLISHED)),
    ],
)
def test_every_command_has_the_options_it_is_shown_with(text):
    found = parity_commands(text)
    assert found
    for name, arguments in found:
        words = shlex.split(arguments.partition("#")[0])
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= options_of(name), (name, given - options_of(name))


def test_the_workflow_uses_the_plugin_s_options_and_keeps_the_reports():
    class Group:
        names: list = []  # noqa: RUF012

        def addoption(self, name, **_):
            self.names.append(name)

    class Parser:
        def getgroup(self, *_):
            return Group()

    pytest_addoption(Parser())
    text = "\n".join(workflow_commands())
    assert set(re.findall(r"--parity-[a-z-]+", text)) <= {*Group.names}
    assert {*Group.names} == set(re.findall(r"`(--parity-[a-z-]+)", (ROOT / "docs" / "ci.md").read_text()))
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["parity"]["steps"]
    (upload,) = [step for step in steps if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    assert all(part.startswith(upload["with"]["path"]) for part in re.findall(r"out/\S+", text))


def test_the_example_of_thresholds_is_read_and_is_the_defaults(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    path = tmp_path / "parity.toml"
    path.write_text(block)
    found, default = load_thresholds(path), Thresholds()
    assert (found.max_miou_difference, found.min_agreement) == (0.0005, 0.9999)
    for name in (
        "logits_float32",
        "taps_float32",
        "float64",
        "gradients_float32",
        "gradients_float64",
        "max_unexplained",
    ):
        assert getattr(found, name) == getattr(default, name)
    assert found.pixels == pytest.approx(default.pixels, rel=0.01)


def test_the_examples_of_tests_are_python():
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "ci.md").read_text(), re.DOTALL)
    assert len([node for node in ast.parse(block).body if isinstance(node, ast.FunctionDef)]) == 5


def test_the_page_names_every_candidate_and_level():
    text = (ROOT / "docs" / "ci.md").read_text()
    named = set(re.findall(r"`([a-z_/]+)`", text))
    assert {*CANDIDATES, *LEVELS} <= named


def test_the_workflow_of_the_published_checkpoints_keeps_its_reports():
    (job,) = yaml.safe_load(PUBLISHED.read_text())["jobs"].values()
    (upload,) = [step for step in job["steps"] if "upload-artifact" in step.get("uses", "")]
    assert upload["if"] == "always()"
    written = re.findall(r"--(?:pin|report|junit) (\S+)", "\n".join(workflow_commands(PUBLISHED)))
    assert len(written) == 3
    assert all(path.startswith(upload["with"]["path"]) for path in written)
