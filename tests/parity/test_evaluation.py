"""Runs over datasets with made-up sides: verdicts, interruptions, and states that do not fit."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from parity import tally as tally_module
from parity.datasets import find_dataset
from parity.label_runners import Answer, Side
from parity.miou import ConfusionMatrix
from parity.running import HarnessError
from parity.tally import MATRICES, StateError
from parity.thresholds import Thresholds
from tests.parity.generated_dataset import write_ade20k
from tests.parity.made_up_sides import run, side

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_ade20k(tmp_path_factory.mktemp("ade"), count=12)


def failed(evaluation):
    return [check.name for check in evaluation.checks if not check.passed]


def assert_same(ours, theirs):
    """Two tallies are one and the same, to the last bit."""
    for name in MATRICES:
        np.testing.assert_array_equal(getattr(ours, name).counts, getattr(theirs, name).counts)
        assert getattr(ours, name).ignored == getattr(theirs, name).ignored
    assert [asdict(record) for record in ours.images] == [asdict(record) for record in theirs.images]


def test_equal_sides(dataset):
    tally, evaluation = run(dataset)
    assert evaluation.equal, evaluation.checks
    assert len(tally.images) == 12
    assert evaluation.difference == 0.0
    assert evaluation.agreement.pixel_accuracy == evaluation.agreement.mean_iou == 1.0
    assert 0.0 < evaluation.reference.mean_iou < 0.3
    pixels = sum(image.pixels for image in tally.images)
    assert evaluation.agreement.scored == pixels
    assert evaluation.reference.scored + evaluation.reference.ignored == pixels
    assert evaluation.reference.ignored > 0


def test_logits_beyond_their_gate(dataset):
    _, evaluation = run(dataset, candidate=side(change=lambda logits: logits * np.float32(1 + 1e-5)))
    assert failed(evaluation) == ["logits"]
    loose = Thresholds(logits_float32=1e-3)
    _, evaluation = run(dataset, candidate=side(change=lambda x: x * np.float32(1 + 1e-5)), thresholds=loose)
    assert evaluation.equal


def test_labels_of_another_class_although_the_logits_are_equal(dataset):
    def swapped(labels):
        labels[3, 4] = (labels[3, 4] + 1) % 11
        return labels

    tally, evaluation = run(dataset, candidate=side(labels=swapped))
    assert failed(evaluation) == ["label maps"]
    assert sum(image.unexplained for image in tally.images) == 12
    pixels = sum(image.pixels for image in tally.images)
    _, evaluation = run(
        dataset, candidate=side(labels=swapped), thresholds=Thresholds(max_unexplained=12.5 / pixels)
    )
    assert evaluation.equal


def test_ties_are_no_failure_and_are_counted(dataset):
    def tied(logits):
        logits = logits.copy()
        # Two classes share the maximum to the last bit at every pixel of some rows.
        best = logits[:5].argmax(-1)
        np.put_along_axis(logits[:5], ((best + 1) % 11)[..., None], logits[:5].max(-1, keepdims=True), -1)
        return logits

    def other(logits):
        logits = tied(logits)
        logits[:5] += np.float32(1e-7) * np.arange(11, dtype=np.float32)
        return logits

    tally, evaluation = run(dataset, reference=side(change=tied), candidate=side(change=other))
    assert sum(image.different for image in tally.images) > 100
    assert evaluation.equal, evaluation.checks


@pytest.mark.parametrize("where", ["reference", "candidate"])
def test_nan_is_a_failure(dataset, where):
    def spoiled(logits):
        logits[1, 2, 3] = np.nan
        return logits

    _, evaluation = run(dataset, **{where: side(change=spoiled)})
    assert "all logits are finite" in failed(evaluation)


def test_nothing_scored_is_a_failure(tmp_path):
    from PIL import Image

    write_ade20k(tmp_path, 2)
    for path in (tmp_path / "annotations" / "validation").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    thresholds = Thresholds(max_miou_difference=1.0)
    _, evaluation = run(tmp_path, thresholds=thresholds)
    assert failed(evaluation) == ["something was scored", "mIoU"]


def test_a_project_s_own_thresholds(dataset):
    def shifted(labels):
        return np.roll(labels, 1, axis=1)

    loose = Thresholds(max_unexplained=1.0)
    _, evaluation = run(dataset, candidate=side(labels=shifted), thresholds=loose)
    assert evaluation.equal and evaluation.difference != 0.0
    strict = Thresholds(max_unexplained=1.0, max_miou_difference=0.0, min_agreement=0.999999)
    _, evaluation = run(dataset, candidate=side(labels=shifted), thresholds=strict)
    assert failed(evaluation) == ["mIoU", "agreement"]


def test_labels_alone(dataset):
    tally, evaluation = run(dataset, candidate=side(gives_logits=False))
    assert evaluation.equal
    assert "logits" not in [check.name for check in evaluation.checks]
    assert {image.logits_error for image in tally.images} == {None}


def test_the_worst_images_come_first(dataset):
    seen = []

    def worse_and_worse(labels):
        seen.append(1)
        labels[0, : len(seen) % 7] += 1
        return labels % 11

    _, evaluation = run(dataset, candidate=side(labels=worse_and_worse))
    shares = [image.unexplained / image.pixels for image in evaluation.worst_images]
    assert shares == sorted(shares, reverse=True) and shares[0] > shares[-1]


def broken(error, after):
    inner, seen = side("tf_segformer"), []

    def segment(content, name):
        seen.append(name)
        if len(seen) > after:
            raise error
        return inner.segment(content, name)

    return Side("tf_segformer", {}, (), True, segment)


@pytest.mark.parametrize("error", [ValueError("boom"), KeyboardInterrupt()])
def test_an_interrupted_run_goes_on_where_it_was(dataset, tmp_path, error):
    state = tmp_path / "state"
    expected = HarnessError if isinstance(error, ValueError) else KeyboardInterrupt
    with pytest.raises(expected):
        run(dataset, state, candidate=broken(error, 5), save_every=100)
    again = []
    tally, evaluation = run(dataset, state, tick=lambda tally: again.append(len(tally.images)))
    assert again == list(range(6, 13))
    whole, wanted = run(dataset)
    assert_same(tally, whole)
    assert evaluation.difference == wanted.difference
    assert run(dataset, state, tick=lambda _: pytest.fail("ran again"))[1].equal


def test_an_interruption_between_two_counts_leaves_the_older_state(dataset, tmp_path, monkeypatch):
    state = tmp_path / "state"
    inner, added = ConfusionMatrix.add, []

    def interrupted(self, other):
        added.append(1)
        if len(added) == 3 * 7 + 2:  # the eighth photograph is in one of three matrices
            raise KeyboardInterrupt
        inner(self, other)

    monkeypatch.setattr(ConfusionMatrix, "add", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(dataset, state, save_every=5)
    assert len(images_of(state)) == 5
    assert_same(run(dataset, state)[0], run(dataset)[0])


def test_a_killed_run_goes_on_with_the_same_numbers(dataset, tmp_path):
    state = tmp_path / "state"
    command = [sys.executable, "-m", "tests.parity.made_up_sides", str(dataset), str(state)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for images in (2, 6):  # killed twice, once from the start and once from a state
        with subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
            while len(images_of(state)) < images:
                assert child.poll() is None, "it ended before it could be killed"
                time.sleep(0.005)
            child.send_signal(signal.SIGKILL)
            assert child.wait() == -signal.SIGKILL
    assert images <= len(images_of(state)) < 12
    tally, evaluation = run(dataset, state)
    whole, wanted = run(dataset)
    assert_same(tally, whole)
    assert evaluation.reference.mean_iou == wanted.reference.mean_iou


def images_of(state):
    from safetensors import safe_open

    if not state.exists():
        return []
    with safe_open(state, framework="np") as file:
        return json.loads(file.metadata()["state"])["images"]


def test_a_state_is_replaced_at_once_or_not_at_all(dataset, tmp_path, monkeypatch):
    state = tmp_path / "state"
    tally, _ = run(dataset, state)
    before = state.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tally_module.os, "fsync", full)
    with pytest.raises(StateError, match="No space left"):
        tally.save(state)
    assert state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_of_other_settings_is_refused_by_name(dataset, tmp_path):
    state = tmp_path / "state"
    run(dataset, state, settings={"weights_sha256": "a", "versions": {"torch": "1"}})
    before = state.read_bytes()
    with pytest.raises(StateError, match=r"(?s)other settings.*weights_sha256: was 'a', is 'b'"):
        run(dataset, state, settings={"weights_sha256": "b", "versions": {"torch": "1"}})
    with pytest.raises(StateError, match=r"versions: was {'torch': '1'}, is {'torch': '2'}"):
        run(dataset, state, settings={"weights_sha256": "a", "versions": {"torch": "2"}})
    assert state.read_bytes() == before


@pytest.mark.parametrize("damage", ["truncated", "text", "counts", "version", "names", "negative"])
def test_a_damaged_state_is_refused(dataset, tmp_path, damage):
    state = tmp_path / "state"
    run(dataset, state)
    if damage == "truncated":
        state.write_bytes(state.read_bytes()[:-8])
    elif damage == "text":
        state.write_text("no state")
    else:
        from safetensors import safe_open

        with safe_open(state, framework="np") as file:
            content = json.loads(file.metadata()["state"])
        arrays = load_file(state)
        if damage == "counts":
            arrays["candidate"][0, 0] += 1
        elif damage == "negative":
            arrays["candidate"][0, :2] += np.array([-(10**9), 10**9])
        elif damage == "version":
            content["version"] = 2
        else:
            content["images"][0].append("surplus")
        save_file(arrays, state, {"state": json.dumps(content)})
    with pytest.raises(StateError, match="Delete it to begin afresh"):
        run(dataset, state)


def test_a_side_that_fails_is_named_with_its_photograph(dataset, tmp_path):
    def wrong_size(content, name):
        return Answer(np.zeros((2, 2), np.int32), np.zeros((2, 2, 11), np.float32))

    name = find_dataset(dataset).pairs[0].name
    with pytest.raises(HarnessError, match=f"{name}: the label map of tf_segformer: shapes differ"):
        run(dataset, candidate=Side("tf_segformer", {}, (), True, wrong_size))
    with pytest.raises(HarnessError, match=f"{name}: tf_segformer failed: ValueError: boom"):
        run(dataset, candidate=broken(ValueError("boom"), 0))
