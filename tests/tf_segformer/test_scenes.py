"""Drawn scenes: the same every time, at every size, of every class, and not to be told by colour."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from parity.annotations import check_dataset, read_annotation
from parity.datasets import Labels, find_dataset
from tf_segformer.cli import app
from tf_segformer.labels import ADE20K
from tf_segformer.scenes import ID, NAMES, UNLABELLED, baselines, draw_scene, writing
from tf_segformer.scenes.contact_sheet import contact_sheet

LABELS = Labels(150, reduce_zero_label=True)


@pytest.fixture(scope="module")
def some():
    """The first 150 scenes of a series, small."""
    return [draw_scene(3, index, 64, 64) for index in range(150)]


def run(*arguments):
    return CliRunner().invoke(app, ["scenes", *map(str, arguments)])


def test_a_scene_is_the_same_every_time(some):
    again = draw_scene(3, 7, 64, 64)
    assert again.jpeg == some[7].jpeg
    np.testing.assert_array_equal(again.labels, some[7].labels)


def test_no_two_scenes_are_the_same(some):
    assert len({scene.jpeg for scene in some}) == len(some)
    others = draw_scene(4, 7, 64, 64), draw_scene(3, 7, 64, 64, "validation")
    assert not {other.jpeg for other in others} & {scene.jpeg for scene in some}


@pytest.mark.parametrize(
    ("index", "expected_shares", "expected_color"),
    [
        (
            1,
            {
                "sky": 0.2086,
                "tree": 0.0634,
                "road": 0.4172,
                "grass": 0.0825,
                "mountain": 0.1167,
                "car": 0.0772,
                "water": 0.0092,
                "fence": 0.0253,
            },
            [110.8, 120.9, 120.8],
        ),
        (
            5,
            {
                "wall": 0.2719,
                "floor": 0.1216,
                "ceiling": 0.1907,
                "bed": 0.0447,
                "cabinet": 0.0806,
                "door": 0.0362,
                "table": 0.1097,
                "curtain": 0.0211,
                "chair": 0.0757,
                "painting": 0.0264,
                "lamp": 0.0121,
                None: 0.0093,
            },
            [180.5, 154.6, 130.8],
        ),
    ],
    ids=["landscape", "room"],
)
def test_scenes_are_those_that_published_figures_are_about(index, expected_shares, expected_color):
    # If this fails, scenes have changed, and every figure about them (docs/, model cards) must be made anew.
    scene = draw_scene(0, index, 128, 128, "validation")
    names = {**dict(enumerate(ADE20K.names)), UNLABELLED: None}
    shares = {names[label]: np.mean(scene.labels == label) for label in np.unique(scene.labels).tolist()}
    assert shares == pytest.approx(expected_shares, abs=0.001)
    np.testing.assert_allclose(scene.image.mean((0, 1)), expected_color, atol=0.5)


def test_every_class_is_in_a_tenth_of_the_scenes_and_large_enough(some):
    assert len(NAMES) >= 20
    large = {name: np.mean([(s.labels == ID[name]).mean() > 0.005 for s in some]) for name in NAMES}
    assert min(large.values()) >= 0.1, large


def test_labels_are_the_classes_that_are_named(some):
    found = np.unique([scene.labels for scene in some])
    assert set(found) == {*ID.values(), UNLABELLED}
    assert all(ADE20K.names[number] == name for name, number in ID.items())


def test_nearly_everything_is_labelled(some):
    without = np.mean([scene.labels == UNLABELLED for scene in some])
    assert 0 < without < 0.02


@pytest.mark.parametrize("size", [(32, 32), (33, 61), (250, 70), (64, 257)])
def test_any_size(size):
    for index in range(12):
        scene = draw_scene(5, index, *size)
        assert scene.labels.shape == size
        assert scene.image.shape == (*size, 3)
        assert scene.image.dtype == scene.labels.dtype == np.uint8
        assert len(np.unique(scene.labels)) > 2


def test_a_scene_shows_the_same_at_every_size():
    differences = []
    for index in range(8):
        small, large = (draw_scene(6, index, side, side) for side in (64, 192))
        assert np.mean(small.labels == large.labels[1::3, 1::3]) > 0.999
        squashed = np.asarray(Image.fromarray(large.image).resize((64, 64), Image.Resampling.BOX), np.float32)
        differences.append(np.abs(squashed - small.image).mean())
    assert np.mean(differences) < 9  # 7.5 of noise and JPEG


def test_photographs_are_noisy_jpegs(some):
    with Image.open(io.BytesIO(some[0].jpeg)) as image:
        assert image.format == "JPEG"
    smoothness = [np.mean(np.diff(scene.image.astype(int), axis=1) == 0) for scene in some]
    assert max(smoothness) < 0.9  # a drawing of flat colours has hardly a step


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 31, 64), "64x31"),
        ((0, 0, 64, 5000), "5000x64"),
        ((-1, 0, 64, 64), "-1 and 0"),
        ((0, 0, 64, 64, "test"), "'test'; expected training or validation"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(*arguments)


# --- the data set on disk ---


def test_the_folder_is_ade20ks(tmp_path):
    result = run(tmp_path, "--count", 4, "--seed", 3, "--size", "80x64", "--split", "validation")
    assert result.exit_code == 0, result.output
    found = find_dataset(tmp_path)
    assert (found.layout, found.reduce_zero_label, len(found.pairs)) == ("ade20k", True, 4)
    check_dataset(found, LABELS)
    for index, pair in enumerate(found.pairs):
        scene = draw_scene(3, index, 64, 80, "validation")
        assert pair.image.read_bytes() == scene.jpeg
        stored = read_annotation(pair.annotation, LABELS).astype(int)
        np.testing.assert_array_equal(stored, np.where(scene.labels == UNLABELLED, 0, scene.labels + 1))
    assert json.loads((tmp_path / "scenes-validation.json").read_text())["seed"] == 3


def test_both_splits_fit_into_one_folder_and_none_is_overwritten(tmp_path):
    for split in ("training", "validation"):
        assert run(tmp_path, "--count", 1, "--size", "32x32", "--split", split).exit_code == 0
    before = (tmp_path / "images" / "training" / "scene_000000.jpg").read_bytes()
    result = run(tmp_path, "--count", 1, "--seed", 1, "--size", "32x32")
    assert result.exit_code == 1
    assert "exists already and is not overwritten" in result.output
    assert (tmp_path / "images" / "training" / "scene_000000.jpg").read_bytes() == before


def test_an_error_leaves_nothing(tmp_path, monkeypatch):
    def fails_at_two(seed, index, *size_and_split):
        if index == 2:
            raise OSError("No space left on device")
        return draw_scene(seed, index, *size_and_split)

    monkeypatch.setattr(writing, "draw_scene", fails_at_two)
    result = run(tmp_path, "--count", 3, "--size", "32x32")
    assert result.exit_code == 1
    assert "No space left on device" in result.output
    assert not list(tmp_path.rglob("*.jpg"))
    assert not (tmp_path / "images" / "training").exists()


def test_what_a_killed_run_left_is_seen(tmp_path):
    (tmp_path / "training.unfinished").mkdir()
    result = run(tmp_path, "--count", 1, "--size", "32x32")
    assert result.exit_code == 1
    assert "killed run" in result.output
    assert not (tmp_path / "images").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--size", "64"), "--size is '64'; expected width and height"),
        (("--size", "64x16"), "The size is 64x16"),
        (("--split", "test"), "'test'; expected training or validation"),
        (("--count", 2_000_000), "expected 1 to 1000000 scenes"),
    ],
)
def test_wrong_arguments_are_explained_before_anything_is_written(tmp_path, arguments, message):
    folder = tmp_path / "scenes"
    result = run(folder, *(() if "--count" in arguments else ("--count", 1)), *arguments)
    assert result.exit_code == 1
    assert message in result.output
    assert not folder.exists()


def test_processes_write_the_same_files(tmp_path):
    for processes in (1, 2):
        order = writing.Order(count=20, seed=1, height=48, width=48, split="training")
        writing.write_scenes(tmp_path / str(processes), order, processes)
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.*")]
    assert len(files) == 41
    for file in files:
        assert (tmp_path / "2" / file).read_bytes() == (tmp_path / "1" / file).read_bytes()


# --- what colour alone gives away ---


def test_nearest_mean():
    classify = baselines.NearestMean(np.uint8([[0, 0, 0], [20, 0, 0], [200, 0, 0]]), np.uint8([5, 5, 9]))
    np.testing.assert_array_equal(classify(np.uint8([[[90, 0, 0], [120, 0, 0]]])), [[5, 9]])


def test_nearest_neighbours_let_the_majority_decide():
    colors = np.uint8([[100, 100, 100], [104, 100, 100], [92, 100, 100], [250, 250, 250]])
    labels = np.uint8([7, 4, 4, 2])
    image = np.uint8([[[100, 100, 100], [255, 255, 255]]])
    np.testing.assert_array_equal(baselines.NearestNeighbours(colors, labels, k=1)(image), [[7, 2]])
    np.testing.assert_array_equal(baselines.NearestNeighbours(colors, labels, k=3)(image[:, :1]), [[4]])


def test_iou_per_class():
    labels, predicted = np.uint8([[0, 0, 3, 255]]), np.uint8([[0, 3, 3, 8]])
    image = np.zeros((1, 4, 3), np.uint8)
    iou = baselines.iou_per_class([(image, labels)], lambda image: predicted)
    np.testing.assert_array_equal(iou[[0, 3]], [0.5, 0.5])
    assert np.isnan(np.delete(iou, [0, 3])).all()  # what was predicted without a label is not counted


def test_colour_alone_does_not_give_the_answer(some):
    pairs = [(scene.image, scene.labels) for scene in some]
    colors, labels = baselines.sample_pixels(pairs[:100], 12)
    for classify in (baselines.NearestMean(colors, labels), baselines.NearestNeighbours(colors, labels)):
        miou = np.nanmean(baselines.iou_per_class(pairs[100:], classify))
        assert 0.03 < miou < 0.4  # better than chance, or it has learnt nothing


def test_contact_sheet():
    sheet = np.asarray(contact_sheet(0, "training", 1, 2, 32))
    scene = draw_scene(0, 1, 32, 32)
    np.testing.assert_array_equal(sheet[:32, 32:], scene.image)
    expected = np.append(ADE20K.colors(), np.zeros((106, 3), np.uint8), 0)[scene.labels]
    np.testing.assert_array_equal(sheet[32:, 32:], expected)
