"""Drawn scenes as photographs and masks whose classes are a test's own."""

import json

import numpy as np
from PIL import Image

from tf_segformer.scenes import ID, UNLABELLED, draw_scene


def write_drawn(folder, classes, count, *, size, split="training", seed=0):
    """Write `images/` and `masks/`, classes from 0 on, 255 for what is of none of them.

    Args:
        folder: Made.
        classes: The names of the drawn classes that each class stands for.
        count: Scenes.
        size: Their height and width.
        split: As in `draw_scene`.
        seed: As in `draw_scene`.

    Returns:
        The photographs and label maps, as `scenes.baselines` takes them.
    """
    numbers = np.full(256, UNLABELLED, np.uint8)
    for number, members in enumerate(classes):
        numbers[[ID[member] for member in members]] = number
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    pairs = []
    for index in range(count):
        scene = draw_scene(seed, index, size, size, split)
        pairs.append((scene.image, numbers[scene.labels]))
        (folder / "images" / f"{index:04d}.jpg").write_bytes(scene.jpeg)
        Image.fromarray(pairs[-1][1]).save(folder / "masks" / f"{index:04d}.png")
    return pairs


def train_arguments(folder, output, names, **options):
    """Arguments of `tf-segformer train` on `training/` and `validation/` of a folder."""
    labels = folder / "labels.json"
    labels.write_text(json.dumps(names))
    given = {
        "images": folder / "training/images",
        "masks": folder / "training/masks",
        "validation-images": folder / "validation/images",
        "validation-masks": folder / "validation/masks",
        "labels": labels,
        **{name.replace("_", "-"): value for name, value in options.items()},
    }
    return ["train", "-o", str(output), *(f"--{name}={value}" for name, value in given.items())]
