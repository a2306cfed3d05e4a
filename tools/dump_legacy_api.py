"""Dump the API that users of the TensorFlow SegFormer rely on, as transformers itself declares it.

    make legacy-api

which runs, in the environment of `make legacy-environment`,

    .venvs/legacy/bin/python tools/dump_legacy_api.py tests/migration/legacy_api.json

Only what `inspect` shows is written: names, arguments and their defaults.
"""

import enum
import inspect
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "1"

CLASSES = (
    "TFSegformerModel",
    "TFSegformerForImageClassification",
    "TFSegformerForSemanticSegmentation",
    "TFSegformerDecodeHead",
    "TFSegformerPreTrainedModel",
    "TFAutoModelForImageClassification",
    "TFAutoModelForSemanticSegmentation",
    "SegformerImageProcessor",
    "SegformerFeatureExtractor",
)
# These two are no names of the package itself.
OUTPUTS = {
    "TFBaseModelOutput": "transformers.modeling_tf_outputs",
    "TFSequenceClassifierOutput": "transformers.modeling_tf_outputs",
    "TFSemanticSegmenterOutput": "transformers.modeling_tf_outputs",
}


def default(value: Any) -> Any:
    """A default as JSON has it."""
    value = value.value if isinstance(value, enum.Enum) else value
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def parameters(function: Any) -> list[dict[str, Any]]:
    """Every argument but `self`, in order: its name, its kind, and its default if it has one."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        entry: dict[str, Any] = {"name": parameter.name, "kind": parameter.kind.name}
        if parameter.default is not parameter.empty:
            entry["default"] = default(parameter.default)
        found.append(entry)
    return found


def members(cls: type) -> dict[str, Any]:
    """The public members that transformers itself defines, with the arguments of those that are called."""
    found: dict[str, Any] = {}
    for name in sorted(dir(cls)):
        if name.startswith("_") and name not in ("__init__", "__call__"):
            continue
        owner = next((base for base in cls.__mro__ if name in vars(base)), None)
        if owner is None or not owner.__module__.startswith("transformers"):
            continue
        value = getattr(cls, name)
        called = inspect.isroutine(value)
        found[name] = {"arguments": parameters(value)} if called else {}
    return found


def main() -> None:
    """Write the file that the command line names."""
    import importlib

    import transformers

    classes: dict[str, dict[str, Any]] = {
        name: {"members": members(getattr(transformers, name))} for name in CLASSES
    }
    for name, module in OUTPUTS.items():
        output: type = getattr(importlib.import_module(module), name)
        classes[name] = {"fields": [field.name for field in fields(output)], "members": members(output)}
    dump = {"transformers": transformers.__version__, "command": "make legacy-api", "classes": classes}
    Path(sys.argv[1]).write_text(json.dumps(dump, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
