"""`tf-segformer evaluate`: its options, table, pictures and JSON."""

from __future__ import annotations

import enum
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


class Protocol(enum.StrEnum):
    """How photographs are brought to the network."""

    checkpoint = "checkpoint"
    paper = "paper"
    both = "both"


def evaluate(
    model: Annotated[str, typer.Argument(help="Checkpoint folder or Hub id.")],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder in ADE20K's layout, or with images/ and masks/.", file_okay=False),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of ADE20K's layout; default: validation.")] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs.", file_okay=False)] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of their masks.", file_okay=False)] = None,
    reduce_zero_label: Annotated[
        bool | None, typer.Option(help="0 is 'not labelled', classes begin at 1; default: by layout.")
    ] = None,
    palette_labels: Annotated[bool, typer.Option(help="Indices of palette masks are labels.")] = False,
    protocol: Annotated[
        Protocol,
        typer.Option(help="checkpoint: as its preprocessor_config.json says; paper: shape kept."),
    ] = Protocol.both,
    short_side: Annotated[
        int, typer.Option(help="Of the paper's protocol, in pixels; the longer side: at most 4 times.", min=1)
    ] = 512,
    limit: Annotated[int | None, typer.Option(help="Only the first so many photographs.", min=1)] = None,
    report: Annotated[Path | None, typer.Option("--json", help="Write all numbers.", dir_okay=False)] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder for pictures of the best and worst photographs.", file_okay=False),
    ] = None,
    shown: Annotated[int, typer.Option(help="Photographs in each picture.", min=1)] = 5,
) -> None:
    """Score a checkpoint on photographs with masks: mIoU, accuracies, IoU of every class.

    Whole photographs, one at a time, label maps at the photographs' own size, mmsegmentation's definitions.
    The Hugging Face protocol squashes photographs to the checkpoint's size, the paper's keeps their shape
    and rounds both sides up to multiples of 32; their mIoUs cannot be compared with each other.
    """
    # after the arguments are known to be good: this takes seconds
    from tf_segformer.datasets.checks import check
    from tf_segformer.datasets.reading import MaskRules
    from tf_segformer.evaluation.pictures import extremes
    from tf_segformer.evaluation.predictions import evaluate as score
    from tf_segformer.evaluation.predictions import predictor
    from tf_segformer.evaluation.report import report_dict
    from tf_segformer.resizing import Resizing
    from tf_segformer.segmentation import Segmenter

    console = Console()
    try:
        dataset = _dataset(data, split, images, masks, reduce_zero_label, limit)
        segmenter = Segmenter(model)
        rules = MaskRules(len(segmenter.label_set), dataset.reduce_zero_label, palette_labels)
        reports = []
        with _progress(console) as progress:
            task = progress.add_task("Checking the data", total=len(dataset.pairs))
            (contents,) = check([dataset], rules, lambda: progress.advance(task))
            for resizing in _policies(protocol, short_side, Resizing):
                name = "checkpoint" if resizing.policy == "checkpoint" else "paper"
                progress.reset(task, description=f"Evaluating, {name}", total=len(dataset.pairs))
                predict = predictor(segmenter.model, segmenter.processing, resizing)
                evaluation = score(predict, dataset.pairs, rules, lambda: progress.advance(task))
                entry = report_dict(evaluation, segmenter.label_set, dataset.name, name)
                size = resizing.completed(segmenter.processing).to_dict()
                if name == "checkpoint":
                    size["preprocessing"] = segmenter.processing.to_dict()
                reports.append({**entry, "resizing": size})
                if pictures:
                    pictures.mkdir(parents=True, exist_ok=True)
                    for kind, sheet in extremes(
                        evaluation, dataset.pairs, rules, predict, segmenter.label_set, shown
                    ).items():
                        sheet.save(pictures / f"{name}-{kind}.png")
        if report:
            content = {"model": model, "data_sha256": contents.digest, "evaluations": reports}
            report.parent.mkdir(parents=True, exist_ok=True)
            report.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"tf-segformer: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    _print(console, reports)
    for path in (report, pictures):
        if path:
            console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)


def _dataset(
    data: Path | None,
    split: str | None,
    images: Path | None,
    masks: Path | None,
    reduce_zero_label: bool | None,
    limit: int | None,
) -> Any:
    from dataclasses import replace

    from tf_segformer.datasets.pairs import DatasetError, find_evaluation, find_folders

    if (data is None) is not bool(images and masks):
        raise DatasetError("give the data either as --data DIR or as --images DIR --masks DIR")
    dataset = find_folders(images, masks) if images and masks else find_evaluation(Path(str(data)), split)
    if reduce_zero_label is not None:
        dataset = replace(dataset, reduce_zero_label=reduce_zero_label)
    return replace(dataset, pairs=dataset.pairs[:limit])


def _policies(protocol: Protocol, short_side: int, resizing: Any) -> list[Any]:
    paper = resizing("keep-ratio", short_side=short_side, long_side=4 * short_side, multiple=32)
    chosen = {
        Protocol.checkpoint: [resizing()],
        Protocol.paper: [paper],
        Protocol.both: [resizing(), paper],
    }
    return chosen[protocol]


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _print(console: Console, reports: list[dict[str, Any]]) -> None:
    totals = Table("protocol", "photographs", "mIoU", "mean accuracy", "pixel accuracy")
    for entry in reports:
        shares = [_share(entry[name]) for name in ("mean_iou", "mean_accuracy", "pixel_accuracy")]
        totals.add_row(entry["protocol"], str(entry["images"]), *shares)
    classes = Table("class", *(f"IoU, {entry['protocol']}" for entry in reports))
    names: dict[str, list[str]] = {}
    for place, entry in enumerate(reports):
        for found in entry["classes"]:
            names.setdefault(found["name"], [""] * len(reports))[place] = _share(found["iou"])
    for name, shares in names.items():
        classes.add_row(name, *shares)
    console.print(classes)
    console.print(totals)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"
