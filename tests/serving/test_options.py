"""What can be chosen at export, in the graph: resizing, orientation, limits, Pillow's version, confidence."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from serving import network, segmenter, verification
from serving.options import ExportOptions
from serving.session_check import compare
from serving.signatures import trace_signatures
from tf_segformer import resampling
from tf_segformer.confidence import confidence_map
from tf_segformer.image_logits import segment_logits
from tf_segformer.labels import label_set_for
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import Resizing

FIXED = ImageProcessing(height=64, width=96)
CHOICES = {
    "keep-ratio": (FIXED, ExportOptions(Resizing("keep-ratio", short_side=40))),
    "sliding-window": (
        FIXED,
        ExportOptions(Resizing("sliding-window", window=(32, 32), short_side=50), confidence="entropy"),
    ),
    "shortest edge of the checkpoint": (ImageProcessing(shortest_edge=48), ExportOptions()),
}


@pytest.fixture(scope="module", autouse=True)
def no_graph_optimisation():
    """Optimising every graph would take most of the time, and is tested on the export."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def answers_with(keras_model):
    """Trace some signatures for a preprocessing and options."""

    def trace(processing, options, *names):
        labels = label_set_for(keras_model.config)
        return trace_signatures(keras_model, processing, labels, options, names)[1]

    return trace


@pytest.fixture(scope="module", params=CHOICES)
def choice(request, answers_with):
    processing, options = CHOICES[request.param]
    names = ("serving_default", "logits_from_bytes", "segment_pixels")
    return processing, options, answers_with(processing, options, *names)


def run(signatures, name, value):
    return {key: tensor.numpy() for key, tensor in signatures[name](tf.constant(value)).items()}


def encoded(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_answers_are_what_the_model_says_image_by_image(choice, keras_model):
    """A bad file among them changes nothing; `expected_answers` uses no signature."""
    check_answers(keras_model, *choice)


def check_answers(keras_model, processing, options, signatures):
    labels = label_set_for(keras_model.config)
    expected = verification.expected_answers(keras_model, processing, labels, options)
    for name, signature in signatures.items():
        value = verification.example_values(signature.structured_input_signature[0][0].dtype)
        differences, _ = compare(run(signatures, name, value), expected[name], 2e-6, 0.0)
        assert differences == [], name


def test_images_of_one_size_that_fill_the_network_go_through_one_by_one(
    monkeypatch, answers_with, keras_model
):
    for module in (network, segmenter):
        monkeypatch.setattr(module, "PIXELS_AT_A_TIME", 2 * FIXED.height * FIXED.width - 1)
    names = ("serving_default", "overlay", "logits_from_bytes", "segment_pixels")
    check_answers(keras_model, FIXED, ExportOptions(), answers_with(FIXED, ExportOptions(), *names))


def test_confidence_is_the_same_for_images_that_go_through_one_by_one(monkeypatch, answers_with):
    """But for the last bits of the logits, whose sums the number of images puts in another order."""
    files = [encoded(photo(40, 90)), b"", encoded(photo(80, 45, 1))]
    name = "segment_with_confidence"
    together = run(answers_with(FIXED, ExportOptions(), name), name, files)
    for module in (network, segmenter):
        monkeypatch.setattr(module, "PIXELS_AT_A_TIME", 2 * FIXED.height * FIXED.width - 1)
    one_by_one = run(answers_with(FIXED, ExportOptions(), name), name, files)
    assert set(one_by_one) == set(together)
    for key in ("height", "width", "status_bytes", "mask_png_bytes"):
        np.testing.assert_array_equal(one_by_one[key], together[key])
    for key in ("class_share", "class_confidence"):
        np.testing.assert_allclose(one_by_one[key], together[key], rtol=0, atol=1e-3)
    answers = (answer["confidence_png_bytes"] for answer in (one_by_one, together))
    first, nothing, last = zip(*answers, strict=True)
    assert nothing == (b"", b"")
    for pair in (first, last):
        levels = [np.asarray(Image.open(io.BytesIO(file)), int) for file in pair]
        np.testing.assert_allclose(*levels, rtol=0, atol=1)


def test_logits_of_different_sizes_are_padded_with_zeros(choice):
    _, _, signatures = choice
    files = [encoded(photo(40, 90)), b"", encoded(photo(80, 45, 1))]
    answer = run(signatures, "logits_from_bytes", files)
    (high, _, low), (wide, _, narrow) = answer["logits_height"], answer["logits_width"]
    assert (answer["logits_height"][1], answer["logits_width"][1]) == (0, 0)
    assert answer["logits"].shape[1:3] == (max(high, low), max(wide, narrow))
    for i, (height, width) in ((0, (high, wide)), (2, (low, narrow))):
        assert np.abs(answer["logits"][i, :height, :width]).min() > 0
        assert not answer["logits"][i, height:].any()
        assert not answer["logits"][i, :, width:].any()
    assert not answer["logits"][1].any()


@pytest.mark.parametrize(
    ("processing", "size"),
    [
        (ImageProcessing(shortest_edge=48), b"48 x 192000"),
        (
            ImageProcessing(shortest_edge=2_000_000),
            b"2000000 x 2147483647",
        ),  # and not 2e6 * 4000 modulo 2**32
        (ImageProcessing(shortest_edge=48, longest_edge=1000), b"0 x 1000"),
    ],
    ids=["too wide", "beyond any number", "empty"],
)
def test_an_image_too_narrow_for_the_network_is_refused_alone(answers_with, processing, size):
    """A strip of a file would become millions of pixels wide, its attention hundreds of gigabytes."""
    signatures = answers_with(processing, ExportOptions(), "serving_default")
    answer = run(signatures, "serving_default", [encoded(photo(1, 4000)), b""])
    assert answer["status_bytes"].tolist() == [
        b"too narrow, too small or too large for the network: %s pixels" % size,
        b"empty file",
    ]


def test_an_image_smaller_than_the_network_takes_is_refused_alone(answers_with):
    signatures = answers_with(ImageProcessing(do_resize=False), ExportOptions(), "serving_default")
    answer = run(signatures, "serving_default", [encoded(photo(40, 60)), encoded(photo(28, 60))])
    assert answer["status_bytes"][0] == b"ok"
    assert answer["status_bytes"][1].endswith(b": 28 x 60 pixels")


@pytest.fixture(scope="module")
def turned(answers_with):
    """An export that differs from the default in all but the resizing policy."""
    options = ExportOptions(exif_orientation=True, max_pixels=12_000, pillow="pillow<13", confidence="margin")
    return options, answers_with(
        FIXED, options, "serving_default", "segment_pixels", "segment_with_confidence"
    )


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_orientation(turned, orientation, keras_model):
    _, signatures = turned
    image = Image.fromarray(photo(40, 90))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("RGB"))
    answer = run(signatures, "serving_default", [file.getvalue()])
    assert (answer["height"][0], answer["width"][0]) == upright.shape[:2]
    labels = run(signatures, "segment_pixels", upright[np.newaxis])["labels"][0]
    mask = np.asarray(Image.open(io.BytesIO(answer["mask_png_bytes"][0])))
    np.testing.assert_array_equal(mask, labels)


