"""Planted faults: the proof that the harness would notice.

Each fault is planted into the Keras model of a tiny seeded checkpoint, as a real mistake would be
made: a weight transform, a constant, an order. It counts as caught if the first failing tap is the
one that the mistake belongs to, with an error of at least ten times the gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from parity.compare import Lane, compare_lane, measure_noise
from parity.localize import first_failing_tap
from parity.planting import (
    Plant,
    change_weights,
    layer_norm_epsilon,
    reversed_concatenation,
    swap_weights,
    tanh_gelu,
)
from parity.results import TAP_PREFIX, Manifest, Result
from parity.taps import expected_taps
from parity.tolerances import NoiseFloors

# A caught fault must stand out: error ≥ MARGIN × gate.
MARGIN = 10.0
# The smallest network with all parts: four stages, sequence reductions, one and several heads.
TINY: dict[str, Any] = {
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 3, 4],
    "decoder_hidden_size": 16,
}
TINY_LABELS = 11
TINY_SIZE = 64


@dataclass(frozen=True)
class Fault:
    """A mistake and where it belongs.

    Attributes:
        name: what was done wrong.
        tap: the first tap that must fail.
        plant: makes the mistake in a Keras model and undoes it at the end of the ``with`` block.
    """

    name: str
    tap: str
    plant: Plant


@dataclass(frozen=True)
class Outcome:
    """How one lane saw a fault.

    Attributes:
        fault: what was planted.
        dtype: the lane.
        tap: the first failing tap; empty if none failed.
        error: largest absolute error there.
        gate: largest error that would have passed there.
        logits_error_over_scale: what the fault did to the logits.
        logits_pass: whether the logits alone would have let it through.
    """

    fault: Fault
    dtype: str
    tap: str
    error: float
    gate: float
    logits_error_over_scale: float
    logits_pass: bool

    @property
    def ratio(self) -> float:
        """Error ÷ gate at the first failing tap."""
        if not self.tap:
            return 0.0
        return self.error / self.gate if self.gate > 0.0 else float("inf")

    @property
    def caught(self) -> bool:
        """Whether this lane names the right tap, and by a margin."""
        return self.tap == self.fault.tap and self.ratio >= MARGIN


class Bench:
    """Reference results and Keras models of one small checkpoint, for planting faults.

    Attributes:
        references: dtype → the reference's taps and logits.
        models: dtype → Keras model.
        floors: the float32 taps' noise floors.
    """

    def __init__(self, folder: Path, *, size: int = TINY_SIZE, seed: int = 0) -> None:
        from tf_segformer import TFSegformerForSemanticSegmentation
        from torch_ref import Reference

        self.references: dict[str, Result] = {}
        self.models: dict[str, Any] = {}
        for dtype in ("float32", "float64"):
            reference = Reference.from_pretrained(folder, dtype=dtype)
            shape = (1, reference.config.num_channels, size, size)
            pixels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
            outputs = reference.forward(pixels, with_taps=True, with_attentions=False)
            arrays = {TAP_PREFIX + name: value for name, value in outputs.taps.items()}
            arrays["logits"] = np.moveaxis(outputs.logits, 1, -1)
            manifest = Manifest("torch_ref", dtype, expected_taps=tuple(expected_taps(reference.config)))
            self.references[dtype] = Result(manifest, arrays)
            self.models[dtype] = TFSegformerForSemanticSegmentation.from_pretrained(
                str(folder), dtype=dtype, data_format="channels_last"
            )
        self._pixels = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
        self.floors: NoiseFloors = measure_noise(self.references["float32"], self.references["float64"])

    def lane(self, dtype: str) -> Lane:
        """Run the Keras model as it is now, eagerly, and compare taps and logits."""
        from tf_segformer.taps import record_taps

        model = self.models[dtype]
        with record_taps(model) as taps:
            logits = model(self._pixels.astype(dtype)).logits.numpy()
        arrays = {TAP_PREFIX + name: value.numpy() for name, value in taps.items()}
        candidate = Result(Manifest("tf_segformer", dtype), arrays | {"logits": logits})
        return compare_lane(self.references[dtype], candidate, levels=("taps", "logits"), floors=self.floors)

    def outcome(self, fault: Fault, dtype: str) -> Outcome:
        """Plant one fault, look at it through one lane, and take it out again."""
        with fault.plant(self.models[dtype]):
            lane = self.lane(dtype)
        row = first_failing_tap(lane)
        (logits,) = lane.of_level("logits")
        moved = logits.errors.error_over_scale if logits.errors is not None else float("inf")
        if row is None:
            return Outcome(fault, dtype, "", 0.0, 0.0, moved, logits.passed)
        error = row.errors.max_abs if row.errors is not None else float("inf")
        gate = row.gate.limit if row.gate is not None else 0.0
        return Outcome(fault, dtype, row.name, error, gate, moved, logits.passed)


def write_tiny_checkpoint(folder: Path) -> Path:
    """Write the seeded checkpoint that the faults are planted into."""
    from torch_ref import write_seeded_checkpoint

    return write_seeded_checkpoint(folder, "b0", num_labels=TINY_LABELS, **TINY)


_BLOCK = "segformer.encoder.block.0.0"
_ATTENTION = f"{_BLOCK}.attention.self"

FAULTS: tuple[Fault, ...] = (
    Fault(
        "square dense kernel transposed",
        f"{_ATTENTION}.query",
        change_weights("block.0.0/attention/self/query/kernel", np.transpose),
    ),
    Fault(
        "convolution kernel with height and width swapped",
        "segformer.encoder.patch_embeddings.0.proj",
        change_weights("patch_embeddings.0/proj/kernel", lambda w: w.transpose(1, 0, 2, 3)),
    ),
    Fault(
        "square convolution kernel with in and out swapped",
        f"{_ATTENTION}.sr",
        change_weights("block.0.0/attention/self/sr/kernel", lambda w: w.transpose(0, 1, 3, 2)),
    ),
    Fault(
        "query and key swapped",
        f"{_ATTENTION}.query",
        swap_weights("block.0.0/attention/self/query", "block.0.0/attention/self/key"),
    ),
    Fault("decode head's concatenation reversed", "decode_head.concatenated", reversed_concatenation),
    Fault(
        "LayerNorm epsilon 1e-6",
        "segformer.encoder.patch_embeddings.0.layer_norm",
        layer_norm_epsilon,
    ),
    Fault("tanh GELU", f"{_BLOCK}.mlp.activation", tanh_gelu),
    Fault(
        "stale batch-norm mean",
        "decode_head.batch_norm",
        # As the moving average stood one step of momentum 0.9 earlier, from its start at 0.
        change_weights("decode_head/batch_norm/moving_mean", lambda mean: 0.9 * mean),
    ),
    Fault(
        "stale batch-norm variance",
        "decode_head.batch_norm",
        change_weights("decode_head/batch_norm/moving_variance", lambda v: 0.9 * v + 0.1),
    ),
)


def run_faults(folder: Path, faults: tuple[Fault, ...] = FAULTS) -> Iterator[Outcome]:
    """Plant every fault and look at each through both lanes.

    Args:
        folder: checkpoint to plant them into; see `write_tiny_checkpoint`.
        faults: what to plant.
    """
    bench = Bench(folder)
    for fault in faults:
        for dtype in ("float64", "float32"):
            yield bench.outcome(fault, dtype)
