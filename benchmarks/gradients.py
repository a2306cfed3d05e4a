"""How far are float32 gradients from the exact ones, PyTorch's and the Keras model's?

    python -m benchmarks.gradients --seeds 1 3 4 --variants b0

Seeded networks of random shapes, as `parity false-alarms` draws them, and variants at full width; one
training step on two seeded images of 64 × 64 pixels. An error is a parameter's largest, ÷ its largest
gradient in float64 (of the weight beside it where that is zero by design); shown is the worst parameter.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from parity.false_alarms import random_case
from parity.gradients import GRADIENT_SIZE, candidate_step, gradient_errors, reference_step, seeded_batch
from tf_segformer.configuration import read_config
from torch_ref import VARIANTS, write_seeded_checkpoint


def worst(errors: dict[str, float]) -> tuple[float, str]:
    """The largest error, and the parameter."""
    name = max(errors, key=lambda key: errors[key])
    return errors[name], name


def measure(folder: Path, seed: int) -> list[tuple[float, str]]:
    """PyTorch's, ours, and between the two, in float32."""
    pixels, labels = seeded_batch(read_config(folder / "config.json"), GRADIENT_SIZE, seed=seed)
    exact = reference_step(folder, pixels, labels, "float64")
    reference = reference_step(folder, pixels, labels, "float32")
    candidate = candidate_step(folder, pixels, labels, "float32")
    pairs = ((exact, reference), (exact, candidate), (reference, candidate))
    return [worst(gradient_errors(*pair)) for pair in pairs]


def main() -> None:
    """Print a Markdown table, a row a network."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[*range(1, 13)], help="of random shapes")
    parser.add_argument("--variants", nargs="*", default=["b0"], choices=sorted(VARIANTS))
    options = parser.parse_args()
    cases: list[tuple[str, str, int, dict[str, Any]]] = [
        (f"seed {seed}", "b0", seed, random_case(seed).fields) for seed in options.seeds
    ]
    cases += [(variant.upper(), variant, 0, {}) for variant in options.variants]
    print("| network | PyTorch, from float64 | Keras, from float64 | between the two | worst of Keras |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, variant, seed, fields in cases:
        with tempfile.TemporaryDirectory(prefix="gradients-") as temporary:
            folder = write_seeded_checkpoint(Path(temporary) / "model", variant, seed=seed, **fields)
            found = measure(folder, seed)
        numbers = " | ".join(f"{error:.1e}" for error, _ in found)
        print(f"| {name} | {numbers} | {found[1][1]} |", flush=True)


if __name__ == "__main__":
    main()
