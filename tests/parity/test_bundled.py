"""The bundled checkpoint, on held-out scenes: both frameworks, what it is worth, and what colour alone is."""

import json
from pathlib import Path

import numpy as np
import pytest

from parity import cli
from tf_segformer.scenes.baselines import NearestNeighbours, draw_pairs, iou_per_class, sample_pixels
from tf_segformer.scenes.writing import Order, write_scenes

BUNDLED = Path(__file__).parents[2] / "examples" / "segformer-scenes"
COUNT, SEED, SIZE = 12, 2, 192


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundled")
    write_scenes(folder / "data", Order(COUNT, SEED, SIZE, SIZE, "validation"))
    code = cli.app(
        ["miou", str(BUNDLED), "--data", str(folder / "data"), "--report", str(folder / "report.json")]
    )
    assert code == 0
    return json.loads((folder / "report.json").read_text())["evaluation"]


def test_both_frameworks_score_the_same(report):
    """Labels may differ where two logits tie, which is a matter of a pixel in a million."""
    assert report["images"] == COUNT
    assert all(check["passed"] for check in report["checks"])
    assert report["agreement"]["pixel_accuracy"] >= 1 - 1e-5
    assert abs(report["difference"]) <= 1e-5


def test_it_knows_more_than_colours(report):
    colors, labels = sample_pixels(draw_pairs("training", 40, SEED, SIZE), 50)
    scores = iou_per_class(draw_pairs("validation", COUNT, SEED, SIZE), NearestNeighbours(colors, labels))
    by_colour = float(np.nanmean(scores))
    assert by_colour <= 0.4
    assert report["reference"]["mean_iou"] > by_colour + 0.3


def test_it_is_small_and_says_what_it_is():
    assert (BUNDLED / "model.safetensors").stat().st_size <= 16e6
    card = (BUNDLED / "README.md").read_text(encoding="utf-8")
    assert "drawn scenes" in card and "tf-segformer train" in card
