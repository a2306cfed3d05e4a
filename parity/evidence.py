"""What the pictures of a report are drawn from, gathered while the results are still on disk.

The tensors of a run are gigabytes and are deleted when they have been compared; kept are one map of
errors per stage, histograms, and the label maps.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.charts import Histogram, histogram_of
from parity.compare import Lane
from parity.label_statistics import CHUNK, tied_pixels
from parity.localize import first_failing_tap
from parity.results import TAP_PREFIX, Result
from parity.row import Row

# The tensors that stand for the network: what each stage hands on, and the head's parts.
_STAGES = re.compile(
    r"segformer\.encoder\.layer_norm\.\d+|decode_head\.(concatenated|linear_fuse|activation)"
)
# Values of a tensor that go into its histograms; a larger one is sampled evenly.
SAMPLED = 1 << 20
# Sides of a map of errors; a larger one shows the largest error of each block.
LARGEST_MAP = 256


@dataclass(frozen=True)
class TensorEvidence:
    """One tensor on both sides.

    Attributes:
        name: of the tap or level.
        in_gates: float64 (h, w): the largest error over the channels, ÷ the gate.
        errors: float64 (n,): absolute errors, all of them or a sample that has the largest.
        gate: largest error that passes.
        values: histogram of both sides.
        passed: the comparison's verdict.
        remark: the finding in a few words.
    """

    name: str
    in_gates: np.ndarray
    errors: np.ndarray
    gate: float
    values: Histogram | None
    passed: bool
    remark: str


@dataclass(frozen=True)
class LabelEvidence:
    """The label maps of both sides at the photograph's size.

    Attributes:
        reference: int (H, W).
        candidate: int (H, W).
        ties: bool (H, W): where they differ, but either is right.
        num_classes: K.
    """

    reference: np.ndarray
    candidate: np.ndarray
    ties: np.ndarray
    num_classes: int


@dataclass(frozen=True)
class Evidence:
    """What there is to see of one lane."""

    dtype: str
    candidate: str
    tensors: tuple[TensorEvidence, ...]
    labels: LabelEvidence | None


def gather(reference: Result, candidate: Result, lane: Lane) -> Evidence:
    """Gather what a report shows of two results that were compared.

    Args:
        reference: what counts as true.
        candidate: what was judged.
        lane: the comparison.
    """
    failing = first_failing_tap(lane)
    tensors = []
    for row in lane.rows:
        chosen = row.level in ("pixels", "logits", "arrays") or _STAGES.fullmatch(row.name) or row is failing
        name = TAP_PREFIX + row.name if row.level == "taps" else row.name
        there = name in reference.arrays and name in candidate.arrays
        if chosen and there and row.gate is not None:
            found = _tensor(row, reference.arrays[name], candidate.arrays[name])
            tensors += [] if found is None else [found]
    return Evidence(lane.dtype, lane.candidate, tuple(tensors), _labels(reference, candidate, lane))


def block_maximum(values: np.ndarray, largest: int = LARGEST_MAP) -> np.ndarray:
    """Shrink a map (h, w) by whole factors, keeping each block's largest value (NaN wins)."""
    step = max(1, -(-max(values.shape) // largest))
    if step == 1:
        return values
    height, width = (-(-side // step) for side in values.shape)
    padded = np.full((height * step, width * step), -np.inf)
    padded[: values.shape[0], : values.shape[1]] = values
    return padded.reshape(height, step, width, step).max(axis=(1, 3))


def _tensor(row: Row, reference: np.ndarray, candidate: np.ndarray) -> TensorEvidence | None:
    """None for what is no picture: attention has other axes, and shapes may differ."""
    if reference.ndim != 4 or reference.shape != candidate.shape or row.gate is None:
        return None
    gate = row.gate.limit
    # Of the first image: a run has one.
    ours, theirs = reference[0], candidate[0]
    step = max(1, ours.size // SAMPLED)
    largest = np.empty(ours.shape[:2])
    sample = []
    # Some rows at a time: the concatenated features of a large image fill the memory in float64.
    rows = max(1, CHUNK // max(1, ours[0].size))
    for start in range(0, len(ours), rows):
        part = slice(start, start + rows)
        with np.errstate(invalid="ignore"):
            errors = np.abs(theirs[part].astype(np.float64) - ours[part].astype(np.float64))
        largest[part] = errors.max(axis=-1)
        sample.append(errors.reshape(-1)[::step])
    with np.errstate(divide="ignore", invalid="ignore"):
        in_gates = np.where(largest == 0.0, 0.0, largest / gate)
    remark = f"{row.ratio:.2g} × gate" if np.isfinite(row.ratio) else row.note
    return TensorEvidence(
        name=row.name,
        in_gates=block_maximum(in_gates),
        # The largest errors of all positions, too: an even sample would miss a single large one.
        errors=np.concatenate([*sample, largest.reshape(-1)]) if step > 1 else np.concatenate(sample),
        gate=gate,
        values=histogram_of(reference.reshape(-1)[::step], candidate.reshape(-1)[::step]),
        passed=row.passed,
        remark=remark,
    )


def _labels(reference: Result, candidate: Result, lane: Lane) -> LabelEvidence | None:
    level = "labels/original_size"
    rows: Sequence[Row] = lane.of_level(level)
    wanted = ((reference, level), (candidate, level), (reference, "logits"))
    if not rows or any(name not in side.arrays for side, name in wanted):
        return None
    ours, theirs = reference.arrays[level][0], candidate.arrays[level][0]
    logits = reference.arrays["logits"]
    if ours.shape != theirs.shape:
        return None
    errors = rows[0].labels
    margin = errors.tie_margin if errors is not None else 0.0
    ties = tied_pixels(ours, theirs, logits[0], margin)
    return LabelEvidence(ours, theirs, ties, logits.shape[-1])
