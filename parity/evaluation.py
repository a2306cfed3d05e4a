"""Both sides on every photograph of a dataset: their mIoU, and whether their label maps agree.

Two questions are answered. How good is each side: its mIoU against the annotations. Are they the same
model: pixels on which their labels differ must be ties (the reference's preference for its own label is
below twice the measured error of the logits), and the logits must pass their gate. The second decides;
two models can differ everywhere and have one mIoU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity.annotations import read_annotation
from parity.compare import tie_margin
from parity.datasets import Labels, Pair
from parity.label_runners import Answer, Side, read_photograph
from parity.miou import ConfusionMatrix, LabelError, Scores
from parity.runners import HarnessError
from parity.statistics import ShapesDifferError, array_errors, label_errors
from parity.tally import ImageRecord, Tally
from parity.thresholds import Thresholds
from parity.tolerances import LOGITS_FLOAT32_MULTIPLE


@dataclass(frozen=True)
class Check:
    """One thing that is required of a run.

    Attributes:
        name: what is required, in a few words.
        passed: the verdict.
        found: what was found, in words.
        required: what passes, in words.
    """

    name: str
    passed: bool
    found: str
    required: str


@dataclass(frozen=True)
class Evaluation:
    """What a run found.

    Attributes:
        reference: scores of the reference against the truth.
        candidate: scores of the candidate against the truth.
        agreement: scores of the candidate against the reference's labels.
        checks: what was required; all must have passed.
        images: one record a photograph.
        class_names: one a class.
    """

    reference: Scores
    candidate: Scores
    agreement: Scores
    checks: tuple[Check, ...]
    images: tuple[ImageRecord, ...]
    class_names: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether something was compared and everything passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def difference(self) -> float:
        """The candidate's mIoU minus the reference's."""
        return self.candidate.mean_iou - self.reference.mean_iou

    @property
    def worst_images(self) -> tuple[ImageRecord, ...]:
        """All images, those first that have most pixels on which the sides differ without a tie."""
        return tuple(
            sorted(
                self.images,
                key=lambda image: (
                    image.finite,
                    -image.unexplained / max(1, image.pixels),
                    -image.different / max(1, image.pixels),
                    -(image.error_over_scale or 0.0),
                    image.name,
                ),
            )
        )


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
        if state is not None and unsaved:
            tally.save(state)


def judge(tally: Tally, thresholds: Thresholds, class_names: tuple[str, ...] = ()) -> Evaluation:
    """Compute the scores and hold everything against what is required.

    Args:
        tally: of the whole dataset.
        thresholds: what passes.
        class_names: one a class; numbers by default.
    """
    reference, candidate = tally.reference.scores(), tally.candidate.scores()
    agreement = tally.agreement.scores()
    names = class_names or tuple(map(str, range(tally.reference.num_classes)))
    checks = tuple(_checks(tally, reference, candidate, agreement, thresholds))
    return Evaluation(reference, candidate, agreement, checks, tuple(tally.images), names)


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


def _checks(
    tally: Tally, reference: Scores, candidate: Scores, agreement: Scores, thresholds: Thresholds
) -> list[Check]:
    images = tally.images
    pixels = sum(image.pixels for image in images)
    checks = [
        Check(
            "something was scored",
            bool(images) and reference.scored > 0,
            f"{len(images):,} images, {reference.scored:,} of {pixels:,} pixels",
            "at least one pixel with a label",
        )
    ]
    bad = [image.name for image in images if not image.finite]
    checks.append(
        Check(
            "all logits are finite",
            not bad,
            f"not in {len(bad):,} images: {', '.join(bad[:3])}{' …' if len(bad) > 3 else ''}"
            if bad
            else f"in all {len(images):,} images",
            "no NaN, no infinity",
        )
    )
    errors = [(image.error_over_scale, image.name) for image in images if image.error_over_scale is not None]
    if errors:
        worst, where = max(errors)
        checks.append(
            Check(
                "logits",
                worst <= thresholds.logits_float32,
                f"largest error {worst:.2e} of the scale, in {where}",
                f"at most {thresholds.logits_float32:.2e} of the scale",
            )
        )
    different = sum(image.different for image in images)
    unexplained = sum(image.unexplained for image in images)
    checks.append(
        Check(
            "label maps",
            unexplained <= thresholds.max_unexplained * pixels,
            f"{different:,} of {pixels:,} pixels differ, {different - unexplained:,} of them are ties",
            f"at most {thresholds.max_unexplained:.2e} of the pixels are no ties"
            if thresholds.max_unexplained
            else "all of them are ties",
        )
    )
    if thresholds.max_miou_difference is not None:
        difference = candidate.mean_iou - reference.mean_iou
        checks.append(
            Check(
                "mIoU",
                abs(difference) <= thresholds.max_miou_difference,  # a NaN fails, too
                f"differs by {difference:+.2e}",
                f"at most {thresholds.max_miou_difference:.2e}",
            )
        )
    if thresholds.min_agreement is not None:
        checks.append(
            Check(
                "agreement",
                agreement.pixel_accuracy >= thresholds.min_agreement,
                f"{agreement.pixel_accuracy:.6f} of the pixels",
                f"at least {thresholds.min_agreement:.6f}",
            )
        )
    return checks


def margin_of(record: ImageRecord) -> float:
    """How close two classes must be at a pixel of this image to be a tie; 0 if its logits are not finite."""
    return _margin(record.logits_error, record.logits_scale) if record.finite else 0.0


def _margin(error: float | None, scale: float) -> float:
    # An export may give label maps only; its logits then count as off by their gate.
    assumed = LOGITS_FLOAT32_MULTIPLE * scale if error is None else error
    return tie_margin(assumed, scale, resized=True)


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None
