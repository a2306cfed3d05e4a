"""Layouts are found, labels are read as they are stored, and bad files are named all at once."""

import numpy as np
import pytest
from PIL import Image

from parity import annotations
from parity.annotations import check_dataset, read_annotation
from parity.datasets import (
    DatasetError,
    Labels,
    cityscapes_mapping,
    find_dataset,
    find_folders,
)
from tests.parity.generated_dataset import write_ade20k, write_cityscapes

ADE = Labels(11, reduce_zero_label=True)


def save(path, array, mode=None):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)


def test_ade20k(tmp_path):
    dataset = find_dataset(write_ade20k(tmp_path))
    assert (dataset.layout, dataset.reduce_zero_label, dataset.problems) == ("ade20k", True, ())
    assert [pair.name for pair in dataset.pairs] == [f"ADE_val_{n:08d}" for n in range(3)]
    assert all(pair.image.stem == pair.annotation.stem for pair in dataset.pairs)
    assert len(check_dataset(dataset, ADE)) == 64


def test_cityscapes_train_ids_come_first(tmp_path):
    write_cityscapes(tmp_path)
    write_cityscapes(tmp_path, "_gtFine_labelIds", 33)
    dataset = find_dataset(tmp_path)
    assert (dataset.layout, dataset.reduce_zero_label, dataset.mapping) == ("cityscapes", False, None)
    assert [pair.name for pair in dataset.pairs][:2] == ["bonn/bonn_000000_000019", "ulm/ulm_000001_000019"]
    assert all("TrainIds" in pair.annotation.name for pair in dataset.pairs)
    check_dataset(dataset, Labels(19))


def test_cityscapes_ids_are_mapped(tmp_path):
    dataset = find_dataset(write_cityscapes(tmp_path, "_gtFine_labelIds", 33))
    path = dataset.pairs[0].annotation
    save(path, np.array([[0, 6, 7, 8, 33, 29, 255]], np.uint8).repeat(32, 0))
    labels = read_annotation(path, Labels(19, mapping=dataset.mapping))
    assert labels[0].tolist() == [255, 255, 0, 1, 18, 255, 255]


def test_a_value_that_is_no_cityscapes_id_is_reported(tmp_path):
    dataset = find_dataset(write_cityscapes(tmp_path, "_gtFine_labelIds", 40))
    with pytest.raises(DatasetError, match="254 stands for a value that is no id"):
        check_dataset(dataset, Labels(19, mapping=dataset.mapping))


def test_the_cityscapes_mapping_has_each_train_id_once():
    found = [value for value in cityscapes_mapping().tolist() if value < 254]
    assert sorted(found) == list(range(19))


def test_any_two_folders_and_an_ending(tmp_path):
    write_ade20k(tmp_path, classes=10)
    images, masks = tmp_path / "images" / "validation", tmp_path / "annotations" / "validation"
    for path in masks.iterdir():
        path.rename(path.with_name(path.stem + "_mask.png"))
    dataset = find_folders(images, masks, "_mask")
    assert len(dataset.pairs) == 3 and not dataset.problems
    check_dataset(dataset, Labels(11))
    assert len(find_folders(images, masks).problems) == 6


