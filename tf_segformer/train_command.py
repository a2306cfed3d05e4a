"""`tf-segformer train`: its options, and what it shows while it works."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# What --resume takes along; all else stands in the state.
_WITH_RESUME = {"output", "resume"}


def train(
    context: typer.Context,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the training.", file_okay=False)],
    data: Annotated[
        Path | None,
        typer.Option(help="A folder in ADE20K's layout, or with images/ and masks/.", file_okay=False),
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs.", file_okay=False)] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of their masks (PNG).", file_okay=False)] = None,
    validation_images: Annotated[
        Path | None,
        typer.Option(help="Photographs to validate on; else some are held back.", file_okay=False),
    ] = None,
    validation_masks: Annotated[Path | None, typer.Option(help="Their masks.", file_okay=False)] = None,
    labels: Annotated[
        Path | None, typer.Option(help="JSON: a list of class names, or id2label.", dir_okay=False)
    ] = None,
    reduce_zero_label: Annotated[
        bool | None,
        typer.Option(help="0 is 'not labelled', classes begin at 1; default: as the layout says."),
    ] = None,
    palette_labels: Annotated[bool, typer.Option(help="Indices of palette masks are labels.")] = False,
    model: Annotated[str | None, typer.Option(help="Checkpoint folder or Hub id to fine-tune.")] = None,
    variant: Annotated[str | None, typer.Option(help="b0 to b5, from scratch; b0 by default.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A config.json, from scratch.", exists=True, dir_okay=False)
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimizer steps.")] = 160_000,
    batch: Annotated[int, typer.Option(help="Examples a step.")] = 16,
    crop: Annotated[int, typer.Option(help="Side of the crop in pixels.")] = 512,
    short_side: Annotated[
        int | None, typer.Option(help="Photographs' shorter side before scaling; default: the crop's.", min=1)
    ] = None,
    scales: Annotated[tuple[float, float], typer.Option(help="Least and greatest scale.")] = (0.5, 2.0),
    most_of_one_class: Annotated[float, typer.Option(help="Of a crop's pixels.", min=0, max=1)] = 0.75,
    flip: Annotated[float, typer.Option(help="How often a crop is mirrored.", min=0, max=1)] = 0.5,
    photometric: Annotated[bool, typer.Option(help="Distort brightness, contrast and colours.")] = True,
    size: Annotated[
        int | None, typer.Option(help="Height and width for the network later; default: the crop's.", min=32)
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Peak, of the encoder.")] = 6e-5,
    head_factor: Annotated[float, typer.Option(help="The head's learning rate over the encoder's.")] = 10.0,
    warm_up: Annotated[int, typer.Option(help="Steps of linear warm-up.")] = 1500,
    power: Annotated[float, typer.Option(help="Of the polynomial fall to 0.")] = 1.0,
    weight_decay: Annotated[float, typer.Option(help="None on normalisation layers.")] = 0.01,
    drop_path: Annotated[float, typer.Option(help="Greatest rate of stochastic depth.")] = 0.1,
    ema: Annotated[float, typer.Option(help="Momentum of the weights' moving average; 0: none.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of weights, order, augmentation and dropout.")] = 0,
    deterministic: Annotated[bool, typer.Option(help="The same bits each time; slower.")] = False,
    log_every: Annotated[int, typer.Option(help="Steps between lines of log.csv.")] = 50,
    validate_every: Annotated[
        int, typer.Option(help="Steps between validations; each writes model/.")
    ] = 2000,
    save_every: Annotated[int, typer.Option(help="Steps that a crash can cost.")] = 500,
    validation_photographs: Annotated[
        int, typer.Option(help="At most so many are validated on before the end.", min=1)
    ] = 100,
    pictures: Annotated[int, typer.Option(help="Sample photographs in the logs.", min=0)] = 4,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in --output.")] = False,
    threads: Annotated[
        int | None, typer.Option(help="Threads of TensorFlow; default: all cores.", min=1)
    ] = None,
) -> None:
    """Train by the paper's recipe on photographs and masks; the checkpoint is OUTPUT/model.

    The defaults are the paper's for ADE20K. All data is checked before; after a crash, `--resume -o OUTPUT`
    goes on from the last saved state.
    """
    if resume:
        _refuse_others(context)
    folders = {
        "data": data,
        "images": images,
        "masks": masks,
        "validation_images": validation_images,
        "validation_masks": validation_masks,
    }
    # after the arguments are known to be good: this takes seconds
    from tf_segformer.datasets.pairs import DatasetError
    from tf_segformer.trainer.augmentation import Augmentation
    from tf_segformer.trainer.callbacks import TrainingError
    from tf_segformer.trainer.plan import new_plan
    from tf_segformer.trainer.recipe import Recipe, Schedule
    from tf_segformer.trainer.run import MODEL_FOLDER, begin, set_up
    from tf_segformer.trainer.run import resume as go_on
    from tf_segformer.trainer.source import Source, read_labels

    console = Console()
    try:
        with _Display(console) as display:
            if resume:
                evaluation = go_on(output, display.listener())
            else:
                source = Source(
                    **{name: str(path.resolve()) for name, path in folders.items() if path is not None},
                    palette=palette_labels,
                    reduce_zero_label=reduce_zero_label,
                )
                augmentation = Augmentation(crop, short_side, scales, most_of_one_class, flip, photometric)
                recipe = Recipe(
                    steps=steps,
                    batch_size=batch,
                    learning_rate=learning_rate,
                    warm_up=warm_up,
                    power=power,
                    head_factor=head_factor,
                    weight_decay=weight_decay,
                    drop_path=drop_path,
                    ema=ema,
                    augmentation=augmentation,
                    size=size,
                    seed=seed,
                    deterministic=deterministic,
                    threads=threads,
                )
                schedule = Schedule(log_every, validate_every, save_every, validation_photographs, pictures)
                set_up(recipe)
                plan, network = new_plan(
                    recipe,
                    schedule,
                    source,
                    model=model,
                    variant=variant,
                    config=config,
                    labels=read_labels(labels) if labels else None,
                )
                evaluation = begin(output, plan, network, display.listener())
    except (OSError, ValueError, TrainingError, DatasetError) as error:
        print(f"tf-segformer: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        print(f"tf-segformer: stopped; `tf-segformer train --resume -o {output}` goes on", file=sys.stderr)
        raise typer.Exit(130) from None
    scores = evaluation.scores
    console.print(
        f"{len(evaluation.images)} validation photographs: mIoU {scores.mean_iou:.2%}, mean accuracy "
        f"{scores.mean_accuracy:.2%}, pixel accuracy {scores.pixel_accuracy:.2%}\n"
        f"Checkpoint: {output / MODEL_FOLDER}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _refuse_others(context: typer.Context) -> None:
    """With --resume all else stands in the state, so that it cannot differ."""
    given = [
        name
        for name in context.params
        if name not in _WITH_RESUME and context.get_parameter_source(name).name == "COMMANDLINE"  # type: ignore[union-attr]
    ]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise typer.BadParameter(
            f"--resume goes on with the recipe that OUTPUT holds; leave {options} out, or begin anew in "
            "another folder"
        )


class _Display:
    """A bar for the check of the data, then one for the steps, and a line for each of the log."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self.task: Any = None

    def __enter__(self) -> _Display:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def listener(self) -> Any:
        """What the training calls."""
        from tf_segformer.trainer.run import Listener

        return Listener(
            checking=lambda pairs: self._begin("Checking the data", 0, pairs),
            checked=self._advance,
            begun=lambda first, last: self._begin("Training", first, last),
            stepped=self._advance,
            logged=self._line,
        )

    def _begin(self, description: str, done: int, total: int) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
        self.task = self.progress.add_task(description, completed=done, total=total)

    def _advance(self) -> None:
        self.progress.advance(self.task)

    def _line(self, line: dict[str, Any]) -> None:
        text = (
            f"step {line['step']:6d}  loss {line['loss']:.4f}  learning rate {line['learning_rate']:.2e}  "
            f"{line['images_per_second']:.1f} images/s"
        )
        if "mean_iou" in line:
            text += f"  mIoU {line['mean_iou']:.2%}  pixel accuracy {line['pixel_accuracy']:.2%}"
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
