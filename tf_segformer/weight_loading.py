"""Assigns a checkpoint's weights to a model: all of them or none, and says what was new or left out."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tf_segformer.weights import Checkpoint, CheckpointError, published_key, weights_by_key

# Keys that no variable takes, each with its reason.
IGNORED = {
    r"\.num_batches_tracked$": "PyTorch's count of training batches; used only with momentum=None",
}
# The heads a checkpoint may carry for another task than the model's.
_HEADS = ("decode_head.", "classifier.")


@dataclass(frozen=True)
class LoadingInfo:
    """What `load_weights` did besides assigning each weight its value. Keys are the published PyTorch ones.

    Attributes:
        missing_keys: Weights of a head that the checkpoint does not have; they are new.
        unexpected_keys: Weights of a head that the model does not have; they were left out.
        mismatched_keys: Key, shape found and shape expected (PyTorch's layout) of weights that stay new
            because `ignore_mismatched_sizes` was asked for.
        buffers: Values that PyTorch keeps and Keras has no variable for, kept for the way back.
    """

    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    mismatched_keys: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    buffers: dict[str, np.ndarray] = field(default_factory=dict)

    def as_dict(self) -> dict[str, list[Any]]:
        """The dict that `from_pretrained(..., output_loading_info=True)` returns, as the legacy classes."""
        return {
            "missing_keys": self.missing_keys,
            "unexpected_keys": self.unexpected_keys,
            "mismatched_keys": self.mismatched_keys,
        }


def load_weights(
    model: keras.Model, checkpoint: Checkpoint, ignore_mismatched_sizes: bool = False
) -> LoadingInfo:
    """Assign every weight of `model` from `checkpoint`, or none of them.

    Args:
        model: A built SegFormer model.
        checkpoint: The PyTorch state dict, in either spelling of its keys.
        ignore_mismatched_sizes: Leave a weight new where the checkpoint's has another shape.

    Raises:
        CheckpointError: weights are missing, unexpected, of the wrong shape or dtype, not finite, or named
            twice. Nothing has been assigned then.
    """
    wanted = weights_by_key(model)
    found = published_keys(checkpoint)
    new_head = _new_head(wanted, found)
    missing = [key for key in wanted if key not in found and key not in new_head]
    buffers = [key for key in found if ignored(key)]
    other_head = [key for key in found if key not in wanted and _is_of_another_head(key, wanted)]
    unexpected = [key for key in found if key not in {*wanted, *buffers, *other_head}]
    shapes = checkpoint.shapes()
    mismatched = [
        (key, tuple(shapes[found[key]]), expected)
        for key, (variable, rule) in wanted.items()
        if key in found and shapes[found[key]] != (expected := rule.torch_shape(tuple(variable.shape)))
    ]
    if missing or unexpected or (mismatched and not ignore_mismatched_sizes):
        misshapen = [f"{key}: found {shape}, expected {expected}" for key, shape, expected in mismatched]
        raise CheckpointError(_difference(checkpoint.source, model, missing, unexpected, misshapen))

    skipped = {key for key, *_ in mismatched}
    values = {
        key: rule.to_keras(_checked(checkpoint, found[key]))
        for key, (_, rule) in wanted.items()
        if key in found and key not in skipped
    }
    kept = {key: np.array(checkpoint.read(found[key])) for key in buffers if shapes[found[key]] == ()}
    for key, value in values.items():
        wanted[key][0].assign(value)
    return LoadingInfo(new_head, other_head, mismatched, kept)


def ignored(key: str) -> bool:
    """Whether no variable takes this published key; see `IGNORED`."""
    return any(re.search(pattern, key) for pattern in IGNORED)


def published_keys(checkpoint: Checkpoint) -> dict[str, str]:
    """Published spelling → the key in the file."""
    found: dict[str, str] = {}
    for key in checkpoint.shapes():
        published = published_key(key)
        if published in found:
            raise CheckpointError(
                f"{checkpoint.source} holds {found[published]!r} and {key!r}, two spellings of one weight. "
                "Save the checkpoint again from one model."
            )
        found[published] = key
    return found


def _new_head(wanted: Iterable[str], found: Mapping[str, str]) -> list[str]:
    """The head's keys, if the checkpoint has none of them: it is an encoder, or made for another task."""
    head = [key for key in wanted if key.startswith(_HEADS)]
    if any(key in found for key in head):
        return []
    return head


def _is_of_another_head(key: str, wanted: Iterable[str]) -> bool:
    """Whether the model has no layer of that name at all: the checkpoint was made for another task."""
    return any(key.startswith(head) and not any(want.startswith(head) for want in wanted) for head in _HEADS)


def _checked(checkpoint: Checkpoint, key: str) -> np.ndarray:
    """The value of `key`, refused if it is not floating or not finite."""
    value = checkpoint.read(key)
    if not np.issubdtype(value.dtype, np.floating):
        raise CheckpointError(
            f"{checkpoint.source}: the weight {key!r} has dtype {value.dtype}; expected a floating one. The "
            "file is damaged or quantised; fetch it again, or use the checkpoint it was made from."
        )
    if not np.isfinite(value).all():
        count = int(value.size - np.isfinite(value).sum())
        raise CheckpointError(
            f"{checkpoint.source}: the weight {key!r} holds {count} values of {value.size} that are NaN or "
            "infinite. The file is damaged, or its training diverged; fetch it again or use an earlier "
            "checkpoint."
        )
    return value


def _difference(
    source: str,
    model: keras.Model,
    missing: list[str],
    unexpected: list[str],
    misshapen: list[str],
    most: int = 8,
) -> str:
    """The error message: a diff of keys, and what to do about it."""

    def listed(sign: str, lines: list[str]) -> list[str]:
        more = [f"   … and {len(lines) - most} more"] if len(lines) > most else []
        return [f" {sign} {line}" for line in lines[:most]] + more

    advice = (
        "Is config.json the one that belongs to these weights? For a new head of another size beside the "
        "same encoder, pass ignore_mismatched_sizes=True."
        if misshapen
        else "The weights are incomplete or belong to another model; fetch them again, or load them with "
        "the class named in config.json's `architectures`."
    )
    return "\n".join(
        [
            f"{source} does not fit {type(model).__name__}: {len(missing)} weights are missing (-), "
            f"{len(unexpected)} are unexpected (+), {len(misshapen)} have the wrong shape (≠). "
            "Nothing was loaded.",
            *listed("-", missing),
            *listed("+", unexpected),
            *listed("≠", misshapen),
            advice,
        ]
    )
