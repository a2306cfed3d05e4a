"""The bundled checkpoint, fine-tuned on other classes by the command, exported, and held against PyTorch."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

from parity.assertions import assert_miou, assert_parity
from parity.miou_pipeline import MiouRequest
from serving.export import export_saved_model
from tests.tf_segformer.drawn_data import train_arguments, write_drawn
from tf_segformer import TFSegformerForSemanticSegmentation, TFSegformerImageProcessor
from tf_segformer.cli import app

BUNDLED = Path(__file__).parents[2] / "examples" / "segformer-scenes"
# Some drawn classes are of none of these, and so not labelled.
CLASSES = {
    "above": ("sky", "ceiling"),
    "ground": ("floor", "grass", "road", "water"),
    "structure": ("wall", "building", "fence", "mountain"),
    "furniture": ("bed", "cabinet", "table", "chair"),
}
STEPS, RATE, SIZE, HELD_OUT = 30, 2e-4, 96, 6
CLASSIFIER = "decode_head.classifier.weight"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fine-tuning")
    write_drawn(folder / "training", CLASSES.values(), 24, size=SIZE)
    write_drawn(folder / "validation", CLASSES.values(), HELD_OUT, size=SIZE, split="validation")
    return folder


@pytest.fixture(scope="module")
def tuned(data):
    """The checkpoint that the command wrote."""
    arguments = train_arguments(
        data,
        data / "out",
        list(CLASSES),
        model=BUNDLED,
        steps=STEPS,
        batch=4,
        crop=64,
        short_side=SIZE,
        size=SIZE,
        learning_rate=RATE,
        warm_up=2,
        drop_path=0,
        pictures=0,
    )
    with pytest.warns(UserWarning, match=r"classifier\.weight \(150, 128, 1, 1\), not \(4, .* are new"):
        answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    return data / "out" / "model"


def loss_on_held_out_scenes(data, model):
    processor = TFSegformerImageProcessor.from_pretrained(BUNDLED, size={"height": SIZE, "width": SIZE})
    photographs, masks = (
        [np.asarray(Image.open(path)) for path in sorted((data / "validation" / kind).iterdir())]
        for kind in ("images", "masks")
    )
    inputs = processor(photographs, masks, do_reduce_labels=False, return_tensors="np")
    return float(model(**inputs).loss)


def test_other_classes_are_learnt(tuned, data):
    names = dict(enumerate(CLASSES))
    with pytest.warns(UserWarning, match="are new"):
        begun = TFSegformerForSemanticSegmentation.from_pretrained(
            BUNDLED, id2label=names, ignore_mismatched_sizes=True
        )
    ended = TFSegformerForSemanticSegmentation.from_pretrained(tuned)
    assert ended.config.id2label == names
    assert loss_on_held_out_scenes(data, ended) < 0.6 * loss_on_held_out_scenes(data, begun)
    assert json.loads((data / "out" / "evaluation.json").read_text())["mean_iou"] > 0.5


def test_it_began_with_the_checkpoints_encoder_and_a_new_classifier(tuned):
    before, after = load_file(BUNDLED / "model.safetensors"), load_file(tuned / "model.safetensors")
    assert before.keys() == after.keys()
    assert [before[CLASSIFIER].shape[0], after[CLASSIFIER].shape[0]] == [150, len(CLASSES)]
    kernels = [
        key for key in before if ".encoder." in key and key.endswith("weight") and before[key].ndim > 1
    ]
    first, last = (np.concatenate([weights[key].ravel() for key in kernels]) for weights in (before, after))
    moved = np.linalg.norm(last - first) / np.linalg.norm(first)
    assert 0 < moved < 0.2  # weights of another origin would be more than 1 away


def test_the_network_is_what_pytorch_computes(tuned, data):
    run = assert_parity(
        tuned, image=data / "validation/images/0000.jpg", without=("gradients",), isolate=False
    )
    assert {lane.dtype for lane in run.lanes} == {"float32", "float64"}
    assert all(len(lane.of_level("taps")) > 100 for lane in run.lanes)


def test_its_export_labels_files_as_pytorch_does(tuned, data):
    export = export_saved_model(tuned, data / "models" / "scenes", batch_sizes=(1,))
    folder = data / "validation"
    request = MiouRequest(
        str(tuned), images=folder / "images", annotations=folder / "masks", saved_model=export
    )
    evaluation = assert_miou(request).evaluation
    assert len(evaluation.images) == HELD_OUT and evaluation.agreement.pixel_accuracy > 1 - 1e-5
    assert evaluation.class_names == tuple(CLASSES)
