"""The command line: `tf-segformer segment PHOTO --model MODEL -o out.png`, `tf-segformer scenes DIR`."""

import re
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress
from rich.table import Table

from tf_segformer.evaluate_command import evaluate
from tf_segformer.train_command import train

app = typer.Typer(
    help="SegFormer in Keras 3.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def main() -> None:
    """SegFormer in Keras 3."""


app.command()(train)
app.command()(evaluate)


@app.command()
def segment(
    photo: Annotated[Path, typer.Argument(help="An image file.", exists=True, dir_okay=False)],
    model: Annotated[str, typer.Option(help="A checkpoint folder or a Hugging Face Hub id.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The label map to write, a PNG.", dir_okay=False)
    ],
    from_pt: Annotated[bool, typer.Option(help="Read PyTorch weights only.")] = False,
) -> None:
    """Segment a photograph: a label-map PNG at its own size, and an overlay with a legend beside it."""
    if output.suffix.lower() != ".png":
        _fail(f"{output} is not a .png: a label map must be written without loss.")
    console = Console()
    # after the arguments are known to be good: this takes seconds
    from tf_segformer.overlay import class_shares, write_overlay
    from tf_segformer.segmentation import Segmenter

    try:
        with console.status(f"Loading {model}"):
            segmenter = Segmenter(model, from_pt=from_pt or None)
        with console.status(f"Segmenting {photo}"):
            result = segmenter(photo.read_bytes())
    except (OSError, ValueError) as error:
        _fail(str(error))
    overlay = output.with_name(f"{output.stem}-overlay.png")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_label_map(result.labels, output)
    write_overlay(result.pixels, result.labels, segmenter.label_set, overlay)

    table = Table("class", "share of pixels")
    for found in class_shares(result.labels, segmenter.label_set)[:12]:
        table.add_row(found.name, f"{found.share:.1%}")
    console.print(table)
    # A path must come out in one piece, to be copied from here.
    console.print(f"Label map: {output}\nOverlay:   {overlay}", highlight=False, markup=False, soft_wrap=True)


@app.command()
def scenes(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The data set's folder.", file_okay=False)],
    count: Annotated[int, typer.Option(help="How many scenes to draw.", min=1)],
    seed: Annotated[int, typer.Option(help="Which series of scenes.", min=0)] = 0,
    size: Annotated[str, typer.Option(metavar="WxH", help="Width and height in pixels.")] = "512x512",
    split: Annotated[str, typer.Option(help="training or validation.")] = "training",
    processes: Annotated[int, typer.Option(help="How many draw at a time.", min=1)] = 1,
) -> None:
    """Draw labelled scenes in ADE20K's folder layout, a stand-in for a data set: docs/scenes.md."""
    from tf_segformer.scenes.writing import Order, write_scenes

    console = Console()
    try:
        width, height = _parse_size(size)
        order = Order(count, seed, height, width, split)
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=console) as progress:
            task = progress.add_task("Drawing", total=count)
            write_scenes(folder, order, processes, lambda: progress.advance(task))
    except (OSError, ValueError) as error:
        _fail(str(error))
    console.print(
        f"{count} scenes of {width}x{height}: {folder / 'images' / split} and "
        f"{folder / 'annotations' / split}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _parse_size(text: str) -> tuple[int, int]:
    """Width and height from, say, 640x480."""
    found = re.fullmatch(r"(\d{1,6})x(\d{1,6})", text)
    if not found:
        raise ValueError(f"--size is {text!r}; expected width and height in pixels, such as 640x480.")
    return int(found[1]), int(found[2])


def write_label_map(labels: np.ndarray, path: Path) -> None:
    """Write a label map (H, W) as a gray PNG: 8-bit up to 256 labels, 16-bit above."""
    depth = np.uint8 if labels.max(initial=0) < 256 else np.uint16
    Image.fromarray(labels.astype(depth)).save(path)


def _fail(message: str) -> None:
    print(f"tf-segformer: {message}", file=sys.stderr)
    raise typer.Exit(1)
