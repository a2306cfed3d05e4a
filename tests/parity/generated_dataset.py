"""Small datasets in the known layouts, made of seeded noise."""

import numpy as np
from PIL import Image


def photograph(random, height, width):
    """A smooth picture with some noise: models see regions in it."""
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3)).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(smooth + random.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def annotation(random, height, width, highest):
    """Patches of labels 0 to `highest`, and some 255."""
    labels = random.integers(0, highest + 1, (3, 4)).astype(np.uint8)
    labels[0, 0] = 255
    return np.asarray(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def write_pair(image_path, annotation_path, random, size, highest):
    for path in (image_path, annotation_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(random, *size)).save(image_path)
    Image.fromarray(annotation(random, *size, highest)).save(annotation_path)


def write_ade20k(folder, count=3, classes=11, seed=0, smallest=24, largest=80):
    """ADE20K's layout with photographs of several sizes; labels 0 to `classes`, 0 not labelled."""
    random = np.random.default_rng(seed)
    for number in range(count):
        size = random.integers(smallest, largest, 2)
        name = f"ADE_val_{number:08d}"
        write_pair(
            folder / "images" / "validation" / f"{name}.jpg",
            folder / "annotations" / "validation" / f"{name}.png",
            random,
            size,
            classes,
        )
    return folder


def write_cityscapes(folder, ending="_gtFine_labelTrainIds", highest=18, seed=0):
    """Cityscapes' layout, two cities."""
    random = np.random.default_rng(seed)
    for city, number in (("bonn", 0), ("ulm", 1), ("ulm", 2)):
        name = f"{city}_{number:06d}_000019"
        write_pair(
            folder / "leftImg8bit" / "val" / city / f"{name}_leftImg8bit.png",
            folder / "gtFine" / "val" / city / f"{name}{ending}.png",
            random,
            (32, 64),
            highest,
        )
    return folder
