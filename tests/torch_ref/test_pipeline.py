"""Image → pixels, logits → label map: transformers' PIL processor and nothing else."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from torch_ref import (
    CheckpointError,
    ImageError,
    Reference,
    decode_image,
    label_map,
    pipeline,
    save_label_map,
)


@pytest.fixture(scope="module")
def reference(fixtures: Path) -> Reference:
    return Reference.from_pretrained(fixtures / "segmentation_tiny")


def test_pixels_are_resized_scaled_and_normalised_by_pillow(reference: Reference, photo: Path):
    resized = Image.open(photo).convert("RGB").resize((512, 512), Image.Resampling.BILINEAR)
    pixels = (np.asarray(resized) * np.float64(1 / 255)).astype(np.float32)
    expected = (pixels - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    actual = reference.preprocess(photo)
    assert actual.dtype == np.float32
    np.testing.assert_allclose(actual[0], expected.transpose(2, 0, 1), rtol=0, atol=5e-7)


def test_a_path_bytes_and_a_pillow_image_give_the_same_pixels(reference: Reference, photo: Path):
    expected = reference.preprocess(photo)
    np.testing.assert_array_equal(reference.preprocess(str(photo)), expected)
    np.testing.assert_array_equal(reference.preprocess(photo.read_bytes()), expected)
    np.testing.assert_array_equal(reference.preprocess(Image.open(photo)), expected)


def test_size_replaces_the_processors_own(reference: Reference, photo: Path):
    assert reference.preprocess(photo, size=(64, 96)).shape == (1, 3, 64, 96)


def test_the_processor_is_pillows_whatever_is_installed(reference: Reference):
    assert type(reference.processor).__name__ == "SegformerImageProcessorPil"


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"reduce_labels": True}, True),
        ({"reduce_labels": True, "do_reduce_labels": False}, False),
        ({"do_reduce_labels": True}, True),
        ({}, False),
    ],
)
def test_the_old_spelling_of_reduce_labels_counts(written: dict, expected: bool, tmp_path: Path):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 512, **written}))
    processor = pipeline.load_processor(tmp_path)
    assert processor.do_reduce_labels is expected
    assert dict(processor.size) == {"height": 512, "width": 512}


def test_a_missing_or_broken_processor_file_is_named(fixtures: Path, tmp_path: Path):
    classifier = Reference.from_pretrained(fixtures / "classification_tiny")
    with pytest.raises(CheckpointError, match=r"No usable preprocessor_config\.json"):
        classifier.preprocess(Image.new("RGB", (8, 8)))
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"No usable preprocessor_config\.json"):
        pipeline.load_processor(tmp_path)


@pytest.mark.parametrize("name", ["china.jpg", "coffee.png"])
def test_a_truncated_image_is_refused(name: str, photo: Path):
    content = photo.with_name(name).read_bytes()
    for cut in (0, 1, 20, 1000, len(content) // 2):
        with pytest.raises(ImageError, match=f"Cannot decode {cut} image bytes"):
            decode_image(content[:cut])


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"<svg></svg>", b"\xff\xd8\xff\xe0" * 9])
def test_what_is_no_image_is_refused(content: bytes, tmp_path: Path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"Cannot decode .*photo\.jpg"):
        decode_image(path)


def test_a_missing_image_and_a_wrong_type_are_named(tmp_path: Path):
    with pytest.raises(ImageError, match="No image file"):
        decode_image(tmp_path / "photo.jpg")
    with pytest.raises(TypeError, match="not ndarray"):
        decode_image(np.zeros((8, 8, 3), np.uint8))  # type: ignore[arg-type]


def test_every_mode_becomes_rgb():
    for mode in ("1", "L", "P", "RGBA", "CMYK", "I;16"):
        stream = io.BytesIO()
        Image.new(mode, (5, 7)).save(stream, "TIFF")
        decoded = decode_image(stream.getvalue())
        assert (decoded.mode, decoded.size) == ("RGB", (5, 7))


def bilinear(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Half-pixel bilinear resize of one axis, clamped at the ends, in float64."""
    count = values.shape[axis]
    centres = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    low = np.floor(centres).astype(int)
    high = np.minimum(low + 1, count - 1)
    share = (centres - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    return values.take(low, axis) * (1 - share) + values.take(high, axis) * share


@pytest.mark.parametrize("size", [(52, 72), (50, 70), (7, 5), (13, 18)])
def test_label_map_resizes_logits_then_takes_the_best_class(size: tuple[int, int]):
    logits = np.random.default_rng(0).normal(size=(1, 5, 13, 18))
    expected = bilinear(bilinear(logits[0], size[0], 1), size[1], 2).argmax(axis=0)
    labels = label_map(logits, size)
    assert (labels.shape, labels.dtype) == (size, np.int64)
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(label_map(logits[0], size), labels)


def test_label_map_takes_one_image():
    with pytest.raises(ValueError, match=r"\(2, 5, 4, 4\)"):
        label_map(np.zeros((2, 5, 4, 4), np.float32), (8, 8))


def test_segment_gives_a_label_map_of_the_photos_own_size(reference_b0: Reference, photo: Path):
    labels = reference_b0.segment(photo)
    assert labels.shape == (427, 640)
    logits = reference_b0.forward(reference_b0.preprocess(photo)).logits
    np.testing.assert_array_equal(labels, label_map(logits, (427, 640)))
    assert len(np.unique(labels)) > 8


@pytest.mark.parametrize("top", [10, 255, 256, 65535])
def test_a_label_map_survives_its_png(top: int, tmp_path: Path):
    labels = np.array([[0, 1, 2], [top, 3, top]], dtype=np.int64)
    save_label_map(labels, tmp_path / "labels.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "labels.png")), labels)


def test_labels_beyond_a_png_are_refused(tmp_path: Path):
    for label in (-1, 65536):
        with pytest.raises(ValueError, match=str(label)):
            save_label_map(np.array([[0, label]]), tmp_path / "labels.png")
