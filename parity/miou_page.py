"""The HTML report of `parity miou`."""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from parity import html
from parity.charts import bars_html
from parity.miou_pipeline import Shown
from parity.miou_report import Subject
from parity.pictures import palette_for
from parity.run_page import label_gallery, label_legend, sides_legend
from parity.tally import ImageRecord
from parity.verdict import Evaluation

_HEADINGS = (
    *("image", "pixels", "differ", "no ties", "largest margin", "logits error ÷ scale"),
    *("mIoU PyTorch", "mIoU candidate"),
)


def miou_page(
    subject: Subject,
    evaluation: Evaluation | None,
    shown: tuple[Shown, ...] = (),
    *,
    error: str | None = None,
    worst: int = 20,
) -> str:
    """The page of one run, or of one that broke down.

    Args:
        subject: what was compared.
        evaluation: what was found; None if the run broke down.
        shown: photographs with their label maps.
        error: what broke down.
        worst: how many images are listed.
    """
    title = f"{Path(subject.model).name} on {subject.dataset}"
    if evaluation is None:
        return html.page(title, "error", error or "The comparison could not be made.", (), ())
    reference, candidate, agreement = evaluation.reference, evaluation.candidate, evaluation.agreement
    different = sum(image.different for image in evaluation.images)
    facts = [
        ("mIoU, PyTorch", f"{reference.mean_iou:.6f}"),
        (f"mIoU, {subject.candidate}", f"{candidate.mean_iou:.6f}"),
        ("difference of the mIoUs", f"{evaluation.difference:+.2e}"),
        ("agreement mIoU", f"{agreement.mean_iou:.6f}"),
        ("labels that agree", f"{agreement.pixel_accuracy:.6%}"),
        ("images", f"{len(evaluation.images):,}"),
        ("pixels", f"{agreement.scored:,}, {reference.ignored:,} not scored"),
        ("pixel accuracy", f"{reference.pixel_accuracy:.4f} and {candidate.pixel_accuracy:.4f}"),
        ("mean accuracy", f"{reference.mean_accuracy:.4f} and {candidate.mean_accuracy:.4f}"),
    ]
    summary = (
        f"{different:,} of {agreement.scored:,} labels differ between PyTorch and {subject.candidate}; the "
        f"mIoUs are {reference.mean_iou:.4f} and {candidate.mean_iou:.4f}."
    )
    failed = [check.name for check in evaluation.checks if not check.passed]
    if failed:
        summary += f" What failed: {', '.join(failed)}."
    checks = html.checks(
        (check.passed, check.name, f"{check.found} (required: {check.required})")
        for check in evaluation.checks
    )
    body = [
        html.section("What was required", checks, note=" ".join(f"Note: {note}." for note in subject.notes)),
        html.section("Worst images", *(_photograph(each, subject, evaluation) for each in shown)),
        _classes(subject, evaluation),
        html.section(
            "Images",
            html.table(_HEADINGS, (_image(image) for image in evaluation.worst_images[:worst])),
            note="Those first on which most labels differ without being ties.",
        ),
    ]
    return html.page(title, "equal" if evaluation.equal else "different", summary, facts, body)


def _photograph(shown: Shown, subject: Subject, evaluation: Evaluation) -> str:
    palette = palette_for(len(evaluation.class_names))
    record = shown.record
    maps = [
        ("Annotation (dark: not scored)", shown.truth),
        ("PyTorch", shown.reference),
        (subject.candidate, shown.candidate),
    ]
    remark = (
        f"{record.different:,} of {record.pixels:,} pixels differ, "
        f"{record.different - record.unexplained:,} are ties"
    )
    return (
        f"<h3>{escape(record.name)}</h3>"
        + label_gallery(shown.photograph, maps, shown.ties, palette, remark)
        + label_legend([labels for _, labels in maps], palette, evaluation.class_names)
    )


def _classes(subject: Subject, evaluation: Evaluation) -> str:
    reference, candidate = evaluation.reference, evaluation.candidate
    agreement = evaluation.agreement
    rows = []
    for label in np.argsort(-reference.true_pixels, kind="stable"):
        ours, theirs = float(reference.iou[label]), float(candidate.iou[label])
        if np.isnan(ours) and np.isnan(theirs):
            continue
        both = agreement.iou[label]
        same = f", agreement {both:.4f}" if np.isfinite(both) else ""
        values = (np.nan_to_num(ours), np.nan_to_num(theirs))
        rows.append((evaluation.class_names[label], *values, f"{values[0]:.4f} and {values[1]:.4f}{same}"))
    absent = [evaluation.class_names[label] for label in reference.absent]
    left_out = (
        f"Left out of the mean, as neither the annotations nor the reference have them: {', '.join(absent)}."
        if absent
        else "Every class is in the mean."
    )
    bars = bars_html(rows, ("PyTorch", subject.candidate))
    return html.section(
        "IoU of each class", f"<div>{bars}</div>", sides_legend(subject.candidate), note=left_out
    )


def _image(image: ImageRecord) -> tuple[bool, list[str]]:
    error = image.error_over_scale
    return image.finite and not image.unexplained, [
        image.name,
        f"{image.pixels:,}",
        f"{image.different:,}",
        f"{image.unexplained:,}",
        f"{image.worst_margin:.2g}",
        "not finite" if not image.finite else "–" if error is None else f"{error:.1e}",
        "–" if image.reference_miou is None else f"{image.reference_miou:.4f}",
        "–" if image.candidate_miou is None else f"{image.candidate_miou:.4f}",
    ]
