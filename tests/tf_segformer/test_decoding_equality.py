"""Decoded files of every kind are equal to Pillow's, bit for bit."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.tf_segformer.decoding_cases import by_graph, by_pillow, verdict
from tests.tf_segformer.image_kinds import KINDS, ORIENTED, make, saved
from tests.tf_segformer.image_writers import png_chunk, write_gif, write_png
from tf_segformer.image_decoding import decode_image, image_size

SEEDS = st.integers(0, 2**32 - 1)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(seed=SEEDS)
def test_pixels_are_pillows(kind: str, seed: int) -> None:
    assert verdict(make(kind, seed)) == "equal"


@pytest.mark.parametrize("kind", ORIENTED)
@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(seed=SEEDS)
def test_images_are_turned_upright_as_pillow_does(kind: str, seed: int) -> None:
    assert verdict(make(kind, seed, 60), upright=True) == "equal"


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation(format_: str, orientation: int) -> None:
    pixels = np.arange(3 * 4 * 7, dtype=np.uint8).reshape(4, 7, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(Image.fromarray(pixels), format_, exif=exif.tobytes())
    upright = by_pillow(file, upright=True)
    assert upright is not None and upright.shape == ((7, 4, 3) if orientation > 4 else (4, 7, 3))
    np.testing.assert_array_equal(by_graph(file, upright=True), upright)
    np.testing.assert_array_equal(by_graph(file), by_pillow(file))


def test_the_orientation_of_xmp_data_stands_in() -> None:
    image = Image.fromarray(np.arange(36, dtype=np.uint8).reshape(3, 4, 3))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    for file in (saved(image, "JPEG", xmp=xmp), saved(image, "WEBP", xmp=xmp)):
        upright = by_pillow(file, upright=True)
        assert upright is not None and upright.shape == (4, 3, 3)
        np.testing.assert_array_equal(by_graph(file, upright=True), upright)


def test_an_earlier_entry_beyond_the_end_of_the_exif_data_hides_the_orientation() -> None:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif[0x0112] = 6
    image = Image.fromarray(np.zeros((3, 4, 3), np.uint8))
    file = saved(image, "JPEG", exif=exif.tobytes())
    at = file.index(b"Exif\0\0") + 6 + 8 + 2 + 8  # where the name of the camera lies
    damaged = file[:at] + b"\xff\xff\xff\x7f" + file[at + 4 :]
    assert by_pillow(file, upright=True).shape == (4, 3, 3)
    assert by_pillow(damaged, upright=True).shape == (3, 4, 3)
    assert verdict(damaged, upright=True) == "equal"


def test_gray_of_16_bits_is_clipped() -> None:
    samples = np.array([[[0], [254], [255], [256], [65535]]])
    file = write_png(np.random.default_rng(0), samples, 16, 0)
    assert by_graph(file)[0, :, 0].tolist() == [0, 254, 255, 255, 255]
    assert verdict(file) == "equal"


def test_a_gif_of_many_frames_is_cut_to_its_first() -> None:
    indices = np.random.default_rng(0).integers(0, 4, (40, 50)).astype(np.uint8)
    palette = np.random.default_rng(1).integers(0, 256, (4, 3))
    file = write_gif(indices, 2, global_palette=palette, frames=50)
    assert verdict(file) == "equal"
    # TensorFlow's own op decodes all.
    assert tf.io.decode_gif(file).shape[0] == 50


def test_a_gif_frame_larger_than_its_canvas_counts() -> None:
    file = write_gif(np.zeros((9, 8), np.uint8), 2, canvas=(1, 1), place=(2, 3))
    assert tuple(int(n) for n in image_size(tf.constant(file))) == (11, 11)
    assert verdict(file) == "equal"


def test_a_palette_of_grays_gives_way_to_the_files() -> None:
    grays = np.repeat(np.arange(4)[:, None], 3, axis=1)
    palette = np.random.default_rng(1).integers(0, 256, (8, 3))
    indices = np.arange(8, dtype=np.uint8).reshape(2, 4)
    assert verdict(write_gif(indices, 3, global_palette=palette, local_palette=grays)) == "equal"
    assert verdict(write_gif(indices, 3, global_palette=grays)) == "equal"


def test_a_pixel_beyond_a_short_palette_is_black() -> None:
    palette = png_chunk(b"PLTE", bytes([10, 20, 30]))
    file = write_png(np.random.default_rng(0), np.array([[[0], [9]]]), 8, 3, before=palette)
    assert by_graph(file).tolist() == [[[10, 20, 30], [0, 0, 0]]]
    assert verdict(file) == "equal"


def test_eager_and_mapped_calls_give_the_same() -> None:
    files = [make(kind, 1, 20) for kind in ("JPEG colour", "PNG RGB", "GIF", "BMP 8 bits", "WebP lossy")]
    for file in files:
        np.testing.assert_array_equal(decode_image(tf.constant(file)).numpy(), by_pillow(file))
    sums = tf.function(
        lambda batch: tf.map_fn(
            lambda file: tf.reduce_sum(tf.cast(decode_image(file), tf.int64)),
            batch,
            fn_output_signature=tf.int64,
        )
    )
    expected = [
        int(np.asarray(Image.open(io.BytesIO(file)).convert("RGB")).sum(dtype="i8")) for file in files
    ]
    assert sums(tf.constant(files)).numpy().tolist() == expected
