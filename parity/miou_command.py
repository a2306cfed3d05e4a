"""`parity miou`: both sides on a dataset with annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parity.miou_output import write_miou
from parity.miou_pipeline import MiouRequest, MiouRun, run_miou
from parity.miou_report import Subject, print_evaluation
from parity.options import say_where
from parity.outputs import Config, Html, Json, Junit, Outputs, prepared, whatever_happens
from parity.terminal import Progress, console, exit_code, progress_bar, require_model

LAYOUTS = ("auto", "ade20k", "cityscapes", "folders")


def miou_command(
    model: Annotated[str, typer.Argument(help="Checkpoint folder or hub id.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of ADE20K, Cityscapes, or one laid out like them.")
    ] = None,
    layout: Annotated[str, typer.Option(help=f"{', '.join(LAYOUTS)}.")] = "auto",
    split: Annotated[
        str | None, typer.Option(help="Subfolder; the layout's validation split by default.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs, instead of --data.")] = None,
    annotations: Annotated[Path | None, typer.Option(help="Folder of annotations, with --images.")] = None,
    annotation_ending: Annotated[
        str, typer.Option(help="What an annotation's name has more than its photograph's, e.g. _mask.")
    ] = "",
    saved_model: Annotated[
        Path | None,
        typer.Option(help="Version directory of an export; the Keras model by default.", file_okay=False),
    ] = None,
    logits: Annotated[
        bool, typer.Option(help="Compare the export's logits too; --no-logits if it gives none.")
    ] = True,
    reduce_zero_label: Annotated[
        bool | None,
        typer.Option(
            "--reduce-zero-label/--no-reduce-zero-label",
            help="Label 0 is not scored and the others move down by one; by default as the layout has it.",
        ),
    ] = None,
    ignore_index: Annotated[int, typer.Option(min=0, max=65535, help="Label that is not scored.")] = 255,
    palette_labels: Annotated[
        bool, typer.Option("--palette-labels", help="Indices of palette images are labels.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N photographs.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="Keep the state in this file, and go on from it: the same command resumes."),
    ] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Photographs between two states.")] = 25,
    config: Config = None,
    report: Json = None,
    junit: Junit = None,
    html: Html = None,
    pictures: Annotated[int, typer.Option(min=0, help="Photographs shown on the page, worst first.")] = 4,
) -> int:
    """Compare both frameworks on a dataset: mIoU of each, and whether their label maps agree."""
    if layout not in LAYOUTS:
        raise typer.BadParameter(f"unknown --layout {layout!r}; known are {', '.join(LAYOUTS)}")
    if (images is None) != (annotations is None):
        raise typer.BadParameter("--images and --annotations belong together: give both")
    if (data is None) == (images is None):
        raise typer.BadParameter("give a dataset: either --data DIR, or --images DIR and --annotations DIR")
    if not logits and saved_model is None:
        raise typer.BadParameter("--no-logits is for an export: the Keras model gives logits")
    thresholds, outputs = prepared(config, Outputs(report, junit, html))
    request = MiouRequest(
        model=model,
        data=data,
        layout=layout,
        split=split,
        images=images,
        annotations=annotations,
        annotation_ending=annotation_ending,
        saved_model=saved_model,
        logits=logits,
        reduce_zero_label=reduce_zero_label,
        ignore_index=ignore_index,
        palette_labels=palette_labels,
        limit=limit,
        state=state,
        save_every=save_every,
        pictures=pictures if html is not None else 0,
        thresholds=thresholds,
    )
    say = Progress()
    run: MiouRun | None = None
    subject = Subject(model, str(data or images), thresholds=thresholds)
    with whatever_happens(lambda error: write_miou(outputs, subject, run, error=error)):
        require_model(model)
        run = run_miou(request, say=say, bar=lambda title, total: progress_bar(title, total, say))
    print_evaluation(run.subject, run.evaluation, console())
    say_where(outputs)
    return exit_code(run.evaluation.equal)
