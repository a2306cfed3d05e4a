"""Finding pairs of photographs and masks, reading them, and the report of all that is wrong."""

import numpy as np
import pytest
from PIL import Image

from tests.tf_segformer.training_data import write_ade20k, write_folders
from tf_segformer.datasets.checks import check
from tf_segformer.datasets.pairs import (
    DatasetError,
    find_evaluation,
    find_folders,
    find_split,
    find_training,
)
from tf_segformer.datasets.reading import MaskRules, read_image, read_mask

RULES = MaskRules(3)


def names(dataset):
    return [pair.name for pair in dataset.pairs]


def test_ade20k_has_its_own_splits_and_reduces_zero(tmp_path):
    training, validation = find_training(write_ade20k(tmp_path / "ade"))
    assert (names(training), names(validation)) == (["0", "1", "2", "3"], ["0", "1"])
    assert training.reduce_zero_label and validation.reduce_zero_label
    assert training.pairs[0].mask == tmp_path / "ade/annotations/training/0.png"
    assert find_evaluation(tmp_path / "ade") == validation
    assert find_evaluation(tmp_path / "ade", "training") == training


@pytest.mark.parametrize("masks", ["masks", "annotations", "labels"])
def test_of_plain_folders_a_tenth_is_held_back(tmp_path, masks):
    write_folders(tmp_path / "data", count=20)
    (tmp_path / "data/masks").rename(tmp_path / "data" / masks)
    training, validation = find_training(tmp_path / "data", seed=1)
    assert (len(training.pairs), len(validation.pairs)) == (18, 2)
    assert sorted(names(training) + names(validation)) == [f"{number:02d}" for number in range(20)]
    assert find_training(tmp_path / "data", seed=1) == (training, validation)
    assert any(find_training(tmp_path / "data", seed=seed)[1] != validation for seed in range(2, 6))
    assert not training.reduce_zero_label
    assert len(find_evaluation(tmp_path / "data").pairs) == 20


def test_subfolders_count_and_hidden_files_do_not(tmp_path):
    write_folders(tmp_path / "data", count=2)
    for name in ("images", "masks"):
        (tmp_path / "data" / name / "bonn").mkdir()
        (tmp_path / "data" / name / "00.png").rename(tmp_path / "data" / name / "bonn" / "00.png")
        (tmp_path / "data" / name / ".trash").mkdir()
        (tmp_path / "data" / name / ".trash" / "x.png").touch()
    assert names(find_folders(tmp_path / "data/images", tmp_path / "data/masks")) == ["01", "bonn/00"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "there is no folder"),
        (lambda folder: folder.mkdir(), "is of no known layout: expected images/training"),
        (lambda folder: write_folders(folder, count=0), "images is empty: it holds no file"),
        (lambda folder: write_folders(folder, count=1), "expected at least 2"),
    ],
)
def test_a_folder_without_data_is_named(tmp_path, make, message):
    make(tmp_path / "data")
    with pytest.raises(DatasetError, match=message):
        find_training(tmp_path / "data")


def test_masks_become_classes(tmp_path):
    stored = np.array([[0, 1, 3, 255]], np.uint8)
    Image.fromarray(stored).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", MaskRules(4)).tolist() == [[0, 1, 3, 255]]
    assert read_mask(tmp_path / "mask.png", MaskRules(3, reduce_zero_label=True)).tolist() == [
        [255, 0, 2, 255]
    ]
    with pytest.raises(DatasetError, match="labels outside 0 to 2 for 3 classes: 3; only 255"):
        read_mask(tmp_path / "mask.png", MaskRules(3))
    with pytest.raises(DatasetError, match=r"outside 0 to 2 \(0 is not labelled\) for 2 classes: 3"):
        read_mask(tmp_path / "mask.png", MaskRules(2, reduce_zero_label=True))


