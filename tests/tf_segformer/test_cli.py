"""`tf-segformer segment`, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tf_segformer.cli import app, write_label_map
from tf_segformer.segmentation import Segmenter

FIXTURES = Path(__file__).parents[1] / "fixtures"
MODEL = str(FIXTURES / "segmentation_tiny")
PHOTO = FIXTURES / "photos" / "chelsea.png"


def opened(path):
    """An image with its file closed."""
    with Image.open(path) as image:
        image.load()
        return image


def run(*arguments):
    return CliRunner().invoke(app, ["segment", *map(str, arguments)])


def test_writes_a_label_map_and_an_overlay(tmp_path):
    output = tmp_path / f"new [folder] of a long name{'_' * 60}" / "cat.png"
    result = subprocess.run(
        [sys.executable, "-m", "tf_segformer", "segment", PHOTO, "--model", MODEL, "-o", output],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    labels = opened(output)
    assert labels.mode == "L"
    assert labels.size == opened(PHOTO).size
    np.testing.assert_array_equal(labels, Segmenter(MODEL)(PHOTO.read_bytes()).labels)
    overlay = opened(output.with_name("cat-overlay.png"))
    assert overlay.width > labels.width  # the photograph and its legend
    assert "class_" in result.stdout
    assert f"Label map: {output}\n" in result.stdout  # in one piece, to be copied


@pytest.mark.parametrize("data", [b"", b"not an image", b"\xff\xd8\xff\xe0 cut short"])
def test_a_broken_image_is_named(tmp_path, data):
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(data)
    result = run(photo, "--model", MODEL, "-o", tmp_path / "out.png")
    assert result.exit_code == 1
    assert not (tmp_path / "out.png").exists()
    assert f"{len(data)} bytes could not be decoded" in result.output


def test_a_missing_model_is_named(tmp_path):
    result = run(PHOTO, "--model", tmp_path, "-o", tmp_path / "out.png")
    assert result.exit_code == 1
    assert "holds no config.json" in result.output


def test_a_label_map_is_not_written_with_loss(tmp_path):
    result = run(PHOTO, "--model", MODEL, "-o", tmp_path / "out.jpg")
    assert result.exit_code == 1
    assert "is not a .png" in result.output


def test_a_missing_photo_is_a_usage_error(tmp_path):
    assert run(tmp_path / "none.jpg", "--model", MODEL, "-o", tmp_path / "out.png").exit_code == 2


@pytest.mark.parametrize(("largest", "mode"), [(255, "L"), (256, "I;16")])
def test_many_classes_take_sixteen_bits(tmp_path, largest, mode):
    labels = np.array([[0, largest]], dtype=np.int32)
    write_label_map(labels, tmp_path / "map.png")
    image = opened(tmp_path / "map.png")
    assert image.mode == mode
    np.testing.assert_array_equal(np.asarray(image), labels)
