"""Both sides on every photograph of a dataset, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from parity.annotations import read_annotation
from parity.compare import tie_margin
from parity.datasets import Labels, Pair
from parity.label_runners import Answer, Side, read_photograph
from parity.label_statistics import label_errors
from parity.miou import ConfusionMatrix, LabelError, Scores
from parity.running import HarnessError
from parity.statistics import ShapesDifferError, array_errors
from parity.tally import ImageRecord, Tally
from parity.tolerances import LOGITS_FLOAT32_MULTIPLE


def evaluate(
    pairs: Sequence[Pair],
    labels: Labels,
    reference: Side,
    candidate: Side,
    tally: Tally,
    *,
    state: Path | None = None,
    save_every: int = 25,
    tick: Callable[[Tally], None] = lambda tally: None,
) -> None:
    """Run both sides on every photograph that the tally does not have yet.

    Args:
        pairs: photographs and annotations, checked.
        labels: how annotations are read.
        reference: what counts as true where the sides differ.
        candidate: what is judged.
        tally: added to.
        state: file that is written after every `save_every` photographs, at the end, and when the run is
            interrupted by an exception.
        save_every: how many photographs a kill can cost.
        tick: called after each photograph.

    Raises:
        HarnessError: a side failed; the message names the photograph.
    """
    done = {record.name for record in tally.images}
    unsaved = 0
    try:
        for pair in pairs:
            if pair.name in done:
                continue
            tally.images.append(_add(pair, labels, reference, candidate, tally))
            unsaved += 1
            tick(tally)
            if state is not None and unsaved >= save_every:
                tally.save(state)
                unsaved = 0
    finally:
        # Not if the interruption came between two counts of one photograph: the older state is whole.
        if state is not None and unsaved and tally.consistent:
            tally.save(state)


def _add(pair: Pair, labels: Labels, reference: Side, candidate: Side, tally: Tally) -> ImageRecord:
    """Count one photograph in all three matrices, or in none."""
    content = read_photograph(pair.image)
    truth = read_annotation(pair.annotation, labels)
    ours, theirs = (_answer(side, content, pair.name) for side in (reference, candidate))
    matrices = (labels.matrix(), labels.matrix(), ConfusionMatrix(labels.num_classes, ignore_index=None))
    sides = ((reference.name, truth, ours), (candidate.name, truth, theirs), ("", ours.labels, theirs))
    for matrix, (name, true, answer) in zip(matrices, sides, strict=True):
        try:
            matrix.update(true, answer.labels)
        except LabelError as error:
            raise HarnessError(f"{pair.name}: the label map of {name or candidate.name}: {error}") from error
    record = _record(pair.name, matrices[0].scores(), matrices[1].scores(), ours, theirs)
    for total, matrix in zip((tally.reference, tally.candidate, tally.agreement), matrices, strict=True):
        total.add(matrix)
    return record


def _answer(side: Side, content: bytes, name: str) -> Answer:
    try:
        return side.segment(content, name)
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"{name}: {side.name} failed: {type(error).__name__}: {error}") from error


def _record(name: str, reference: Scores, candidate: Scores, ours: Answer, theirs: Answer) -> ImageRecord:
    assert ours.logits is not None
    scale = float(np.abs(ours.logits).max(initial=0.0))
    different = int(np.count_nonzero(ours.labels != theirs.labels))
    error: float | None = None
    finite = bool(np.isfinite(scale))
    if finite and theirs.logits is not None:
        try:
            errors = array_errors(ours.logits, theirs.logits)
        except (ShapesDifferError, ValueError) as problem:
            raise HarnessError(f"{name}: logits: {problem}") from problem
        finite, error = errors.finite, errors.max_abs if errors.finite else None
    unexplained, worst = different, 0.0
    if finite:
        margin = _margin(error, scale)
        labels = label_errors(ours.labels, theirs.labels, ours.logits, margin)
        unexplained, worst = labels.unexplained, labels.worst_margin
    return ImageRecord(
        name=name,
        pixels=ours.labels.size,
        scored=reference.scored,
        reference_correct=reference.correct,
        candidate_correct=candidate.correct,
        reference_miou=_or_none(reference.mean_iou),
        candidate_miou=_or_none(candidate.mean_iou),
        different=different,
        unexplained=unexplained,
        # A label that no class has is preferred by no number: as large as any.
        worst_margin=min(worst, float(np.finfo(np.float32).max)),
        logits_error=error,
        logits_scale=scale if np.isfinite(scale) else 0.0,
        finite=finite,
    )


def margin_of(record: ImageRecord) -> float:
    """How close two classes must be at a pixel of this image to be a tie; 0 if its logits are not finite."""
    return _margin(record.logits_error, record.logits_scale) if record.finite else 0.0


def _margin(error: float | None, scale: float) -> float:
    # An export may give label maps only; its logits then count as off by their gate.
    assumed = LOGITS_FLOAT32_MULTIPLE * scale if error is None else error
    return tie_margin(assumed, scale, resized=True)


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
