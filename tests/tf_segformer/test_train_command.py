"""`tf-segformer train` as a user runs it: a training, the same one killed, and what is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from safetensors.numpy import load_file
from transformers import SegformerForSemanticSegmentation, SegformerImageProcessorPil
from typer.testing import CliRunner

from tests.tf_segformer.training_data import write_folders, write_network
from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.cli import app
from tf_segformer.trainer.callbacks import read_log
from tf_segformer.trainer.state import StateError, read_state

STEPS, SAVE_EVERY = 12, 4
TRAIN = [sys.executable, "-m", "tf_segformer", "train"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("train") / "data")


@pytest.fixture(scope="module")
def options(data):
    network, labels = write_network(data.parent)
    given = {
        "data": data,
        "config": network,
        "labels": labels,
        "steps": STEPS,
        "batch": 4,
        "crop": 48,
        "warm-up": 2,
        "learning-rate": 0.01,
        "head-factor": 1,
        "ema": 0.5,
        "log-every": 4,
        "save-every": SAVE_EVERY,
        "validate-every": 8,
        "pictures": 1,
        "threads": 1,
    }
    return [f"--{name}={value}" for name, value in given.items()] + ["--deterministic"]


@pytest.fixture(scope="module")
def trained(data, options):
    """The folder of a training that ran to its end, and what it printed."""
    output = data.parent / "whole"
    answer = subprocess.run([*TRAIN, *options, "-o", output], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return output, answer.stdout


def test_the_loss_falls_and_the_log_says_so(trained):
    output, printed = trained
    log = read_log(output / "log.csv")
    assert [line["step"] for line in log] == [4, 8, 12]
    assert log[-1]["loss"] < log[0]["loss"]
    assert ["mean_iou" in line for line in log] == [False, True, True]
    assert log[-1]["learning_rate"] == 0
    picture = (output / "curve.svg").read_text()
    assert f"step 12: {log[-1]['mean_iou']:.4f}" in picture and picture.count("<polyline") == 2
    assert f"mIoU {log[-1]['mean_iou']:.2%}" in printed
    evaluation = json.loads((output / "evaluation.json").read_text())
    assert evaluation["mean_iou"] == pytest.approx(log[-1]["mean_iou"], abs=1e-5)
    assert [entry["name"] for entry in evaluation["classes"]] == ["brick", "grass", "sky"]


def test_the_checkpoint_is_what_pytorch_reads(trained, data):
    folder = trained[0] / "model"
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    theirs = SegformerForSemanticSegmentation.from_pretrained(folder, dtype="float32")
    assert theirs.config.id2label == {0: "brick", 1: "grass", 2: "sky"}
    processor = SegformerImageProcessorPil.from_pretrained(folder)
    with Image.open(data / "images/00.png") as photo:
        pixels = processor(photo, return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 48, 48)
    ours = TFSegformerForSemanticSegmentation.from_pretrained(folder, from_pt=True)
    expected = theirs(pixels).logits.detach().numpy()
    np.testing.assert_allclose(ours(pixels.numpy()).logits, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_the_model_card_gives_data_recipe_and_numbers(trained):
    card = (trained[0] / "model/README.md").read_text()
    evaluation = json.loads((trained[0] / "evaluation.json").read_text())
    for part in (
        "# SegFormer, 3 classes, 0.01 M parameters",
        "from scratch",
        "Trained on 9 photographs",
        "12 of 12 steps of AdamW, 4 crops of 48 × 48",
        f"| {evaluation['mean_iou']:.2%} | {evaluation['mean_accuracy']:.2%} |",
        "| grass |",
    ):
        assert part in card


def test_the_state_may_be_read_by_whoever_may_read_the_log(trained):
    state, log = (trained[0] / name for name in ("state.safetensors", "log.csv"))
    assert state.stat().st_mode == log.stat().st_mode


def test_the_averaged_weights_are_the_ones_that_are_written(trained):
    state = load_file(trained[0] / "state.safetensors")
    bias = load_file(trained[0] / "model/model.safetensors")["decode_head.classifier.bias"]
    (average,) = (value for key, value in state.items() if key.endswith("classifier_bias_average"))
    (last,) = (value for key, value in state.items() if key.endswith("decode_head/classifier/bias"))
    np.testing.assert_array_equal(bias, average)
    assert not np.array_equal(bias, last)


def test_tensorboard_gets_scalars_and_pictures(trained):
    (path,) = (trained[0] / "events").iterdir()
    scalars, pictures = {}, []
    for record in tf.compat.v1.io.tf_record_iterator(str(path)):
        event = tf.compat.v1.Event.FromString(record)
        for value in event.summary.value:
            if value.HasField("image"):
                pictures.append(tf.io.decode_png(value.image.encoded_image_string).shape)
                assert pictures[-1] == (value.image.height, value.image.width, 3)
            else:
                scalars[value.tag, event.step] = value.simple_value
    log = read_log(trained[0] / "log.csv")
    for line in log:
        assert scalars["loss", line["step"]] == pytest.approx(line["loss"], rel=1e-5)
    assert len(pictures) == 2
    assert [path.name for path in sorted((trained[0] / "samples").iterdir())] == [
        "step-000008.png",
        "step-000012.png",
    ]


def test_a_training_that_was_killed_ends_in_the_same_bits(trained, data, options):
    output = data.parent / "killed"
    process = subprocess.Popen([*TRAIN, *options, "-o", output], stdout=subprocess.DEVNULL)
    killed_at = wait_for_steps(output, SAVE_EVERY, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert killed_at < STEPS  # the first validation builds a graph meanwhile
    answer = subprocess.run([*TRAIN, "--resume", "-o", output], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    for name in ("model/model.safetensors", "state.safetensors"):
        expected, found = load_file(trained[0] / name), load_file(output / name)
        assert expected.keys() == found.keys()
        different = [key for key, value in expected.items() if not np.array_equal(value, found[key])]
        assert not different, name
    without_speed = [
        [{**line, "images_per_second": 0} for line in read_log(folder / "log.csv")]
        for folder in (trained[0], output)
    ]
    assert without_speed[0] == without_speed[1]


def wait_for_steps(output, steps, process):
    """Wait until a state after so many steps is on the disk; returns its steps."""
    while process.poll() is None:
        try:
            done, _ = read_state(output / "state.safetensors")
        except StateError:
            done = 0
        if done >= steps:
            return done
        time.sleep(0.01)
    raise AssertionError(f"the training ended with {process.returncode} before it was killed")


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_bad_data_is_reported_before_anything_is_written(tmp_path, options):
    folder = write_folders(tmp_path / "data", count=4)
    Image.new("L", (10, 10)).save(folder / "masks/00.png")
    Image.new("L", (64, 48), 77).save(folder / "masks/01.png")
    changed = [option for option in options if not option.startswith(("--data", "--threads", "--determ"))]
    answer = run(*changed, "--data", folder, "-o", tmp_path / "out")
    assert answer.exit_code == 1
    assert "2 problems in 4 pairs" in answer.output
    assert "00.png: is 10×10 pixels" in answer.output and "01.png: has labels outside" in answer.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the training data either as --data DIR or as"),
        (["--images", "x"], "give both of --images and --masks"),
        (["--data", "nowhere"], "there is no folder"),
        (["--data", "DATA"], "the names of the classes are not known"),
        (["--data", "DATA", "--model", "x", "--variant", "b0"], "give one of --model, --variant"),
        (["--data", "DATA", "--labels", "LABELS", "--variant", "b9"], "Unknown variant 'b9'"),
        (["--data", "DATA", "--labels", "DATA/images/00.png"], "is not a readable JSON file"),
        (["--data", "DATA", "--steps", "10"], "warm_up is 1500 steps"),
        (["--resume"], "holds no state.safetensors"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, data, arguments, message):
    places = {"DATA": str(data), "LABELS": str(data.parent / "labels.json")}
    for name, path in places.items():
        arguments = [argument.replace(name, path) for argument in arguments]
    answer = run(*arguments, "-o", tmp_path / "out")
    assert answer.exit_code == 1, answer.output
    assert message in answer.output
    assert not (tmp_path / "out").exists()


def test_a_training_is_not_overwritten_and_goes_on_with_its_own_recipe(trained, options, data):
    output = trained[0]
    kept = [option for option in options if not option.startswith(("--threads", "--determ"))]
    assert "already holds a training" in run(*kept, "-o", output).output
    answer = run("--resume", "-o", output, "--steps", 20)
    assert answer.exit_code == 2
    assert "leave --steps out" in " ".join(answer.output.replace("│", " ").split())


def test_changed_data_is_named_when_a_training_goes_on(trained, data):
    path = Path(data / "images/00.png")
    before = path.read_bytes()
    try:
        Image.new("RGB", (64, 48)).save(path)
        answer = run("--resume", "-o", trained[0])
    finally:
        path.write_bytes(before)
    assert answer.exit_code == 1
    assert "photographs or masks were added, removed or changed" in answer.output
