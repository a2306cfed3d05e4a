"""What makes a checkpoint good evidence: does every tensor matter, and is float32 well conditioned?

A comparison on a checkpoint proves only what that checkpoint can show. These measurements say what
a given one shows; `python -m torch_ref examine` prints them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from torch_ref.reference import Reference
from torch_ref.taps import published_keys

# The parity gate in float32, as a share of the largest absolute reference logit.
PARITY_GATE = 2e-6

# Tensors that no comparison of outputs can see, by the end of their key, and why.
INVISIBLE = {
    "attention.self.key.bias": "it adds query·bias to the scores of all keys alike, and softmax "
    "does not see a constant",
    "batch_norm.num_batches_tracked": "a counter of training steps that inference does not read",
}


@dataclass(frozen=True)
class Sensitivity:
    """How far one tensor, scaled by 1.01, moves the logits.

    Attributes:
        key: The tensor's published name.
        moved: Largest change of a logit, divided by the largest absolute logit.
    """

    key: str
    moved: float


def is_invisible(key: str) -> bool:
    """Whether a tensor (by published key) is one of the named exceptions of `INVISIBLE`."""
    return key.endswith(tuple(INVISIBLE))


def scale_of(logits: np.ndarray) -> float:
    """The scale that tolerances are shares of: the largest absolute logit."""
    return float(np.abs(logits).max())


def float32_noise(logits: np.ndarray, exact: np.ndarray) -> float:
    """Largest float32 error of `logits` against the float64 `exact`, as a share of its scale."""
    return float(np.abs(logits - exact).max()) / scale_of(exact)


def winning_classes(logits: np.ndarray, share: float = 0.002) -> int:
    """Number of classes that win at least `share` of the positions of (1, K, h, w) logits."""
    winners = np.bincount(logits.argmax(axis=1).ravel())
    return int((winners >= share * winners.sum()).sum())


def attention_entropy(attention: np.ndarray) -> float:
    """Mean entropy of a block's attention (B, heads, Nq, Nkv), divided by ln(Nkv), its maximum.

    Raises:
        ValueError: There is but one key, so that every attention is uniform.
    """
    keys = attention.shape[-1]
    if keys < 2:
        raise ValueError("Entropy says nothing of attention to a single key: use a larger image.")
    logarithms = np.log(attention, where=attention > 0, out=np.zeros_like(attention))
    return float(-(attention * logarithms).sum(axis=-1).mean() / math.log(keys))


def sensitivities(
    reference: Reference, pixel_values: np.ndarray, every: int = 1, factor: float = 1.01
) -> Iterator[Sensitivity]:
    """Scales one tensor after the other and reports how far the logits move.

    Each tensor is restored to its own bits afterwards. The key biases and the batch counter are
    left out, see `INVISIBLE`.

    Args:
        reference: The model; one forward pass a tensor.
        pixel_values: (B, C, H, W).
        every: Take every n-th tensor only.
        factor: The change.
    """
    names = published_keys(reference.model)
    tensors = reference.model.state_dict()
    logits = reference.forward(pixel_values, with_attentions=False).logits
    visible = [key for key in tensors if not is_invisible(names[key])]
    for key in visible[::every]:
        original = tensors[key].clone()
        with torch.no_grad():
            tensors[key].mul_(factor)
            changed = reference.forward(pixel_values, with_attentions=False).logits
            tensors[key].copy_(original)
        moved = float(np.abs(changed - logits).max()) / scale_of(logits)
        yield Sensitivity(names[key], moved)
