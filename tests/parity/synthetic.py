"""Made-up results, so that the comparator is tested without any framework."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from parity.results import GRADIENT_PREFIX, TAP_PREFIX, Manifest, Result
from parity.taps import expected_taps
from parity.tolerances import NoiseFloors

CONFIG = SimpleNamespace(num_encoder_blocks=2, depths=[1, 2], sr_ratios=[2, 1])
TAPS = tuple(expected_taps(CONFIG))
_KEY = "block.0.attention.self.key"
PARAMETERS = ("encoder.proj.weight", "encoder.proj.bias", f"{_KEY}.bias", f"{_KEY}.weight")
SIZE = (6, 8)


def result(dtype="float32", runner="torch_ref", seed=0, **changes):
    """A complete result with random values; equal for equal seeds, whatever the runner."""
    random = np.random.default_rng(seed)
    arrays = {"decoded": np.arange(144, dtype=np.uint8).reshape(1, *SIZE, 3)}
    arrays["pixels"] = random.normal(size=(1, 12, 16, 3)).astype(np.float32)
    for name in TAPS:
        arrays[TAP_PREFIX + name] = random.normal(size=(1, 3, 4, 5)).astype(dtype)
    arrays["logits"] = random.normal(size=(1, 3, 4, 7)).astype(dtype)
    arrays["labels/logit_size"] = arrays["logits"].argmax(-1).astype(np.int32)
    full = arrays["logits"].repeat(2, 1).repeat(2, 2).argmax(-1)
    arrays["labels/original_size"] = full.astype(np.int32)
    arrays["loss"] = np.array([1.5])
    for name in PARAMETERS:
        scale = 1e-18 if name == f"{_KEY}.bias" else 1.0
        arrays[GRADIENT_PREFIX + name] = (scale * random.normal(size=(3, 4))).astype(dtype)
    manifest = Manifest(
        *(runner, dtype, "tiny", "c" * 64, "i" * 64, "f" * 64, SIZE),
        expected_taps=TAPS,
        expected_gradients=PARAMETERS,
    )
    return Result(replace(manifest, **changes), arrays)


def floors(noise=1e-7):
    """The same noise floor for every tap."""
    return NoiseFloors(dict.fromkeys(TAPS, noise), "a test", "i" * 64, "c" * 64)