def test_everything_wrong_is_reported_at_once_by_file(tmp_path):
    write_ade20k(tmp_path, count=9)
    images, masks = tmp_path / "images" / "validation", tmp_path / "annotations" / "validation"
    names = sorted(path.stem for path in images.iterdir())
    gray = np.ones((30, 40), np.uint8)
    (images / f"{names[0]}.jpg").unlink()
    (masks / f"{names[1]}.png").unlink()
    save(images / f"{names[2]}.jpg", np.ones((31, 40, 3), np.uint8))
    save(masks / f"{names[2]}.png", gray)
    save(masks / f"{names[3]}.png", np.full((3, 4), 12, np.uint8))
    save(masks / f"{names[4]}.png", np.full((3, 4), 300, np.uint16))
    save(masks / f"{names[5]}.png", gray, "P")
    save(masks / f"{names[6]}.png", gray, "RGB")
    (masks / f"{names[7]}.png").write_bytes(b"no image")
    whole = (images / f"{names[8]}.jpg").read_bytes()
    (images / f"{names[8]}.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatasetError) as caught:
        check_dataset(find_dataset(tmp_path), ADE)
    lines = str(caught.value).splitlines()
    expected = {
        0: "no photograph of the name",
        1: "no annotation of the name",
        2: "is 40×30 pixels (width×height), its photograph",
        3: "labels outside 0 to 10: 11 (after label 0 became ignored",
        4: "16 bits a pixel",
        5: "palette image",
        6: "a colour image",
        7: "no image that can be read",
        8: "is damaged",
    }
    for number, message in expected.items():
        assert any(names[number] in line and message in line for line in lines), (message, lines)
    assert "problems in 7 pairs of files; nothing was run" in lines[0]


def test_many_problems_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(annotations, "LISTED", 1)
    with pytest.raises(DatasetError, match=r"(?s)3 problems.* - and 2 more"):
        check_dataset(find_dataset(write_ade20k(tmp_path)), Labels(2))


def test_palette_indices_are_labels_if_asked_for(tmp_path):
    path = tmp_path / "mask.png"
    indexed = Image.fromarray(np.array([[0, 3, 255]], np.uint8), "L").convert("P")
    indexed.putpalette(list(range(256)) * 3)
    indexed.save(path)
    with pytest.raises(DatasetError, match="--palette-labels"):
        read_annotation(path, ADE)
    assert read_annotation(path, Labels(11, palette=True)).tolist() == [[0, 3, 255]]


def test_sixteen_bits_are_for_many_classes(tmp_path):
    path = tmp_path / "mask.png"
    save(path, np.array([[0, 300, 65535]], np.uint16))
    assert read_annotation(path, Labels(847, ignore_index=65535)).tolist() == [[0, 300, 65535]]


@pytest.mark.parametrize(("what", "limit"), [("MOST_PIXELS", 100), ("MOST_BYTES", 10)])
def test_too_large_files_are_refused_before_they_are_decoded(tmp_path, monkeypatch, what, limit):
    monkeypatch.setattr(annotations, what, limit)
    monkeypatch.setattr(annotations, "_decode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(DatasetError, match="at most"):
        check_dataset(find_dataset(write_ade20k(tmp_path, 1)), ADE)


def test_the_data_hash_sees_every_byte(tmp_path):
    dataset = find_dataset(write_ade20k(tmp_path))
    before = check_dataset(dataset, ADE)
    assert check_dataset(dataset, ADE) == before
    path = dataset.pairs[1].annotation
    labels = np.array(Image.open(path))
    labels[0, 0] = 1
    save(path, labels)
    assert check_dataset(dataset, ADE) != before


@pytest.mark.parametrize("layout", ["auto", "ade20k", "cityscapes", "folders"])
def test_missing_and_empty_folders_are_errors(tmp_path, layout):
    with pytest.raises(DatasetError, match="there is no folder"):
        find_dataset(tmp_path / "none", layout)
    for below in ("images/validation", "annotations/validation", "leftImg8bit/val", "gtFine/val"):
        (tmp_path / below).mkdir(parents=True)
    with pytest.raises(DatasetError, match="is empty"):
        find_dataset(tmp_path, layout)


def test_an_unknown_layout_is_explained(tmp_path):
    with pytest.raises(DatasetError, match="--images DIR --annotations DIR"):
        find_dataset(tmp_path)


def test_two_files_of_one_name_are_reported(tmp_path):
    write_ade20k(tmp_path)
    first = tmp_path / "images" / "validation" / "ADE_val_00000000.jpg"
    Image.open(first).save(first.with_suffix(".png"))
    (problem,) = find_dataset(tmp_path).problems
    assert "more than one file of this name" in problem
