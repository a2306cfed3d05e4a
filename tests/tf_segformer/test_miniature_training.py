"""A training of half a minute on drawn scenes: what it has learnt is more than what colours give away."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tests.tf_segformer.drawn_data import train_arguments, write_drawn
from tf_segformer.cli import app
from tf_segformer.scenes import NAMES
from tf_segformer.scenes.baselines import NearestMean, NearestNeighbours, iou_per_class, sample_pixels

SIZE = 64
NETWORK = {
    "model_type": "segformer",
    "hidden_sizes": [16, 32, 40, 64],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 2, 2, 4],
    "decoder_hidden_size": 64,
    "classifier_dropout_prob": 0.0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder, and both splits' photographs and label maps."""
    folder = tmp_path_factory.mktemp("miniature")
    (folder / "network.json").write_text(json.dumps(NETWORK))
    classes = [(name,) for name in NAMES]
    splits = {
        split: write_drawn(folder / split, classes, count, size=SIZE, split=split)
        for split, count in (("training", 300), ("validation", 60))
    }
    return folder, splits


@pytest.fixture(scope="module")
def by_colour(data):
    """The mIoU of each classifier that sees one pixel at a time, on the held-out scenes."""
    _, splits = data
    colors, labels = sample_pixels(splits["training"], 12)
    return [
        float(np.nanmean(iou_per_class(splits["validation"], classify)))
        for classify in (NearestMean(colors, labels), NearestNeighbours(colors, labels))
    ]


def test_it_beats_what_colours_give_away(data, by_colour):
    folder, _ = data
    arguments = train_arguments(
        folder,
        folder / "out",
        NAMES,
        config=folder / "network.json",
        steps=150,
        batch=16,
        crop=SIZE,
        learning_rate=4e-3,
        head_factor=1,
        warm_up=20,
        drop_path=0,
        ema=0.95,
        pictures=0,
    )
    answer = CliRunner().invoke(app, [*arguments, "--scales", "1", "1", "--no-photometric"])
    assert answer.exit_code == 0, answer.output
    evaluation = json.loads((folder / "out" / "evaluation.json").read_text())
    assert evaluation["images"] == 60
    assert min(by_colour) > 0.03  # better than chance, or they are no opponents
    assert evaluation["mean_iou"] > 1.3 * max(by_colour), (evaluation["mean_iou"], by_colour)