def test_the_limit_counts_pixels_to_the_last(turned):
    _, signatures = turned
    answer = run(signatures, "serving_default", [encoded(photo(100, 120)), encoded(photo(100, 121))])
    assert answer["status_bytes"].tolist() == [
        b"ok",
        b"too large: 100 x 121 pixels; at most 12000 pixels are read",
    ]


def test_a_long_file_is_refused_before_any_work(answers_with):
    files = [encoded(photo(40, 60)), encoded(photo(100, 120)), b"", b"x" * 10_000]
    options = ExportOptions(max_bytes=len(files[0]))
    answer = run(answers_with(FIXED, options, "serving_default"), "serving_default", files)
    assert len(files[1]) > options.max_bytes
    assert answer["status_bytes"].tolist() == [
        b"ok",
        b"too many bytes: %d; at most %d are read" % (len(files[1]), options.max_bytes),
        b"empty file",
        b"too many bytes: 10000; at most %d are read" % options.max_bytes,
    ]
    assert answer["height"].tolist() == [40, 0, 0, 0]


def test_older_pillow_and_the_measure_of_confidence(turned, keras_model):
    """This image is one whose resize differs between Pillow's versions."""
    options, signatures = turned
    pixels = photo(150, 70)
    newer, older = (
        resampling.resize(tf.constant(pixels), 64, 96, pass_order=order).numpy()
        for order in ("pillow>=13", "pillow<13")
    )
    assert (newer != older).any()
    logits = segment_logits(
        tf.constant(pixels),
        FIXED,
        options.resizing,
        lambda values: keras_model(values).logits,
        keras_model.config.num_labels,
        pass_order="pillow<13",
    )
    answer = run(signatures, "segment_with_confidence", [encoded(pixels)])
    mask, confidence = (
        np.asarray(Image.open(io.BytesIO(answer[f"{name}_png_bytes"][0]))) for name in ("mask", "confidence")
    )
    np.testing.assert_array_equal(mask, label_map(logits, 150, 70))
    np.testing.assert_allclose(confidence, confidence_map(logits, 150, 70, "margin"), rtol=0, atol=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_pixels": 0}, "max_pixels is 0"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"pillow": "pillow 12"}, "expected one of pillow>=13, pillow<13"),
        ({"confidence": "certainty"}, "expected one of probability, margin, entropy"),
    ],
)
def test_unusable_choices_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        ExportOptions(**wrong)
