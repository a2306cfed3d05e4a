"""Planted faults: the proof that the harness would notice.

Each fault is planted as a real mistake would be made, into the Keras model of a tiny seeded checkpoint, into
the preprocessing, or into what a runner hands over. It is caught by a lane if the first row that fails
there is the one that the mistake belongs to, with an error of at least ten times the gate.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from parity import wrong_pixels
from parity.compare import LANE_LEVELS, Lane, compare_lane, measure_noise
from parity.planting import Plant, nothing
from parity.results import TAP_PREFIX, Manifest, Result
from parity.taps import expected_taps
from parity.thresholds import Thresholds
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
        place: the first row that must fail: a tap, or a level.
        plant: makes the mistake in a Keras model and undoes it at the end of the ``with`` block.
        prepare: from uint8 pixels and the checkpoint's processing to pixel values.
        spoil: changes the candidate's arrays.
    """

    name: str
    place: str
    plant: Plant = nothing
    prepare: Callable[[np.ndarray, Any], np.ndarray] = wrong_pixels.right
    spoil: Callable[[dict[str, np.ndarray]], None] = lambda arrays: None

    @property
    def in_network(self) -> bool:
        """Whether a layer computes something else."""
        return self.plant is not nothing


@dataclass(frozen=True)
class Outcome:
    """How one lane saw a fault.

    Attributes:
        fault: what was planted.
        dtype: the lane.
        place: the first failing row; empty if none failed.
        error: largest absolute error there.
        gate: largest error that would have passed there.
        ratio: error ÷ gate; infinite where there is no number, as for a missing tap.
        logits_error_over_scale: what the fault did to the logits.
        logits_pass: whether the logits alone would have let it through.
    """

    fault: Fault
    dtype: str
    place: str
    error: float
    gate: float
    ratio: float
    logits_error_over_scale: float
    logits_pass: bool

    @property
    def caught(self) -> bool:
        """Whether this lane names the right place, and by a margin."""
        return self.place == self.fault.place and self.ratio >= MARGIN

    @property
    def misleads(self) -> bool:
        """Whether this lane names a wrong place."""
        return self.place not in ("", self.fault.place)


class Bench:
    """Reference results and Keras models of one small checkpoint, for planting faults.

    Attributes:
        references: dtype → the reference's result for two pictures.
        models: dtype → Keras model.
        floors: the float32 taps' noise floors.
    """

    def __init__(
        self, folder: Path, *, size: int = TINY_SIZE, seed: int = 0, thresholds: Thresholds | None = None
    ) -> None:
        from tf_segformer import TFSegformerForSemanticSegmentation
        from tf_segformer.preprocessing import ImageProcessing

        self.thresholds = thresholds
        self.pictures = _pictures(seed)
        self.processing = replace(ImageProcessing.from_pretrained(folder), height=size, width=size)
        self.references = {
            dtype: _reference(folder, dtype, self.pictures, size) for dtype in ("float32", "float64")
        }
        self.models = {
            dtype: TFSegformerForSemanticSegmentation.from_pretrained(
                str(folder), dtype=dtype, data_format="channels_last"
            )
            for dtype in self.references
        }
        self.floors: NoiseFloors = measure_noise(self.references["float32"], self.references["float64"])

    def lane(self, dtype: str, fault: Fault | None = None) -> Lane:
        """Run the Keras model as it is now, eagerly, and compare all levels of the lane."""
        import tensorflow as tf

        from tf_segformer.postprocessing import label_map
        from tf_segformer.preprocessing import decode_image
        from tf_segformer.taps import record_taps

        reference = self.references[dtype]
        model = self.models[dtype]
        with record_taps(model) as taps:
            logits = model(reference.arrays["pixels"].astype(dtype)).logits.numpy()
        arrays = {TAP_PREFIX + name: value.numpy() for name, value in taps.items()} | {"logits": logits}
        arrays["labels/logit_size"] = logits.argmax(-1).astype(np.int32)
        if dtype == "float32":
            arrays["decoded"] = np.stack(
                [decode_image(tf.constant(file)).numpy() for file in _files(self.pictures)]
            )
            prepare = fault.prepare if fault is not None else wrong_pixels.right
            arrays["pixels"] = np.stack([prepare(each, self.processing) for each in self.pictures])
            size = self.pictures.shape[1:3]
            arrays["labels/original_size"] = np.stack(
                [label_map(tf.constant(each), *size).numpy().astype(np.int32) for each in logits]
            )
        if fault is not None:
            fault.spoil(arrays)
        candidate = Result(Manifest("tf_segformer", dtype), arrays)
        levels = [level for level in LANE_LEVELS[dtype] if level != "gradients"]
        return self._compare(reference, candidate, levels)

    def replay(self, dtype: str) -> Lane:
        """Run each layer of the Keras model as it is now on the reference's own input, and compare."""
        from tf_segformer.taps import record_taps

        reference = self.references[dtype]
        model = self.models[dtype]
        with record_taps(model, given=reference.taps) as taps:
            model(reference.arrays["pixels"].astype(dtype))
        arrays = {TAP_PREFIX + name: value.numpy() for name, value in taps.items()}
        candidate = Result(Manifest("tf_segformer/replay", dtype), arrays)
        return self._compare(reference, candidate, ["taps"])

    def _compare(self, reference: Result, candidate: Result, levels: Sequence[str]) -> Lane:
        floors, gates = self.floors, self.thresholds
        return compare_lane(reference, candidate, levels=levels, floors=floors, thresholds=gates)

    def outcome(self, fault: Fault, dtype: str) -> Outcome:
        """Plant one fault, look at it through one lane, and take it out again."""
        with fault.plant(self.models[dtype]):
            lane = self.lane(dtype, fault)
        (logits,) = lane.of_level("logits")
        moved = logits.errors.error_over_scale if logits.errors is not None else float("inf")
        if not lane.failures:
            return Outcome(fault, dtype, "", 0.0, 0.0, 0.0, moved, logits.passed)
        row = lane.failures[0]
        error = row.errors.max_abs if row.errors is not None else float("inf")
        gate = row.gate.limit if row.gate is not None else 0.0
        return Outcome(fault, dtype, row.name, error, gate, row.ratio, moved, logits.passed)


