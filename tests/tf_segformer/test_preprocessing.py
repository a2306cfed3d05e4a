"""The whole preprocessing against the reference processor, bit for bit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from tests.tf_segformer.pixel_cases import PICTURES, preprocess_difference, random_config
from tf_segformer.preprocessing import (
    ImageProcessing,
    decode_image,
    normalize,
    output_size,
    preprocess,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
PHOTOS = sorted(p for p in (FIXTURES / "photos").iterdir() if p.suffix in (".jpg", ".png"))


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda p: p.name)
def test_photographs_give_the_reference_pixel_values(photo):
    image = Image.open(photo).convert("RGB")
    expected = SegformerImageProcessorPil()(image, return_tensors="np")["pixel_values"][0]
    run = tf.function(lambda file: preprocess(decode_image(file), ImageProcessing()))
    actual = run(tf.constant(photo.read_bytes())).numpy()
    np.testing.assert_array_equal(actual, np.moveaxis(expected, 0, -1), strict=True)


def test_old_style_config():
    processing = ImageProcessing.from_pretrained(FIXTURES / "segmentation_tiny")
    assert processing == ImageProcessing(height=512, width=512, do_reduce_labels=True)
    assert ImageProcessing.from_dict(processing.to_dict()) == processing


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    picture=st.sampled_from(sorted(PICTURES)),
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_config_gives_the_reference_pixel_values(picture, height, width, seed):
    random = np.random.default_rng(seed)
    config = random_config(random)
    edges = config["size"] if isinstance(config["size"], dict) else {}
    if "longest_edge" in edges and edges["longest_edge"] * min(height, width) < max(height, width):
        config["size"] = edges["shortest_edge"]  # the size would be empty, see below
    assert preprocess_difference(PICTURES[picture](height, width, random), config) == 0


EDGES = {
    (shortest, longest): tf.function(
        lambda h, w, s=shortest, m=longest: output_size(
            h, w, ImageProcessing(shortest_edge=s, longest_edge=m)
        ),
        input_signature=[tf.TensorSpec([], tf.int32)] * 2,
        autograph=False,
    )
    for shortest, longest in [(512, None), (37, None), (512, 2048), (37, 41), (333, 1000), (50, 50)]
}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(edges=st.sampled_from(list(EDGES)), height=st.integers(1, 5000), width=st.integers(1, 5000))
def test_edges_give_the_reference_size(edges, height, width):
    """What transformers' `resize` asks of NumPy and Pillow, without resizing."""
    shortest, longest = edges
    if longest and longest * min(height, width) < max(height, width):
        return
    size = SimpleNamespace(shortest_edge=shortest, longest_edge=longest)
    asked = reference_size(np.empty((3, height, width), np.uint8), size)
    assert tuple(int(n) for n in EDGES[edges](height, width)) == asked


def reference_size(image, size):
    """Run the reference processor's `resize` up to the size that it would resize to."""
    from transformers import image_processing_backends

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_processing_backends, "np_resize", lambda *_, size, **__: size)
        return SegformerImageProcessorPil().resize(image, size)


def test_an_empty_size_is_refused_as_by_the_reference():
    config = {"size": {"shortest_edge": 10, "longest_edge": 20}}
    pixels = np.zeros((1, 100, 3), np.uint8)
    with pytest.raises(ValueError, match="height and width must be > 0"):
        SegformerImageProcessorPil(**config)(Image.fromarray(pixels))
    with pytest.raises(tf.errors.InvalidArgumentError, match="too narrow"):
        preprocess(pixels, ImageProcessing.from_dict(config))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [[1, 256, 3], [None, None, 3]])
def test_a_graphs_optimizer_changes_no_bit_of_any_level(shape, seed):
    """Where sizes are known, constants meet, and a quotient may become a product."""
    random = np.random.default_rng(seed)
    config = {
        "do_resize": False,
        "do_rescale": seed != 0,
        "rescale_factor": random.uniform(0, 1) if seed % 2 else 1 / 255,
        "image_mean": random.uniform(0, 1, 3).tolist(),
        "image_std": random.uniform(0.1, 1, 3).tolist(),
    }
    levels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=-1)
    expected = SegformerImageProcessorPil(**config)(Image.fromarray(levels), return_tensors="np")
    processing = ImageProcessing.from_dict(config)
    in_graph = tf.function(
        lambda pixels: normalize(pixels, processing), input_signature=[tf.TensorSpec(shape, tf.uint8)]
    )
    expected = np.moveaxis(expected["pixel_values"][0], 0, -1)
    np.testing.assert_array_equal(in_graph(levels), expected, strict=True)


def test_a_deviation_of_zero_is_refused():
    with pytest.raises(ValueError, match=r"image_std is .*, expected no zero"):
        ImageProcessing.from_dict({"image_std": [0.2, 0, 0.2]})
