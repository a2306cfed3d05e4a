"""What a run over a dataset found, and whether it passes.

Two questions are answered. How good is each side: its mIoU against the annotations. Are they the same
model: pixels on which their labels differ must be ties (the reference's preference for its own label is
below twice the measured error of the logits), and the logits must pass their gate. The second decides;
two models can differ everywhere and have one mIoU.
"""

from __future__ import annotations

from dataclasses import dataclass

from parity.miou import Scores
from parity.tally import ImageRecord, Tally
from parity.thresholds import Thresholds


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
