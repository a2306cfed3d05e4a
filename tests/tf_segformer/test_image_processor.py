"""The image processor against transformers' PIL processor, bit for bit, and its errors."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import torch
from PIL import Image
from transformers import SegformerImageProcessorPil

from tf_segformer import (
    SegformerFeatureExtractor,
    SegformerImageProcessor,
    TFSegformerForSemanticSegmentation,
    TFSegformerImageProcessor,
)
from tf_segformer.configuration import ConfigError
from tf_segformer.weights import CheckpointError

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
RNG = np.random.default_rng(0)

PHOTO = Image.open(FIXTURES / "photos" / "chelsea.png").convert("RGB")
ARRAY = RNG.integers(0, 256, (37, 53, 3), dtype=np.uint8)
MAP = RNG.integers(0, 256, (37, 53), dtype=np.uint8)


def assert_equal(ours, theirs):
    assert list(ours) == list(theirs)
    for name in theirs:
        found, expected = np.asarray(ours[name]), np.asarray(theirs[name])
        assert found.dtype == expected.dtype, name
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"size": {"height": 64, "width": 48}},
        {"size": 40},
        {"size": {"shortest_edge": 40}},
        {"size": {"shortest_edge": 40, "longest_edge": 50}},
        {"do_resize": False},
        {"do_resize": False, "do_rescale": False, "do_normalize": False},
        {"size": 40, "do_normalize": False},
        {"size": 40, "do_rescale": False},
        {"size": 40, "resample": Image.Resampling.BICUBIC},
        {"size": 40, "resample": 0},
        {
            "size": 40,
            "rescale_factor": 1 / 127.5,
            "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.2, 0.3, 1.0],
        },
        {"size": 40, "image_mean": 0.5, "image_std": 0.25},
        {"size": 40, "do_convert_rgb": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("image", [PHOTO, ARRAY], ids=["photo", "array"])
def test_pixel_values_equal_the_reference(settings, image):
    theirs = SegformerImageProcessorPil(**settings)(image, return_tensors="np")
    assert_equal(TFSegformerImageProcessor(**settings)(image, return_tensors="np"), theirs)
    # the same given to the call
    assert_equal(TFSegformerImageProcessor()(image, return_tensors="np", **settings), theirs)


IMAGES = {
    "list of arrays": [ARRAY, ARRAY[::-1]],
    "list of PIL images": [PHOTO, Image.fromarray(ARRAY)],
    "batch": np.stack([ARRAY, ARRAY[::-1]]),
    "list of batches": [np.stack([ARRAY, ARRAY[::-1]]), ARRAY[None]],
    "list of lists": [[ARRAY], [ARRAY[:20], ARRAY]],
    "channels first": ARRAY.transpose(2, 0, 1),
    "whole numbers": ARRAY.astype("float32"),
    "int64": ARRAY.astype("int64"),
    "fractions": RNG.random((37, 53, 3), dtype=np.float32),
    "float64 fractions": RNG.random((37, 53, 3)),
    "RGBA": Image.fromarray(RNG.integers(0, 256, (37, 53, 4), dtype=np.uint8)),
}


@pytest.mark.parametrize("images", IMAGES.values(), ids=IMAGES)
def test_every_form_of_an_image_equals_the_reference(images):
    settings = {"size": 32, "do_convert_rgb": True}
    theirs = SegformerImageProcessorPil(**settings)(images, return_tensors="np")
    ours = TFSegformerImageProcessor(**settings)(images, return_tensors="tf")
    assert isinstance(ours.pixel_values, tf.Tensor)
    assert_equal(ours, theirs)


def test_tensors_are_images_too():
    expected = TFSegformerImageProcessor(size=32)(ARRAY, return_tensors="np").pixel_values
    for images in (tf.constant(ARRAY), [tf.constant(ARRAY)], tf.constant(ARRAY[None]), torch.tensor(ARRAY)):
        np.testing.assert_array_equal(
            TFSegformerImageProcessor(size=32)(images, return_tensors="np").pixel_values, expected
        )


PALETTE = Image.fromarray(ARRAY).quantize(16)
GLASS = Image.new("P", (20, 30), 3)
GLASS.putpalette([channel for level in range(256) for channel in (level, 255 - level, 7)])
GLASS.info["transparency"] = 3
MODES = {
    "L": Image.fromarray(MAP),
    "LA": Image.fromarray(ARRAY).convert("LA"),
    "1": Image.fromarray(MAP).convert("1"),
    "P": PALETTE,
    "P transparent": GLASS,
    "RGBA": IMAGES["RGBA"],
    "gray array": MAP[..., None],
    "RGBA array": np.asarray(IMAGES["RGBA"]),
    "RGBA fractions": RNG.random((37, 53, 4), dtype=np.float32),
}


@pytest.mark.parametrize("image", MODES.values(), ids=MODES)
def test_other_images_than_rgb_are_refused_or_converted_as_in_the_reference(image):
    reference, processor = SegformerImageProcessorPil(size=32), TFSegformerImageProcessor(size=32)
    with pytest.raises(ValueError, match="mean must have"):
        reference(image)
    with pytest.raises(
        ValueError, match=r"images\[0\] has \d channels?, and image_mean has 3 .*do_convert_rgb"
    ):
        processor(image)
    theirs = reference(image, do_convert_rgb=True, return_tensors="np")
    assert_equal(processor(image, do_convert_rgb=True, return_tensors="np"), theirs)
    if image is not MODES["LA"]:  # two channels, which the reference cannot place
        theirs = reference(image, do_normalize=False, return_tensors="np")
        assert_equal(processor(image, do_normalize=False, return_tensors="np"), theirs)


def test_a_plain_gray_array_is_converted_too():
    gray = TFSegformerImageProcessor(size=32, do_convert_rgb=True)(MAP).pixel_values[0]
    np.testing.assert_array_equal(
        gray, TFSegformerImageProcessor(size=32)(np.repeat(MAP[..., None], 3, 2)).pixel_values[0]
    )


@pytest.mark.parametrize("reduce", [False, True])
@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_label_maps_equal_the_reference(reduce, resize, dtype):
    label_map = MAP.astype(dtype)
    label_map[0, :3] = (0, 255, 254)
    before = label_map.copy()
    settings = {"size": 32, "do_resize": resize, "do_reduce_labels": reduce}
    ours = TFSegformerImageProcessor(**settings)([ARRAY] * 2, [label_map] * 2, return_tensors="np")
    np.testing.assert_array_equal(label_map, before)  # the reference writes into it
    theirs = SegformerImageProcessorPil(**settings)(
        [ARRAY] * 2, [label_map.copy() for _ in range(2)], return_tensors="np"
    )
    assert_equal(ours, theirs)


@pytest.mark.parametrize("form", ["PIL", "tensor", "batch"])
def test_label_maps_in_other_forms(form):
    maps = {"PIL": [Image.fromarray(MAP)], "tensor": tf.constant(MAP), "batch": MAP[None]}[form]
    labels = TFSegformerImageProcessor(size=32)(ARRAY, maps, return_tensors="tf").labels
    assert labels.dtype == tf.int64
    theirs = SegformerImageProcessorPil(size=32)(ARRAY, MAP, return_tensors="np")["labels"]
    np.testing.assert_array_equal(labels, theirs)


def test_both_spellings_of_reduce_labels():
    maps = np.array([[0, 1], [255, 3]], np.uint8)
    image = np.zeros((2, 2, 3), np.uint8)
    expected = [[255, 0], [255, 2]]

    def labels(processor, **arguments):
        return processor(image, maps, do_resize=False, **arguments).labels[0].tolist()

    assert labels(TFSegformerImageProcessor(reduce_labels=True)) == expected
    assert labels(TFSegformerImageProcessor(do_reduce_labels=True)) == expected
    assert labels(TFSegformerImageProcessor(), reduce_labels=True) == expected
    assert labels(TFSegformerImageProcessor(), do_reduce_labels=True) == expected
    assert labels(TFSegformerImageProcessor(), do_reduce_labels=False, reduce_labels=True) == maps.tolist()
    read = TFSegformerImageProcessor.from_dict
    assert labels(read({"reduce_labels": True})) == expected
    assert labels(read({"reduce_labels": True, "do_reduce_labels": False})) == maps.tolist()
    assert labels(read({"do_reduce_labels": False}, reduce_labels=True)) == expected


def test_old_and_new_files_are_read_and_written(tmp_path):
    old = json.loads((SEGMENTATION / "preprocessor_config.json").read_text())
    assert "reduce_labels" in old and isinstance(old["size"], int)  # the fixture is in the old style
    processor = TFSegformerImageProcessor.from_pretrained(SEGMENTATION)
    assert processor.do_reduce_labels is bool(old["reduce_labels"])
    assert processor.size == {"height": old["size"], "width": old["size"]}
    (path,) = processor.save_pretrained(tmp_path / "new")
    assert json.loads(Path(path).read_text())["do_reduce_labels"] is processor.do_reduce_labels
    again = TFSegformerImageProcessor.from_pretrained(tmp_path / "new")
    assert again.to_dict() == processor.to_dict()
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["preprocessor_config.json"]
    theirs = SegformerImageProcessorPil.from_pretrained(tmp_path / "new")
    assert_equal(again(PHOTO, return_tensors="np"), theirs(PHOTO, return_tensors="np"))
    assert TFSegformerImageProcessor.from_pretrained(SEGMENTATION, size=1024).size["height"] == 1024


def test_what_the_reference_writes_is_read(tmp_path):
    settings = {"size": {"shortest_edge": 40}, "image_mean": [0.1, 0.2, 0.3], "do_reduce_labels": True}
    theirs = SegformerImageProcessorPil(**settings)
    theirs.save_pretrained(tmp_path)
    ours = TFSegformerImageProcessor.from_pretrained(tmp_path)
    arguments = {"segmentation_maps": MAP.copy(), "return_tensors": "np"}
    assert_equal(ours(ARRAY, **arguments), theirs(ARRAY, **arguments))


def test_the_output_goes_into_the_model_as_a_whole_or_by_name():
    model = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)
    inputs = TFSegformerImageProcessor(size=64)(ARRAY, np.minimum(MAP, 10), return_tensors="tf")
    whole, named = model(inputs), model(**inputs)
    np.testing.assert_array_equal(whole.logits, named.logits)
    assert float(whole.loss) == float(named.loss)
    last = TFSegformerImageProcessor(size=64)(ARRAY, return_tensors="tf", data_format="channels_last")
    np.testing.assert_array_equal(tf.transpose(last.pixel_values, (0, 3, 1, 2)), inputs.pixel_values)


SIZES = [(50, 70), (16, 16), (7, 33)]


@pytest.mark.parametrize("sizes", [None, SIZES, np.array(SIZES), tf.constant(SIZES)], ids=str)
def test_post_processing_equals_the_reference(sizes):
    logits = RNG.normal(size=(3, 11, 16, 24)).astype("float32")
    reference = SegformerImageProcessorPil().post_process_semantic_segmentation
    theirs = reference(
        SimpleNamespace(logits=torch.from_numpy(logits)),
        None if sizes is None else [tuple(map(int, size)) for size in sizes],
        return_segmentation_scores=True,
    )
    process = TFSegformerImageProcessor().post_process_semantic_segmentation
    outputs = SimpleNamespace(logits=tf.constant(logits))
    maps = process(outputs, sizes)
    for ours, mine, their in zip(process(outputs, sizes, True), maps, theirs, strict=True):
        assert mine.dtype == tf.int64
        np.testing.assert_array_equal(mine, their.segmentation.numpy())
        np.testing.assert_array_equal(ours.segmentation, mine)
        scores = their.segmentation_scores.numpy()
        # measured: PyTorch's float32 scores are within 1.9e-6 of their scale from its float64 ones
        tolerance = 1.9e-6 * np.abs(scores).max()
        np.testing.assert_allclose(ours["segmentation_scores"], scores, rtol=0, atol=tolerance)
        np.testing.assert_array_equal(np.argmax(ours.segmentation_scores, axis=0), mine)


def test_the_legacy_names_are_the_same_class():
    assert SegformerImageProcessor is SegformerFeatureExtractor is TFSegformerImageProcessor
    assert TFSegformerImageProcessor.model_input_names == ["pixel_values"]


@pytest.mark.parametrize(
    ("images", "arguments", "message"),
    [
        ("photo.jpg", {}, r"images holds a str; expected PIL images"),
        ([], {}, r"images is empty"),
        (ARRAY[None, None], {}, r"shape \(1, 1, 37, 53, 3\); expected 3 axes"),
        (np.zeros((8, 8, 5), "uint8"), {}, r"neither the first nor the last axis is 1, 3 or 4"),
        (
            ARRAY.astype("float32") * 2,
            {},
            r"images\[0\] has values from 0.0 to 5\d\d.0, which cannot be resized",
        ),
        (np.full((8, 8, 3), np.nan), {}, "NaN or infinite"),
        (ARRAY, {"return_tensors": "pt"}, "return_tensors is 'pt'; expected one of None, 'tf', 'np'"),
        (ARRAY, {"data_format": "last"}, "data_format is 'last'"),
        (ARRAY, {"size": {"height": 0, "width": 3}}, "positive whole number"),
        (ARRAY, {"resample": 9}, "resample is 9"),
        (ARRAY, {"image_std": [1, 0, 1]}, "no zero"),
        ([ARRAY, ARRAY[:20]], {"do_resize": False, "return_tensors": "tf"}, "different shapes"),
        (ARRAY, {"segmentation_maps": [MAP, MAP]}, "2 segmentation_maps for 1 images"),
        (ARRAY, {"segmentation_maps": PHOTO}, r"segmentation_maps\[0\] has shape \(300, 451, 3\)"),
        (
            ARRAY,
            {"segmentation_maps": MAP.astype("int32") + 300},
            r"segmentation_maps\[0\] has values from 3",
        ),
    ],
)
def test_bad_input_is_named(images, arguments, message):
    with pytest.raises(ValueError, match=message):
        TFSegformerImageProcessor()(images, **arguments)


def test_a_misspelt_argument_is_named():
    with pytest.raises(TypeError, match="do_rezise"):
        TFSegformerImageProcessor(do_rezise=False)
    with pytest.raises(TypeError, match="do_rezise"):
        TFSegformerImageProcessor()(ARRAY, do_rezise=False)


def test_a_graph_is_told_where_to_go():
    @tf.function
    def prepare(image):
        return TFSegformerImageProcessor()(image)

    with pytest.raises(ValueError, match=r"tf_segformer.preprocessing.preprocess"):
        prepare(tf.constant(ARRAY))


def test_bad_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        TFSegformerImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": "large"}')
    with pytest.raises(ConfigError, match="size is 'large'"):
        TFSegformerImageProcessor.from_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ConfigError, match="not valid JSON"):
        TFSegformerImageProcessor.from_pretrained(tmp_path)


def test_bad_outputs_are_named():
    process = TFSegformerImageProcessor().post_process_semantic_segmentation
    with pytest.raises(ValueError, match=r"shape \(3, 4\); expected"):
        process(SimpleNamespace(logits=tf.zeros((3, 4))))
    with pytest.raises(ValueError, match="for 2 images; expected one"):
        process(SimpleNamespace(logits=tf.zeros((2, 3, 4, 4))), [(8, 8)])
