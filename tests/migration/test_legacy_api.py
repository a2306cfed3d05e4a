"""Every name and argument of the legacy API is here, or in `left_out.json` with the reason.

`legacy_api.json` is what `make legacy-api` dumped from transformers itself. That the arguments do what
they did is the business of `test_migration.py` and of the tests of each module.
"""

import enum
import inspect
import json
import re
from pathlib import Path

import pytest

import tf_segformer

HERE = Path(__file__).parent
LEGACY = json.loads((HERE / "legacy_api.json").read_text())
LEFT_OUT = json.loads((HERE / "left_out.json").read_text())
CLASSES = LEGACY["classes"]
MEMBERS = [(name, member) for name, found in CLASSES.items() for member in found["members"]]


def reason(table, *names):
    """The entry under the whole name or under its last parts, whatever the class."""
    return next(
        (LEFT_OUT[table][key] for key in (".".join(names), ".".join(names[1:])) if key in LEFT_OUT[table]),
        None,
    )


def left_out(class_name, member):
    return LEFT_OUT["members"].get(class_name, {}).get(member) or LEFT_OUT["members"]["*"].get(member)


def arguments_of(class_name, member):
    """The legacy method's own arguments, without *args and **kwargs."""
    return [
        argument
        for argument in CLASSES[class_name]["members"][member].get("arguments", [])
        if not argument["kind"].startswith("VAR_")
    ]


def test_the_dump_is_of_the_last_transformers_with_tensorflow():
    assert LEGACY["transformers"] == "4.57.6"
    assert len(CLASSES) == 12
    assert len(MEMBERS) > 250


@pytest.mark.parametrize("class_name", CLASSES)
def test_every_name_is_here_or_left_out_with_a_reason(class_name):
    ours = getattr(tf_segformer, class_name)
    absent = {member for member in CLASSES[class_name]["members"] if not hasattr(ours, member)}
    explained = {member for member in CLASSES[class_name]["members"] if left_out(class_name, member)}
    assert absent - explained == set(), "neither here nor in left_out.json"
    assert explained - absent == set(), "here: delete the entry in left_out.json"


@pytest.mark.parametrize(("class_name", "member"), MEMBERS)
def test_every_argument_is_here_or_left_out_with_a_reason(class_name, member):
    if left_out(class_name, member):
        return
    ours = getattr(getattr(tf_segformer, class_name), member)
    wanted = arguments_of(class_name, member)
    if isinstance(ours, property):
        # a value there and here, but for serving, a tf.function of one argument
        assert [argument["name"] for argument in wanted] == (["inputs"] if member == "serving" else [])
        return
    if not callable(ours):
        assert not wanted
        return
    found = inspect.signature(ours).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in found.values())
    positional = []
    for argument in wanted:
        name = argument["name"]
        if name not in found:
            through = takes_any and reason("through_kwargs", class_name, member, name)
            assert through or reason("arguments", class_name, member, name), f"{name} is missing"
            continue
        assert not reason("arguments", class_name, member, name), f"{name} is here: delete its entry"
        parameter = found[name]
        if argument["kind"] == "POSITIONAL_OR_KEYWORD":
            assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, name
            positional.append(name)
        if not reason("defaults", class_name, member, name):
            default = parameter.default
            default = default.value if isinstance(default, enum.Enum) else default
            assert (default is parameter.empty) == ("default" not in argument), name
            assert argument.get("default", default) == default, name
    order = [name for name in found if name in positional]
    assert order == positional, "the order of positional arguments"


@pytest.mark.parametrize("class_name", [name for name, found in CLASSES.items() if "fields" in found])
def test_outputs_have_the_legacy_fields_in_their_order(class_name):
    fields = getattr(tf_segformer, class_name).__dataclass_fields__
    assert list(fields) == CLASSES[class_name]["fields"]


def test_every_entry_of_the_list_names_something_of_the_legacy_api():
    for class_name, entries in LEFT_OUT["members"].items():
        classes = CLASSES.values() if class_name == "*" else [CLASSES[class_name]]
        for member in entries:
            assert any(member in found["members"] for found in classes), f"{class_name}.{member}"
    known = {
        f"{class_name}.{member}.{argument['name']}"
        for class_name, member in MEMBERS
        for argument in arguments_of(class_name, member)
    }
    for table in ("arguments", "through_kwargs", "defaults"):
        for name in LEFT_OUT[table].keys() - {"about"}:
            assert any(each == name or each.endswith(f".{name}") for each in known), name


def test_every_legacy_fault_is_in_the_guide_and_shown_by_a_test():
    tests = (HERE / "test_migration.py").read_text()
    guide = (HERE.parents[1] / "docs" / "migrating.md").read_text()
    shown = {int(number) for number in re.findall(r"^@legacy_fault\((\d+)\)", tests, re.MULTILINE)}
    told = {int(number) for number in re.findall(r"^\| (\d+) \|", guide, re.MULTILINE)}
    assert shown == told == set(range(1, 10))
