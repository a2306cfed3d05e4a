"""The state of a training on disk: one file, replaced in one step, from which it goes on exactly.

It holds every variable of the model, those of its random draws included, and of the optimizer.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from safetensors import SafetensorError, safe_open

from tf_segformer.atomic_folder import flush
from tf_segformer.weight_writing import save_safetensors

STATE_FILE = "state.safetensors"


class StateError(ValueError):
    """A saved state cannot be read, or is of another training."""


def save_state(path: Path, model: keras.Model, step: int, recipe: dict[str, Any]) -> None:
    """Write the state after `step` steps; a crash leaves the old file or the new one.

    Args:
        path: The file.
        model: Compiled, with an optimizer that is built.
        step: Steps done.
        recipe: What the training was told, ready for JSON; it must be the same to go on.
    """
    arrays = {name: np.array(variable.numpy(), order="C") for name, variable in _variables(model)}
    partial = path.with_name(f".{path.name}.partial")
    save_safetensors(partial, arrays, {"step": str(step), "recipe": json.dumps(recipe)})
    flush(partial)
    partial.replace(path)
    flush(path.parent)


def read_state(path: Path) -> tuple[int, dict[str, Any]]:
    """The steps done and the recipe of a state file.

    Raises:
        StateError: there is none, or it cannot be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata() or {}
        return int(metadata["step"]), json.loads(metadata["recipe"])
    except FileNotFoundError as error:
        raise StateError(
            f"{path.parent} holds no {path.name}, so there is no training to go on with. Leave --resume out "
            "to begin one, or give the --output of the one that was interrupted."
        ) from error
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise StateError(
            f"{path} is not the state of a training ({type(error).__name__}: {error}). Begin anew in another "
            "folder."
        ) from error


def load_state(path: Path, model: keras.Model) -> None:
    """Restore the variables of the model and its optimizer.

    Raises:
        StateError: the file holds other variables, or others' shapes.
    """
    variables = dict(_variables(model))
    with safe_open(path, framework="np") as file:
        found = set(file.keys())
        if found != set(variables):
            different = sorted(found ^ set(variables))
            raise StateError(
                f"{path} is of another model or optimizer: {len(different)} variables differ, the first "
                f"being {', '.join(different[:3])}."
            )
        for name, variable in variables.items():
            array = file.get_tensor(name)
            if array.shape != tuple(variable.shape):
                raise StateError(
                    f"{path}: {name} has shape {array.shape}; this model's has {tuple(variable.shape)}."
                )
            variable.assign(array)


def _variables(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    """Every variable under a name of its own.

    Keras numbers the states of random draws through the whole process, so their place stands for the number.
    """
    for owner, variables in (("model", model.variables), ("optimizer", model.optimizer.variables)):
        for place, variable in enumerate(variables):
            path = re.sub(r"seed_generator_\d+", "seed_generator", variable.path)
            yield f"{owner}.{place:04d}.{path}", variable


def remove_partial(folder: Path) -> None:
    """Remove what a crash left half written."""
    (folder / f".{STATE_FILE}.partial").unlink(missing_ok=True)


def append_line(path: Path, line: str) -> None:
    """Append a line to a text file and have it written to the disk."""
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())