def test_a_palette_is_labels_only_if_that_is_said(tmp_path):
    image = Image.fromarray(np.array([[0, 2, 1]], np.uint8)).convert("P")
    image.putpalette([value for colour in range(256) for value in (255 - colour, 0, 0)])
    image.save(tmp_path / "mask.png")
    with pytest.raises(DatasetError, match=r"palette image.*--palette-labels"):
        read_mask(tmp_path / "mask.png", RULES)
    assert read_mask(tmp_path / "mask.png", MaskRules(3, palette=True)).tolist() == [[0, 2, 1]]


def test_a_photograph_of_any_kind_is_rgb(tmp_path):
    Image.fromarray(np.array([[7, 200]], np.uint8)).save(tmp_path / "gray.png")
    assert read_image(tmp_path / "gray.png").tolist() == [[[7, 7, 7], [200, 200, 200]]]


def spoil(folder):
    """One folder with everything wrong that can be; returns the parts of the report."""
    images, masks = folder / "images", folder / "masks"
    Image.new("L", (64, 40), 8).save(masks / "00.png")
    Image.new("L", (64, 48), 9).save(masks / "01.png")
    (masks / "02.png").unlink()
    (images / "03.png").unlink()
    Image.new("I;16", (64, 48)).save(masks / "04.png")
    Image.new("P", (64, 48)).save(masks / "05.png")
    Image.new("RGB", (64, 48)).save(masks / "06.png")
    (images / "07.png").write_bytes((images / "07.png").read_bytes()[:900])
    Image.new("LA", (64, 48)).save(masks / "07.png")
    (masks / "08.png").write_bytes(b"no image")
    Image.new("RGB", (64, 48)).save(images / "09.jpg")
    return [
        f"{masks / '00.png'}: has labels outside 0 to 2 for 3 classes: 8",
        f"{masks / '00.png'}: is 64×40 pixels (width×height), its photograph 00.png is 64×48",
        f"{masks / '01.png'}: has labels outside 0 to 2 for 3 classes: 9",
        f"{images / '02.png'}: no mask of the name 02",
        f"{masks / '03.png'}: no photograph of the name 03",
        f"{masks / '04.png'}: has 16 bits a pixel",
        f"{masks / '05.png'}: is a palette image",
        f"{masks / '06.png'}: is a colour image",
        f"{images / '07.png'}: is damaged",
        f"{masks / '07.png'}: is gray with transparency",
        f"{masks / '08.png'}: is no image that can be read",
        f"{images / '09.jpg'}: more than one file of this name: 09.jpg and 09.png",
    ]


def test_all_that_is_wrong_is_reported_at_once_by_file(tmp_path):
    expected = spoil(write_folders(tmp_path / "data"))
    dataset = find_folders(tmp_path / "data/images", tmp_path / "data/masks")
    with pytest.raises(DatasetError) as error:
        check([dataset], RULES)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("12 problems in 8 pairs of files; nothing was run:")
    assert len(lines) == 13
    for part in expected:
        assert sum(line.startswith(f" - {part}") for line in lines) == 1, part


def test_contents_are_counted_and_told_apart(tmp_path):
    dataset = find_split(write_ade20k(tmp_path / "ade"), "training")
    rules = MaskRules(3, reduce_zero_label=True)
    ticks = []
    (contents,) = check([dataset], rules, lambda: ticks.append(1))
    masks = np.stack([read_mask(pair.mask, rules) for pair in dataset.pairs])
    assert contents.pixels.tolist() == [(masks == label).sum() for label in range(3)]
    assert (contents.unlabelled, contents.images, len(ticks)) == (4 * 16, 4, 4)
    assert check([dataset], rules)[0].digest == contents.digest
    mask = np.array(Image.open(dataset.pairs[0].mask))
    mask[20, 20] = mask[20, 20] % 3 + 1
    Image.fromarray(mask).save(dataset.pairs[0].mask)
    assert check([dataset], rules)[0].digest != contents.digest


def test_masks_without_any_label_are_named(tmp_path):
    write_folders(tmp_path / "data", count=2)
    for path in (tmp_path / "data/masks").iterdir():
        Image.new("L", (64, 48), 255).save(path)
    with pytest.raises(DatasetError, match="no pixel of its 2 masks is labelled"):
        check([find_evaluation(tmp_path / "data")], RULES)
