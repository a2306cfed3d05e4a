"""Small folders of photographs and masks whose colours tell the classes."""

import json

import numpy as np
from PIL import Image

COLOURS = np.array([(0, 0, 0), (200, 60, 40), (50, 180, 70), (40, 70, 210)])

# Two stages of one block: the shortest graph that has all of the network's parts.
NETWORK = {
    "model_type": "segformer",
    "num_encoder_blocks": 2,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "sr_ratios": [2, 1],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
}


def scene(random, height=48, width=64, first=0):
    """A photograph of three patches and its mask, whose classes begin at `first`."""
    classes = random.integers(0, 3, (3, 4))
    classes[0, :3] = 0, 1, 2
    classes = classes.repeat(-(-height // 3), 0).repeat(-(-width // 4), 1)[:height, :width]
    pixels = COLOURS[classes + 1] + random.normal(0, 12, (height, width, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8), (classes + first).astype(np.uint8)


def write_folders(folder, count=10, seed=0):
    """`images/` and `masks/`: classes 0 to 2, a corner not labelled."""
    random = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        pixels, mask = scene(random)
        mask[:4, :4] = 255
        Image.fromarray(pixels).save(folder / "images" / f"{number:02d}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02d}.png")
    return folder


def write_ade20k(folder, training=4, validation=2, seed=0):
    """ADE20K's layout: stored labels 1 to 3, a corner 0."""
    random = np.random.default_rng(seed)
    for split, count in (("training", training), ("validation", validation)):
        for name in ("images", "annotations"):
            (folder / name / split).mkdir(parents=True)
        for number in range(count):
            pixels, mask = scene(random, first=1)
            mask[:4, :4] = 0
            Image.fromarray(pixels).save(folder / "images" / split / f"{number}.png")
            Image.fromarray(mask).save(folder / "annotations" / split / f"{number}.png")
    return folder


def write_network(folder):
    """`network.json` and `labels.json` for `tf-segformer train`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.json").write_text(json.dumps(NETWORK))
    (folder / "labels.json").write_text(json.dumps(["brick", "grass", "sky"]))
    return folder / "network.json", folder / "labels.json"
