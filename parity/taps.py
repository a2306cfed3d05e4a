"""Which taps a SegFormer has, in the order of its forward pass.

A tap is a named intermediate tensor. The name is the module's path in the published checkpoints,
and the layout is channels last, (B, H, W, C), on both sides. The list is derived here from the
config alone, so that a tap which *both* runners forgot is still missed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


class SegformerLike(Protocol):
    """The config fields that decide which taps exist."""

    @property
    def num_encoder_blocks(self) -> int:
        """Number of stages."""

    @property
    def depths(self) -> Sequence[int]:
        """Blocks per stage."""

    @property
    def sr_ratios(self) -> Sequence[int]:
        """Sequence reduction per stage; 1 for none."""


def expected_taps(config: SegformerLike, task: str = "segmentation") -> list[str]:
    """Names of all taps of a model, in forward order.

    Args:
        config: a ``transformers.SegformerConfig`` or anything with its fields.
        task: ``segmentation``, or ``classification`` of whole images.
    """
    names = []
    for stage in range(config.num_encoder_blocks):
        embedding = f"segformer.encoder.patch_embeddings.{stage}"
        names += [f"{embedding}.proj", f"{embedding}.layer_norm"]
        for block in range(config.depths[stage]):
            prefix = f"segformer.encoder.block.{stage}.{block}"
            attention = f"{prefix}.attention.self"
            names.append(f"{prefix}.layer_norm_1")
            if config.sr_ratios[stage] > 1:
                names += [f"{attention}.sr", f"{attention}.layer_norm"]
            names += [f"{attention}.{part}" for part in ("query", "key", "value")]
            names += [f"{attention}.probabilities", f"{attention}.context"]
            names += [f"{prefix}.attention.output.dense"]
            names += [f"{prefix}.layer_norm_2", f"{prefix}.mlp.dense1"]
            names += [f"{prefix}.mlp.dwconv.dwconv", f"{prefix}.mlp.activation"]
            names += [f"{prefix}.mlp.dense2", prefix]
        names.append(f"segformer.encoder.layer_norm.{stage}")
    if task == "classification":
        return [*names, "classifier.pooled", "classifier"]
    # The head reads the finished stages: stage 1 first, though it concatenates stage 4 first.
    names += [f"decode_head.linear_c.{stage}.proj" for stage in range(config.num_encoder_blocks)]
    names += [
        f"decode_head.{part}"
        for part in ("concatenated", "linear_fuse", "batch_norm", "activation", "classifier")
    ]
    return names


def stage_taps(names: Sequence[str]) -> tuple[str, ...]:
    """The taps that are the feature maps of the stages, of all taps of a network."""
    return tuple(name for name in names if re.fullmatch(r"segformer\.encoder\.layer_norm\.\d+", name))


@dataclass(frozen=True)
class TapSets:
    """How the tap names of two results relate to what is required.

    Attributes:
        common: required names that both have, in forward order.
        missing: (side, name) of required taps that a side lacks.
        extra: (side, name) of taps that nobody asked for.
    """

    common: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    extra: tuple[tuple[str, str], ...]


def match_taps(required: Sequence[str], reference: Iterable[str], candidate: Iterable[str]) -> TapSets:
    """Match taps by their exact names; there is no fuzzy and no positional matching.

    Args:
        required: names that must be there, in forward order.
        reference: names that the reference has.
        candidate: names that the candidate has.
    """
    sides = {"reference": list(reference), "candidate": list(candidate)}
    wanted = set(required)
    return TapSets(
        common=tuple(name for name in required if all(name in have for have in sides.values())),
        missing=tuple((side, name) for side, have in sides.items() for name in required if name not in have),
        extra=tuple((side, name) for side, have in sides.items() for name in have if name not in wanted),
    )
