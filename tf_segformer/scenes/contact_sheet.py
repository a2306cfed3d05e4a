"""Many scenes on one picture, each photograph above its label map.

python -m tf_segformer.scenes.contact_sheet scenes.jpg
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from tf_segformer.labels import ADE20K
from tf_segformer.scenes.scene import draw_scene


def contact_sheet(seed: int, split: str, rows: int, columns: int, size: int) -> Image.Image:
    """Draw the first scenes of a series, square, side by side.

    Args:
        seed: The series.
        split: "training" or "validation".
        rows: How many rows of scenes.
        columns: How many in each.
        size: Their sides in pixels.

    Returns:
        An RGB picture of `2 * rows * size` rows; what has no label is black.
    """
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(ADE20K)] = ADE20K.colors()
    sheet = np.zeros((rows, 2, size, columns, size, 3), np.uint8)
    for index in range(rows * columns):
        scene = draw_scene(seed, index, size, size, split)
        sheet[index // columns, :, :, index % columns] = scene.image, palette[scene.labels]
    return Image.fromarray(sheet.reshape(2 * rows * size, columns * size, 3))


def main(
    output: Annotated[Path, typer.Argument(help="The picture to write.", dir_okay=False)],
    seed: Annotated[int, typer.Option(help="Series of scenes.", min=0)] = 0,
    split: Annotated[str, typer.Option(help="training or validation.")] = "validation",
    rows: Annotated[int, typer.Option(help="Rows of scenes.", min=1)] = 3,
    columns: Annotated[int, typer.Option(help="Scenes in a row.", min=1)] = 6,
    size: Annotated[int, typer.Option(help="Side of a scene in pixels.", min=32)] = 160,
) -> None:
    """Draw a contact sheet of scenes and their label maps."""
    contact_sheet(seed, split, rows, columns, size).save(output)


if __name__ == "__main__":
    typer.run(main)
