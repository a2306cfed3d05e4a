"""`python -m torch_ref`: write a seeded checkpoint, segment a photograph, examine a checkpoint."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import transformers
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from torch_ref import examine, pipeline
from torch_ref.errors import CheckpointError, ImageError
from torch_ref.reference import Reference
from torch_ref.seeded import write_seeded_checkpoint

app = typer.Typer(
    help="The PyTorch reference: transformers' SegFormer and PIL image processor.",
    no_args_is_help=True,
    add_completion=False,
)
console = Console()

Variant = Literal["b0", "b1", "b2", "b3", "b4", "b5"]
Format = Literal["safetensors", "bin"]
DType = Literal["float32", "float64"]
Model = Annotated[str, typer.Option(help="Checkpoint folder or hub id.")]


@app.callback()
def main() -> None:
    """Keeps transformers' progress bars out of this program's own output."""
    transformers.logging.disable_progress_bar()


@app.command()
def write_checkpoint(
    folder: Annotated[Path, typer.Argument(help="Where to write.")],
    variant: Annotated[Variant, typer.Option(help="Paper, table 6.")] = "b0",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    num_labels: Annotated[int, typer.Option(min=1, help="Number of classes.")] = 150,
    format: Annotated[Format, typer.Option(help="File format.")] = "safetensors",
    max_shard_size: Annotated[str | None, typer.Option(help="For example 50MB.")] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Default 512; B5 640.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace weights already there.")] = False,
) -> None:
    """Write a random, full-width checkpoint in the published file layout."""
    try:
        write_seeded_checkpoint(
            folder,
            variant,
            seed=seed,
            num_labels=num_labels,
            format=format,
            max_shard_size=max_shard_size,
            image_size=image_size,
            overwrite=overwrite,
        )
    except (FileExistsError, ValueError) as error:
        raise _fail(error) from error
    size = sum(path.stat().st_size for path in folder.iterdir())
    console.print(
        f"Wrote a seeded {variant.upper()} ({size / 1e6:.0f} MB) to {folder}. Its "
        "weights are random: it proves parity, its labels mean nothing.",
        markup=False,
        soft_wrap=True,
    )


@app.command()
def segment(
    photo: Annotated[Path, typer.Argument(help="JPEG or PNG file.")],
    model: Model,
    output: Annotated[Path, typer.Option("--output", "-o", help="Label map, a gray PNG.")],
    dtype: Annotated[DType, typer.Option(help="Precision.")] = "float32",
) -> None:
    """Segment a photograph: its label map, at its own size, as a PNG."""
    try:
        reference = Reference.from_pretrained(model, dtype)
        labels = reference.segment(photo)
    except (CheckpointError, ImageError) as error:
        raise _fail(error) from error
    pipeline.save_label_map(labels, output)
    found, pixels = np.unique(labels, return_counts=True)
    table = Table("label", "class", "share", title=f"{photo.name}, {len(found)} classes")
    names: dict[Any, str] = reference.config.id2label or {}
    for index in np.argsort(-pixels)[:10]:
        label = int(found[index])
        table.add_row(str(label), names.get(label, "?"), f"{pixels[index] / labels.size:.1%}")
    console.print(table)
    written = f"Wrote the label map, {labels.shape[1]}x{labels.shape[0]}, to {output}."
    console.print(written, markup=False, soft_wrap=True)


@app.command(name="examine")
def examine_checkpoint(
    folder: Annotated[str, typer.Argument(help="Checkpoint folder or hub id.")],
    photo: Annotated[Path, typer.Argument(help="JPEG or PNG file.")],
    size: Annotated[int, typer.Option(min=32, help="Side of the square it is resized to.")] = 128,
    every: Annotated[int, typer.Option(min=0, help="Scale every n-th tensor; 0: none.")] = 1,
    rows: Annotated[int, typer.Option(min=1, help="Tensors to list, least visible first.")] = 12,
) -> None:
    """Measure whether a checkpoint shows faults: exit code 1 if it falls short.

    Every visible tensor scaled by 1.01 must move the logits by ten parity gates, and no block's
    attention may have more than 0.9 of the greatest entropy.
    """
    try:
        reference = Reference.from_pretrained(folder)
        pixels = reference.preprocess(photo, size=(size, size))
        outputs = reference.forward(pixels)
        exact = Reference.from_pretrained(folder, "float64").forward(pixels).logits
    except (CheckpointError, ImageError) as error:
        raise _fail(error) from error
    entropies = [examine.attention_entropy(each) for each in outputs.attentions]
    console.print(f"largest logit       {examine.scale_of(exact):.3g}")
    console.print(f"winning classes     {examine.winning_classes(exact)} of {exact.shape[1]}")
    console.print(f"float32 noise       {examine.float32_noise(outputs.logits, exact):.2e} of the scale")
    console.print(f"attention entropy   {min(entropies):.3f} to {max(entropies):.3f} of the maximum")
    fine = max(entropies) <= 0.9
    if every:
        total = len(reference.model.state_dict()) // every
        steps = examine.sensitivities(reference, pixels, every)
        measured = sorted(track(steps, "scaling tensors", total), key=lambda each: each.moved)
        table = Table(Column("tensor, scaled by 1.01", overflow="fold"), "logits move by", "in gates")
        for each in measured[:rows]:
            gates = each.moved / examine.PARITY_GATE
            table.add_row(each.key, f"{each.moved:.1e} of the scale", f"{gates:.0f}")
        console.print(table)
        faint = sum(each.moved < 10 * examine.PARITY_GATE for each in measured)
        console.print(f"{len(measured)} tensors scaled, {faint} move the logits by under 10 gates.")
        fine = fine and not faint
    for key, reason in examine.INVISIBLE.items():
        console.print(f"left out: {key}: {reason}.")
    if not fine:
        raise typer.Exit(1)


def _fail(error: Exception) -> typer.Exit:
    Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)
