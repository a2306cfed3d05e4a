from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_segformer.labels import ADE20K, LabelSet, distinct_palette
from tf_segformer.overlay import UNLABELLED, class_shares, draw_overlay, write_overlay

PHOTO = Path(__file__).parents[1] / "fixtures" / "photos" / "china.jpg"
TWO = LabelSet("two", ("left", "right"), ((255, 0, 0), (0, 0, 255)))


def halves(height, width):
    labels = np.zeros((height, width), np.int32)
    labels[:, width // 2 :] = 1
    return labels


def test_shares_are_sorted_and_sum_to_one():
    labels = np.array([[0, 1, 1, 255], [1, 1, -1, 0]])
    found = class_shares(labels, TWO)
    assert [(entry.name, entry.share) for entry in found] == [
        ("right", 0.5),
        ("left", 0.25),
        ("unlabelled", 0.25),
    ]
    assert found[2].color == UNLABELLED


def test_regions_carry_their_class_colour():
    gray = np.full((600, 600, 3), 128, np.uint8)
    picture = np.asarray(draw_overlay(gray, halves(600, 600), TWO, opacity=0.5)).astype(int)
    rows, columns = np.nonzero(np.all(np.abs(picture - [192, 64, 64]) <= 1, axis=-1))
    assert len(rows) > 170_000  # nearly all of the 180,000 pixels of the left half
    margin = rows.min(), columns.min()
    # The photograph keeps its size, and the right half begins after the outline.
    right = picture[margin[0] : margin[0] + 600, margin[1] + 302 : margin[1] + 600]
    assert np.all(np.abs(right - [64, 64, 192]) <= 1)
    outline = picture[margin[0] + 300, margin[1] + 300]
    assert outline.min() > 200


def test_the_legend_shows_a_swatch_of_each_class_and_nothing_else():
    gray = np.full((600, 600, 3), 128, np.uint8)

    def swatches(labels):
        legend = np.asarray(draw_overlay(gray, labels, TWO))[:, 640:]
        return {color for color in TWO.palette if np.any(np.all(legend == color, axis=-1))}

    assert swatches(halves(600, 600)) == set(TWO.palette)
    assert swatches(np.zeros((600, 600), np.uint8)) == {TWO.palette[0]}


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    classes=st.integers(1, 200),
    name=st.text(min_size=1, max_size=80),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_any_number_of_classes_and_any_name_can_be_drawn(height, width, classes, name, seed):
    random = np.random.default_rng(seed)
    label_set = LabelSet("any", (name,) * classes, distinct_palette(classes))
    image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    labels = random.integers(-1, classes + 1, (height, width))
    picture = draw_overlay(image, labels, label_set)
    assert picture.mode == "RGB"
    assert max(picture.size) >= 480
    assert max(picture.size) < 2500


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_the_picture_of_a_photograph_is_written(tmp_path, suffix):
    image = np.asarray(Image.open(PHOTO).convert("RGB"))
    path = tmp_path / f"overlay{suffix}"
    write_overlay(image, halves(*image.shape[:2]), ADE20K, path)
    with Image.open(path) as picture:
        picture.load()
        assert picture.width > image.shape[1]
        assert picture.height > image.shape[0]


@pytest.mark.parametrize(
    ("image", "labels", "opacity", "message"),
    [
        (np.zeros((4, 4)), np.zeros((4, 4), int), 0.5, "expected uint8"),
        (np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4), int), 0.5, r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), int), 0.5, r"integers \[4, 4\]"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4)), 0.5, "float64"),
        (np.zeros((0, 4, 3), np.uint8), np.zeros((0, 4), int), 0.5, "no pixels"),
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), int), 1.5, "from 0 to 1"),
    ],
)
def test_what_is_no_photograph_or_label_map_is_refused(image, labels, opacity, message):
    with pytest.raises(ValueError, match=message):
        draw_overlay(image, labels, ADE20K, opacity)
