"""How weights move between the PyTorch checkpoints and the Keras model, in both directions.

A Keras variable's path, relative to its model, is the PyTorch key with slashes for dots and another last
word: `segformer/encoder/block.0.0/mlp/dense1/kernel` is `segformer.encoder.block.0.0.mlp.dense1.weight`.
`RULES` says how the last word changes and how the axes move. Square kernels make a forgotten transpose
invisible to any check of shapes, so the tests check each rule on values.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import keras
import numpy as np


@dataclass(frozen=True)
class Rule:
    """One kind of weight.

    Attributes:
        path: Pattern of the Keras variable's path, relative to the model.
        suffix: Last word of the PyTorch key.
        axes: The Keras axes in terms of the PyTorch ones, as for `np.transpose`; None copies.
    """

    path: str
    suffix: str
    axes: tuple[int, ...] | None = None

    def to_keras(self, value: np.ndarray) -> np.ndarray:
        """A PyTorch value in Keras' layout."""
        return value if self.axes is None else np.transpose(value, self.axes)

    def to_torch(self, value: np.ndarray) -> np.ndarray:
        """A Keras value in PyTorch's layout."""
        return value if self.axes is None else np.transpose(value, np.argsort(self.axes))

    def torch_shape(self, keras_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape that the PyTorch checkpoint must hold for a Keras variable of `keras_shape`."""
        if self.axes is None:
            return keras_shape
        return tuple(keras_shape[axis] for axis in np.argsort(self.axes))


_CONVOLUTION = r"(patch_embeddings\.\d+/proj|self/sr|decode_head/(linear_fuse|classifier))/kernel"

# The first rule whose pattern is found in the path applies.
RULES = (
    Rule(r"/dwconv/dwconv/kernel$", "weight", axes=(2, 3, 0, 1)),  # (C, 1, kh, kw) → (kh, kw, C, 1)
    Rule(_CONVOLUTION + "$", "weight", axes=(2, 3, 1, 0)),  # (O, I, kh, kw) → (kh, kw, I, O)
    Rule(r"/kernel$", "weight", axes=(1, 0)),  # dense: (out, in) → (in, out)
    Rule(r"/bias$", "bias"),
    Rule(r"/gamma$", "weight"),
    Rule(r"/beta$", "bias"),
    Rule(r"/moving_mean$", "running_mean"),
    Rule(r"/moving_variance$", "running_var"),
)

# The legacy TensorFlow class kept the depthwise kernel as a grouped convolution's, (kh, kw, 1, C).
LEGACY_RULES = (Rule(r"/dwconv/dwconv/kernel$", "weight", axes=(2, 3, 1, 0)), *RULES)

# transformers 5 renamed the modules; with `save_original_format=False` its files carry the new names.
_RENAMED = tuple(
    (re.compile(pattern), published)
    for pattern, published in (
        (r"\bstages\.(\d+)\.patch_embeddings\.", r"encoder.patch_embeddings.\1."),
        (r"\bstages\.(\d+)\.blocks\.(\d+)\.", r"encoder.block.\1.\2."),
        (r"\bstages\.(\d+)\.layer_norm\.", r"encoder.layer_norm.\1."),
        (r"\blayernorm_before\.", "layer_norm_1."),
        (r"\blayernorm_after\.", "layer_norm_2."),
        (r"\battention\.q_proj\.", "attention.self.query."),
        (r"\battention\.k_proj\.", "attention.self.key."),
        (r"\battention\.v_proj\.", "attention.self.value."),
        (r"\battention\.o_proj\.", "attention.output.dense."),
        (r"\battention\.sequence_reduction\.sequence_reduction\.", "attention.self.sr."),
        (r"\battention\.sequence_reduction\.layer_norm\.", "attention.self.layer_norm."),
        (r"\bmlp\.fc1\.", "mlp.dense1."),
        (r"\bmlp\.fc2\.", "mlp.dense2."),
        (r"\bdecode_head\.linear_projections\.", "decode_head.linear_c."),
    )
)


class CheckpointError(ValueError):
    """A checkpoint that is missing, unreadable, or does not fit the model."""


class Checkpoint(Protocol):
    """A PyTorch state dict on disk: names and shapes are cheap, values are read one at a time."""

    source: str

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Every key with its shape."""

    def read(self, key: str) -> np.ndarray:
        """The value of one key."""


def published_key(key: str) -> str:
    """A checkpoint's key in the published spelling, with the `segformer.` prefix of a full model."""
    for pattern, published in _RENAMED:
        key = pattern.sub(published, key)
    return f"segformer.{key}" if key.startswith("encoder.") else key


def torch_key(path: str, rules: Iterable[Rule] = RULES) -> tuple[str, Rule]:
    """The published PyTorch key of a Keras variable's path relative to its model, and its rule."""
    for rule in rules:
        if re.search(rule.path, path):
            stem = path.rpartition("/")[0].replace("/", ".")
            return f"{stem}.{rule.suffix}", rule
    raise KeyError(f"No rule moves the variable {path!r}; add one to tf_segformer.weights.RULES.")


def weights_by_key(model: keras.Model) -> dict[str, tuple[keras.Variable, Rule]]:
    """The model's weights under their published PyTorch keys."""
    named = {}
    for variable in model.weights:
        key, rule = torch_key(variable.path.removeprefix(f"{model.path}/"))
        named[key] = (variable, rule)
    return named


def state_dict(model: keras.Model) -> dict[str, np.ndarray]:
    """The model's weights as a PyTorch state dict in the published spelling, in NumPy arrays."""
    return {
        key: np.ascontiguousarray(rule.to_torch(variable.numpy()))
        for key, (variable, rule) in weights_by_key(model).items()
    }
