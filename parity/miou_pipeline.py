"""One whole run of `parity miou`: load both sides, check the dataset, run what is left, judge.

Both frameworks run in this process, one after the other on each photograph: what they hold between two
photographs is their weights.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from parity.annotations import check_dataset, read_annotation
from parity.circumstances import library_versions, machine
from parity.datasets import Dataset, DatasetError, Labels, find_dataset, find_folders
from parity.evaluation import evaluate, margin_of
from parity.label_runners import (
    Side,
    keras_side,
    picture_of,
    read_photograph,
    reference_side,
    saved_model_side,
)
from parity.label_statistics import tied_pixels
from parity.miou import IGNORE_INDEX
from parity.miou_report import Subject
from parity.running import Say
from parity.tally import ImageRecord, Tally
from parity.thresholds import Thresholds
from parity.verdict import Evaluation, judge

# title, steps → what to call after each step
Bar = Callable[[str, int], AbstractContextManager[Callable[[str], None]]]


@dataclass(frozen=True)
class MiouRequest:
    """What to run.

    Attributes:
        model: checkpoint folder or hub id.
        data: folder of the dataset; not needed with `images` and `annotations`.
        layout: as in `find_dataset`.
        split: as in `find_dataset`.
        images: folder of photographs, with `annotations` instead of `data`.
        annotations: folder of annotations.
        annotation_ending: as in `find_folders`.
        saved_model: version directory of an export; None for the Keras model.
        logits: whether the candidate's logits are compared; False for an export without them.
        reduce_zero_label: whether label 0 means "not labelled"; None: what the layout says.
        ignore_index: label that is not scored.
        palette_labels: whether the indices of palette images are labels.
        limit: only the first so many photographs; None for all.
        state: file to go on from and to keep the state in.
        save_every: how many photographs a kill can cost.
        pictures: how many of the worst photographs are shown in the report.
        thresholds: what passes.
    """

    model: str
    data: Path | None = None
    layout: str = "auto"
    split: str | None = None
    images: Path | None = None
    annotations: Path | None = None
    annotation_ending: str = ""
    saved_model: Path | None = None
    logits: bool = True
    reduce_zero_label: bool | None = None
    ignore_index: int = IGNORE_INDEX
    palette_labels: bool = False
    limit: int | None = None
    state: Path | None = None
    save_every: int = 25
    pictures: int = 0
    thresholds: Thresholds = field(default_factory=Thresholds)


@dataclass(frozen=True)
class Shown:
    """A photograph with both label maps, for a report with pictures.

    Attributes:
        record: its numbers.
        photograph: uint8 (H, W, 3).
        truth: int (H, W): labels after the reduction, -1 where ignored.
        reference: int (H, W), the reference's labels.
        candidate: int (H, W), the candidate's labels.
        ties: bool (H, W): where they differ, but either is right.
    """

    record: ImageRecord
    photograph: np.ndarray
    truth: np.ndarray
    reference: np.ndarray
    candidate: np.ndarray
    ties: np.ndarray


@dataclass(frozen=True)
class MiouRun:
    """What a run found, and about what."""

    subject: Subject
    evaluation: Evaluation
    shown: tuple[Shown, ...] = ()


def run_miou(request: MiouRequest, *, say: Say, bar: Bar) -> MiouRun:
    """Run both sides on a dataset.

    Args:
        request: what to run.
        say: told about each step.
        bar: makes a progress bar.

    Raises:
        DatasetError: the dataset is not there or not whole; every wrong file is named.
        StateError: the state file belongs to something else.
        HarnessError: a side failed.
    """
    dataset = _find(request)
    reference = reference_side(request.model, say)
    labels = Labels(
        num_classes=len(reference.class_names),
        ignore_index=request.ignore_index,
        reduce_zero_label=(
            dataset.reduce_zero_label if request.reduce_zero_label is None else request.reduce_zero_label
        ),
        mapping=dataset.mapping,
        palette=request.palette_labels,
    )
    with bar("checking the dataset", len(dataset.pairs)) as step:
        data_sha256 = check_dataset(dataset, labels, lambda: step(""))
    with _candidate(request, say) as candidate:
        settings = _settings(dataset, data_sha256, labels, reference, candidate)
        tally = Tally.empty(settings, labels)
        if request.state is not None:
            tally.resume(request.state)
            if tally.images:
                say(f"going on from {request.state}: {len(tally.images):,} images are done")
        left = len(dataset.pairs) - len(tally.images)
        with bar("segmenting", max(1, left)) as step:
            evaluate(
                dataset.pairs,
                labels,
                reference,
                candidate,
                tally,
                state=request.state,
                save_every=request.save_every,
                tick=lambda so_far: step(_words(so_far)),
            )
        evaluation = judge(tally, request.thresholds, reference.class_names)
        shown = tuple(_show(evaluation, dataset, labels, reference, candidate, request.pictures, say))
    subject = Subject(
        model=request.model,
        dataset=dataset.name,
        candidate=candidate.name,
        settings=settings,
        thresholds=request.thresholds,
        notes=tuple(_notes(request, labels, candidate)),
    )
    return MiouRun(subject, evaluation, shown)


def _find(request: MiouRequest) -> Dataset:
    if request.images is not None and request.annotations is not None:
        dataset = find_folders(request.images, request.annotations, request.annotation_ending)
    elif request.data is not None:
        dataset = find_dataset(request.data, request.layout, request.split)
    else:
        raise DatasetError("no dataset was given: --data DIR, or --images DIR and --annotations DIR")
    return dataset if request.limit is None else replace(dataset, pairs=dataset.pairs[: request.limit])


@contextlib.contextmanager
def _candidate(request: MiouRequest, say: Say) -> Iterator[Side]:
    if request.saved_model is None:
        yield keras_side(request.model, say)
    else:
        with saved_model_side(request.saved_model, say, logits=request.logits) as side:
            yield side


def _settings(
    dataset: Dataset, data_sha256: str, labels: Labels, reference: Side, candidate: Side
) -> dict[str, Any]:
    """Whatever decides about the numbers of a run. A state of other settings is refused."""
    circumstances = machine()
    return {
        "dataset": dataset.name,
        "layout": dataset.layout,
        "images": len(dataset.pairs),
        "data_sha256": data_sha256,
        "num_classes": labels.num_classes,
        "ignore_index": labels.ignore_index,
        "reduce_zero_label": labels.reduce_zero_label,
        "ids_are_mapped": labels.mapping is not None,
        "palette_labels": labels.palette,
        "reference": dict(reference.identity),
        "candidate": {"side": candidate.name, **candidate.identity},
        "versions": library_versions(),
        "processor": circumstances["processor"],
        "cores": circumstances["cores"],
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
    }


def _words(tally: Tally) -> str:
    ours, theirs = tally.reference.scores().mean_iou, tally.candidate.scores().mean_iou
    unexplained = sum(image.unexplained for image in tally.images)
    return f"mIoU {ours:.4f} and {theirs:.4f}, {unexplained:,} pixels differ without a tie"


def _notes(request: MiouRequest, labels: Labels, candidate: Side) -> Iterator[str]:
    if labels.reduce_zero_label:
        yield "label 0 of the annotations is not scored, and the others moved down by one"
    if labels.mapping is not None:
        yield "the annotations' ids were mapped to Cityscapes' 19 train ids"
    if not candidate.gives_logits:
        yield "the candidate's logits were not compared (--no-logits): ties were told by the logits' gate"
    if request.limit is not None:
        yield f"only the first {request.limit:,} photographs were run (--limit)"


def _show(
    evaluation: Evaluation,
    dataset: Dataset,
    labels: Labels,
    reference: Side,
    candidate: Side,
    count: int,
    say: Say,
) -> Iterator[Shown]:
    """Run the worst photographs once more: a state file keeps counts, not label maps."""
    pairs = {pair.name: pair for pair in dataset.pairs}
    chosen = evaluation.worst_images[:count]
    if chosen:
        say(f"drawing the {len(chosen)} worst images")
    for record in chosen:
        pair = pairs[record.name]
        content = read_photograph(pair.image)
        truth = read_annotation(pair.annotation, labels).astype(np.int32)
        ignored = truth == labels.ignore_index
        if labels.reduce_zero_label:
            ignored |= truth == 0
            truth -= 1
        truth[ignored] = -1
        ours, theirs = (side.segment(content, pair.name) for side in (reference, candidate))
        assert ours.logits is not None
        ties = tied_pixels(ours.labels, theirs.labels, ours.logits, margin_of(record))
        yield Shown(record, picture_of(content), truth, ours.labels, theirs.labels, ties)