def write_tiny_checkpoint(folder: Path) -> Path:
    """Write the seeded checkpoint that the faults are planted into."""
    from torch_ref import write_seeded_checkpoint

    return write_seeded_checkpoint(folder, "b0", num_labels=TINY_LABELS, **TINY)


def run_faults(
    folder: Path, faults: Sequence[Fault], thresholds: Thresholds | None = None
) -> Iterator[Outcome]:
    """Plant every fault and look at each through both lanes.

    Args:
        folder: checkpoint to plant them into; see `write_tiny_checkpoint`.
        faults: what to plant.
        thresholds: a project's own gates, to see what they let through; the harness's by default.
    """
    bench = Bench(folder, thresholds=thresholds)
    for fault in faults:
        for dtype in ("float64", "float32"):
            yield bench.outcome(fault, dtype)


def _pictures(seed: int) -> np.ndarray:
    """Two pictures with edges, gradients and noise, uint8 (2, 88, 72, 3)."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:88, 0:72]
    pictures = []
    for _ in range(2):
        waves = [128 + 100 * np.sin(x / random.uniform(3, 20) + y / random.uniform(3, 20)) for _ in range(3)]
        picture = np.stack(waves, axis=-1) + random.normal(0, 12, (88, 72, 3))
        top, left = random.integers(10, 40, 2)
        picture[top : top + 30, left : left + 20] = random.integers(0, 256, 3)
        pictures.append(np.clip(picture, 0, 255).astype(np.uint8))
    return np.stack(pictures)


def _files(pictures: np.ndarray) -> list[bytes]:
    """Each picture as a PNG file."""
    from PIL import Image

    files = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="PNG")
        files.append(file.getvalue())
    return files


def _reference(folder: Path, dtype: str, pictures: np.ndarray, size: int) -> Result:
    """The reference's result for some pictures, all levels."""
    from PIL import Image

    from torch_ref import Reference, decode_image

    reference = Reference.from_pretrained(folder, dtype=dtype)
    pixels = np.concatenate([reference.preprocess(Image.fromarray(each), (size, size)) for each in pictures])
    outputs = reference.forward(pixels, with_taps=True, with_attentions=False)
    logits = np.moveaxis(outputs.logits, 1, -1)
    arrays = {TAP_PREFIX + name: value for name, value in outputs.taps.items()} | {"logits": logits}
    arrays["pixels"] = np.ascontiguousarray(np.moveaxis(pixels, 1, -1))
    arrays["labels/logit_size"] = logits.argmax(-1).astype(np.int32)
    if dtype == "float32":
        maps = [reference.label_map(each, pictures.shape[1:3]) for each in outputs.logits]
        arrays["labels/original_size"] = np.stack(maps).astype(np.int32)
        arrays["decoded"] = np.stack([np.asarray(decode_image(file)) for file in _files(pictures)])
    manifest = Manifest("torch_ref", dtype, expected_taps=tuple(expected_taps(reference.config)))
    return Result(manifest, arrays)
