import hashlib
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_segformer.labels import ADE20K, CITYSCAPES, LabelSet, distinct_palette, label_set_for

FIXTURES = Path(__file__).parents[1] / "fixtures"


def id2label(names):
    return {"id2label": {str(index): name for index, name in enumerate(names)}}


def test_ade20k_is_the_published_list():
    assert len(ADE20K) == 150
    assert (ADE20K.names[0], ADE20K.palette[0]) == ("wall", (120, 120, 120))
    assert (ADE20K.names[7], ADE20K.palette[7]) == ("bed", (204, 5, 255))
    assert (ADE20K.names[136], ADE20K.palette[136]) == ("traffic light", (41, 0, 255))
    assert (ADE20K.names[149], ADE20K.palette[149]) == ("flag", (92, 0, 255))
    content = json.dumps([ADE20K.names, ADE20K.palette])
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "f8f1fbe2e61e446c"


def test_cityscapes_is_the_published_list():
    assert len(CITYSCAPES) == 19
    assert (CITYSCAPES.names[0], CITYSCAPES.palette[0]) == ("road", (128, 64, 128))
    assert (CITYSCAPES.names[6], CITYSCAPES.palette[6]) == ("traffic light", (250, 170, 30))
    assert (CITYSCAPES.names[18], CITYSCAPES.palette[18]) == ("bicycle", (119, 11, 32))
    content = json.dumps([CITYSCAPES.names, CITYSCAPES.palette])
    assert hashlib.sha256(content.encode()).hexdigest()[:16] == "fdc2c09f612a02c0"


def test_names_are_distinct():
    for known in (ADE20K, CITYSCAPES):
        assert len(set(known.names)) == len(known)
        assert all(name == name.strip() for name in known.names)


@pytest.mark.parametrize("known", [ADE20K, CITYSCAPES], ids=lambda known: known.name)
@pytest.mark.parametrize(
    "spelling",
    ["{}", "{} ", "{};something;else", "{}, another word", "another, {}"],
)
def test_a_checkpoint_is_recognised_in_any_spelling(known, spelling):
    for change in (str.title, lambda name: name.replace(" ", "_")):
        names = [spelling.format(change(name)) for name in known.names]
        assert label_set_for(id2label(names)) is known


def test_the_spellings_of_the_original_ade20k_list_are_recognised():
    names = list(ADE20K.names)
    names[1] = "building;edifice"
    names[44] = "chest;of;drawers;chest;bureau;dresser"
    names[58] = "screen;door;screen"
    names[89] = "television;television;receiver;television;set;tv"
    assert label_set_for(id2label(names)) is ADE20K


def test_classes_in_another_order_keep_their_own_names():
    names = list(ADE20K.names)
    names[3], names[5] = names[5], names[3]
    found = label_set_for(id2label(names))
    assert found.name == "custom"
    assert found.names == tuple(names)


def test_placeholders_are_judged_by_their_number():
    def placeholders(n):
        return id2label(f"LABEL_{index}" for index in range(n))

    assert label_set_for(placeholders(150)) is ADE20K
    assert label_set_for(placeholders(19)) is CITYSCAPES
    assert label_set_for(placeholders(7)).names[6] == "LABEL_6"
    assert label_set_for({"num_labels": 150}) is ADE20K


def test_a_named_set_of_150_is_not_taken_for_ade20k():
    found = label_set_for(id2label(f"species {index}" for index in range(150)))
    assert found.names[149] == "species 149"
    assert len(set(found.palette)) == 150


def test_a_config_object_and_a_fixture_are_read():
    from transformers import SegformerConfig

    folder = FIXTURES / "segmentation_tiny"
    expected = label_set_for(json.loads((folder / "config.json").read_text()))
    assert expected.names[0] == "class_0"
    assert label_set_for(SegformerConfig.from_pretrained(folder)) == expected


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"id2label": {0: "a", 2: "b"}}, "none for class 1"),
        ({"id2label": {1: "a", 2: "b"}}, "none for class 0"),
        ({"id2label": {"a": 0}}, "expected a class number"),
        ({"id2label": ["a"]}, "expected a mapping"),
        ({}, "names no classes"),
    ],
)
def test_a_broken_id2label_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        label_set_for(config)


@pytest.mark.parametrize(
    ("names", "palette", "message"),
    [
        ((), (), "no class"),
        (("a",), (), "one colour per name"),
        (("a",), ((0, 0, 256),), "each 0 to 255"),
        (("a",), ((0, 0),), "each 0 to 255"),
    ],
)
def test_an_inconsistent_label_set_is_refused(names, palette, message):
    with pytest.raises(ValueError, match=message):
        LabelSet("test", names, palette)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_generic_palettes_are_distinct_and_stable(fewer, more):
    fewer, more = sorted((fewer, more))
    palette = distinct_palette(more)
    assert len(set(palette)) == more
    assert palette[:fewer] == distinct_palette(fewer)
    assert all(0 <= channel <= 255 for color in palette for channel in color)


def test_neighbouring_generic_colours_are_easy_to_tell_apart():
    palette = distinct_palette(40)
    for one, other in itertools.pairwise(palette):
        assert sum(abs(a - b) for a, b in zip(one, other, strict=True)) > 150
