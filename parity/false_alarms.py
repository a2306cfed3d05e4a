"""Seeded networks of random shapes, correct on both sides: whatever is flagged is a false alarm."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.compare import Lane
from parity.faults import Bench


@dataclass(frozen=True)
class Case:
    """A network and a size of images.

    Attributes:
        seed: of the weights and the pictures.
        fields: of the config.
        size: height and width of the preprocessed pictures.
    """

    seed: int
    fields: dict[str, Any]
    size: int


def random_case(seed: int) -> Case:
    """Draw widths, depths, heads, reductions, activation, classes and a size."""
    random = np.random.default_rng(seed)
    heads = [int(random.choice([1, 2, 4])) for _ in range(4)]
    fields = {
        "depths": [int(random.integers(1, 3)) for _ in range(4)],
        "num_attention_heads": heads,
        "hidden_sizes": [head * int(random.integers(4, 13)) for head in heads],
        "sr_ratios": [int(ratio) for ratio in random.choice([[8, 4, 2, 1], [4, 2, 2, 1], [2, 2, 1, 1]])],
        "mlp_ratios": [int(random.integers(2, 5)) for _ in range(4)],
        "decoder_hidden_size": int(random.integers(8, 49)),
        "hidden_act": str(random.choice(["gelu", "gelu", "relu", "silu"])),
        "num_labels": int(random.integers(2, 31)),
    }
    return Case(seed, fields, int(random.integers(64, 129)))


def run_networks(seeds: range) -> Iterator[tuple[Case, list[Lane]]]:
    """Run both lanes of each seed's case, all levels.

    Args:
        seeds: one case each.
    """
    from torch_ref import write_seeded_checkpoint

    for seed in seeds:
        case = random_case(seed)
        with tempfile.TemporaryDirectory(prefix="parity-") as temporary:
            folder = write_seeded_checkpoint(Path(temporary) / "model", "b0", seed=seed, **case.fields)
            bench = Bench(folder, size=case.size, seed=seed)
            yield case, [bench.lane(dtype) for dtype in ("float32", "float64")]
