"""The report of `parity miou` as JSON values and on the console."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parity.circumstances import library_versions, machine
from parity.miou import Scores
from parity.results import plain
from parity.tally import ImageRecord
from parity.thresholds import Thresholds
from parity.verdict import Evaluation

SCHEMA_NAME = "parity-miou-report"
SCHEMA_VERSION = 2
# Rows of the console's tables; the JSON report has all classes.
SHOWN_CLASSES = 12
SHOWN_IMAGES = 5


@dataclass(frozen=True)
class Subject:
    """What was compared, in words.

    Attributes:
        model: the checkpoint as it was given.
        dataset: name of the dataset.
        candidate: name of the candidate's side.
        settings: whatever decides about the numbers.
        thresholds: what passes.
        notes: what the reader must know, e.g. what was not compared.
    """

    model: str
    dataset: str
    candidate: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    thresholds: Thresholds = field(default_factory=Thresholds)
    notes: tuple[str, ...] = ()


def miou_schema() -> dict[str, Any]:
    """The JSON schema of the report (draft 2020-12)."""
    text = resources.files("parity").joinpath("miou.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


def miou_report_dict(
    subject: Subject,
    evaluation: Evaluation | None,
    *,
    exit_code: int,
    error: str | None = None,
    worst: int = 20,
    created: str | None = None,
) -> dict[str, Any]:
    """The report as strict JSON values.

    Args:
        subject: what was compared.
        evaluation: what was found; None if the run broke down.
        exit_code: the code that the command ends with.
        error: what broke down.
        worst: how many of the worst images are listed.
        created: ISO time; now by default.
    """
    found: dict[str, Any] | None = None
    if evaluation is not None:
        found = {
            "images": len(evaluation.images),
            "reference": _scores(evaluation.reference),
            "candidate": _scores(evaluation.candidate),
            "agreement": _scores(evaluation.agreement),
            "difference": evaluation.difference,
            "checks": [asdict(check) for check in evaluation.checks],
            "classes": _classes(evaluation),
            "absent": [evaluation.class_names[label] for label in evaluation.reference.absent],
            "worst_images": [image_dict(image) for image in evaluation.worst_images[:worst]],
        }
    verdict = "error" if evaluation is None else "equal" if evaluation.equal else "different"
    return plain(
        {
            "schema": SCHEMA_NAME,
            "version": SCHEMA_VERSION,
            "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
            "model": subject.model,
            "dataset": subject.dataset,
            "candidate": subject.candidate,
            "verdict": verdict,
            "exit_code": exit_code,
            "error": error,
            "notes": list(subject.notes),
            "settings": dict(subject.settings),
            "thresholds": subject.thresholds.to_dict(),
            "versions": library_versions(),
            "machine": machine(),
            "evaluation": found,
        }
    )


def image_dict(image: ImageRecord) -> dict[str, Any]:
    """One photograph's numbers."""
    return asdict(image) | {"error_over_scale": image.error_over_scale}


def print_evaluation(subject: Subject, evaluation: Evaluation, console: Console) -> None:
    """Print the scores, the classes that differ most, the worst images and the verdict."""
    table = Table(title=f"{subject.model} on {subject.dataset}", title_justify="left")
    for heading in ("", "torch_ref", subject.candidate, "difference"):
        table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, what in (
        ("mean_iou", "mIoU"),
        ("mean_accuracy", "mean accuracy"),
        ("pixel_accuracy", "pixel accuracy"),
    ):
        ours, theirs = getattr(evaluation.reference, name), getattr(evaluation.candidate, name)
        table.add_row(what, f"{ours:.6f}", f"{theirs:.6f}", f"{theirs - ours:+.2e}")
    console.print(table)
    _print_classes(evaluation, console)
    _print_images(evaluation, console)
    absent = evaluation.reference.absent
    if absent:
        names = ", ".join(evaluation.class_names[label] for label in absent[:8])
        more = ", …" if len(absent) > 8 else ""
        console.print(
            f"left out of the reference's mIoU, in neither truth nor prediction: {len(absent)} classes "
            f"({escape(names)}{more})",
            style="dim",
        )
    agreement = evaluation.agreement
    console.print(
        f"agreement: mIoU {agreement.mean_iou:.6f}, {agreement.pixel_accuracy:.8f} of {agreement.scored:,} "
        "pixels",
        highlight=False,
    )
    for note in subject.notes:
        console.print(f"note: {escape(note)}", style="dim")
    for check in evaluation.checks:
        mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
        line = f"{mark} {escape(check.name)}: {escape(check.found)} (required: {escape(check.required)})"
        console.print(line, highlight=False)
    console.print("[bold green]EQUAL[/]" if evaluation.equal else "[bold red]DIFFERENT[/]")


def _print_classes(evaluation: Evaluation, console: Console) -> None:
    rows = [row for row in _classes(evaluation) if row["agreement_iou"] is not None]
    rows.sort(key=lambda row: (row["agreement_iou"], row["class"]))
    table = Table(title="classes, those first on which the sides differ most", title_justify="left")
    table.add_column("class", overflow="fold")
    for heading in ("IoU torch_ref", "IoU candidate", "difference", "agreement IoU", "true pixels"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows[:SHOWN_CLASSES]:
        ours, theirs = row["reference_iou"], row["candidate_iou"]
        table.add_row(
            escape(row["name"]),
            _number(ours),
            _number(theirs),
            f"{theirs - ours:+.2e}" if ours is not None and theirs is not None else "–",
            f"{row['agreement_iou']:.6f}",
            f"{row['true_pixels']:,}",
        )
    console.print(table)
    if len(rows) > SHOWN_CLASSES:
        console.print(f"and {len(rows) - SHOWN_CLASSES} more classes: see --report", style="dim")


def _print_images(evaluation: Evaluation, console: Console) -> None:
    table = Table(title="worst images", title_justify="left")
    table.add_column("image", overflow="fold")
    for heading in (
        "pixels",
        "differ",
        "no ties",
        "logits error ÷ scale",
        "mIoU torch_ref",
        "mIoU candidate",
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    for image in evaluation.worst_images[:SHOWN_IMAGES]:
        error = image.error_over_scale
        table.add_row(
            escape(image.name),
            f"{image.pixels:,}",
            f"{image.different:,}",
            f"{image.unexplained:,}",
            "not finite" if not image.finite else f"{error:.2e}" if error is not None else "–",
            _number(image.reference_miou),
            _number(image.candidate_miou),
        )
    console.print(table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def _scores(scores: Scores) -> dict[str, Any]:
    return {
        "mean_iou": scores.mean_iou,
        "mean_accuracy": scores.mean_accuracy,
        "pixel_accuracy": scores.pixel_accuracy,
        "correct": scores.correct,
        "scored": scores.scored,
        "ignored": scores.ignored,
        "absent_classes": len(scores.absent),
    }


def _classes(evaluation: Evaluation) -> list[dict[str, Any]]:
    reference, candidate = evaluation.reference, evaluation.candidate
    return plain(
        [
            {
                "class": label,
                "name": name,
                "reference_iou": reference.iou[label],
                "candidate_iou": candidate.iou[label],
                "agreement_iou": evaluation.agreement.iou[label],
                "reference_accuracy": reference.accuracy[label],
                "candidate_accuracy": candidate.accuracy[label],
                "true_pixels": reference.true_pixels[label],
                "reference_pixels": reference.predicted_pixels[label],
                "candidate_pixels": candidate.predicted_pixels[label],
            }
            for label, name in enumerate(evaluation.class_names)
        ]
    )
