"""How far do float32 trainings of 50 steps get from the exact ones, PyTorch's and the Keras model's?

    OMP_NUM_THREADS=1 TF_ENABLE_ONEDNN_OPTS=0 python -m benchmarks.training_curves --seeds 0 1 2 3 4 5

Seeded networks of two stages on the batches of `parity.training`. An error is that of a step's loss, ÷ the
loss; the exact losses are PyTorch's in float64.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from parity.training import LEARNING_RATES, compare
from torch_ref import write_seeded_checkpoint

STEPS, SIZE = 50, 32


def small_checkpoint(folder: Path, seed: int = 0) -> Path:
    """Write a checkpoint of two stages: all kinds of layers, half of the time that building graphs takes."""
    return write_seeded_checkpoint(
        folder,
        seed=seed,
        num_labels=5,
        num_encoder_blocks=2,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        num_attention_heads=[1, 2],
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
    )


def main() -> None:
    """Print a Markdown table, a row a training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*range(6)])
    parser.add_argument("--optimizers", nargs="+", choices=sorted(LEARNING_RATES), default=["sgd", "adamw"])
    options = parser.parse_args()
    print("| training | PyTorch, median step | worst | Keras, median step | worst | ratio of the medians |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for optimizer in options.optimizers:
        for seed in options.seeds:
            with tempfile.TemporaryDirectory(prefix="curves-") as temporary:
                curves = compare(small_checkpoint(Path(temporary) / "model", seed), optimizer, STEPS, SIZE)
            worst, worst_of_ours = (
                np.max(np.abs(losses / curves.reference - 1))
                for losses in (curves.reference32, curves.candidate32)
            )
            print(
                f"| {optimizer}, seed {seed} | {curves.noise:.1e} | {worst:.1e} | {curves.error32:.1e} "
                f"| {worst_of_ours:.1e} | {curves.error32 / curves.noise:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
