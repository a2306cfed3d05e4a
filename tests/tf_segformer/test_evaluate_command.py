"""`tf-segformer evaluate`, against the harness's own counting of the same label maps."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from parity.miou import ConfusionMatrix
from tests.tf_segformer.training_data import NETWORK, write_folders
from tf_segformer import SegformerConfig, TFSegformerForSemanticSegmentation
from tf_segformer.cli import app
from tf_segformer.evaluation.confusion import confusion, scores
from tf_segformer.image_logits import segment_logits
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import Resizing

PROCESSING = ImageProcessing(height=64, width=64)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("evaluate") / "data", count=2)


@pytest.fixture(scope="module")
def model():
    config = SegformerConfig.from_dict({**NETWORK, "num_labels": 4})
    return TFSegformerForSemanticSegmentation(config, data_format="channels_last")


@pytest.fixture(scope="module")
def checkpoint(model, data):
    folder = data.parent / "model"
    model.save_pretrained(folder, to_pt=True)
    PROCESSING.save_pretrained(folder)
    return folder


def run(*arguments):
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def expected(model, data, resizing):
    """The harness's counts of label maps that are made photograph by photograph."""
    matrix = ConfusionMatrix(4)
    for path in sorted((data / "images").iterdir()):
        pixels = np.asarray(Image.open(path))
        logits = segment_logits(pixels, PROCESSING, resizing, lambda x: model(x).logits, 4)
        labels = label_map(logits, *pixels.shape[:2]).numpy()
        matrix.update(np.asarray(Image.open(data / "masks" / path.name)), labels)
    return matrix.scores()


def test_both_protocols_are_counted_as_the_harness_counts(model, data, checkpoint, tmp_path):
    report = tmp_path / "out" / "report.json"
    answer = run(
        checkpoint, "--data", data, "--short-side", 96, "--json", report, "--pictures", tmp_path / "p"
    )
    assert answer.exit_code == 0, answer.output
    squashed, kept = json.loads(report.read_text())["evaluations"]
    assert (squashed["protocol"], kept["protocol"]) == ("checkpoint", "paper")
    assert kept["resizing"] == {
        "policy": "keep-ratio",
        "short_side": 96,
        "long_side": 384,
        "multiple": 32,
    }
    for found, resizing in (
        (squashed, Resizing()),
        (kept, Resizing("keep-ratio", short_side=96, long_side=384, multiple=32)),
    ):
        wanted = expected(model, data, resizing)
        for name in ("mean_iou", "mean_accuracy", "pixel_accuracy"):
            assert found[name] == getattr(wanted, name), name
            assert f"{found[name]:.2%}" in answer.output
        for entry in found["classes"]:
            assert entry["iou"] == wanted.iou[entry["id"]]
            assert entry["true_pixels"] == wanted.true_pixels[entry["id"]]
            assert entry["predicted_pixels"] == wanted.predicted_pixels[entry["id"]]
        assert found["images"] == len(found["by_image"]) == 2
        assert found["labelled_pixels"] == wanted.scored == 2 * (48 * 64 - 16)
    assert squashed["mean_iou"] != kept["mean_iou"]
    names = ["checkpoint-best", "checkpoint-worst", "paper-best", "paper-worst"]
    assert sorted(path.stem for path in (tmp_path / "p").iterdir()) == names
    assert [image["name"] for image in squashed["by_image"]] == ["00", "01"]


def test_bad_data_is_reported_before_anything_is_run(data, checkpoint, tmp_path):
    folder = write_folders(tmp_path / "data", count=2)
    Image.new("L", (64, 48), 4).save(folder / "masks/00.png")
    Image.new("P", (64, 48)).save(folder / "masks/01.png")
    answer = run(checkpoint, "--data", folder, "--json", tmp_path / "report.json")
    assert answer.exit_code == 1
    assert "outside 0 to 3 for 4 classes: 4" in answer.output and "is a palette image" in answer.output
    assert not (tmp_path / "report.json").exists()


def test_data_is_given_in_one_way(data, checkpoint):
    assert "either as --data DIR or as" in run(checkpoint).output
    given = ["--images", data / "images", "--masks", data / "masks"]
    assert "either as --data DIR or as" in run(checkpoint, "--data", data, *given).output
    answer = run(checkpoint, *given, "--limit", 1, "--protocol", "checkpoint")
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize("classes", [2, 4, 200])
def test_counts_and_scores_are_the_harnesss(classes):
    random = np.random.default_rng(classes)
    matrix = ConfusionMatrix(classes)
    total = np.zeros((classes, classes), np.int64)
    for _ in range(3):
        truth = random.integers(0, classes, (9, 11)).astype(np.uint8)
        truth[truth == 1] = 255
        prediction = random.integers(0, classes, (9, 11)).astype(np.int32)
        matrix.update(truth, prediction)
        total += confusion(truth, prediction, classes)
    np.testing.assert_array_equal(total, matrix.counts)
    ours, theirs = scores(total), matrix.scores()
    for name in ("mean_iou", "mean_accuracy", "pixel_accuracy", "iou", "accuracy", "true_pixels"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_what_cannot_be_counted_is_named():
    with pytest.raises(ValueError, match="expected the same"):
        confusion(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.int32), 3)
    with pytest.raises(ValueError, match="the prediction has classes from 3 to 3; expected 0 to 2"):
        confusion(np.zeros((2, 2), np.uint8), np.full((2, 2), 3), 3)
    nothing = scores(confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.int32), 3))
    assert np.isnan(nothing.mean_iou) and np.isnan(nothing.pixel_accuracy)
