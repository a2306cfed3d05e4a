"""The whole preprocessing against the reference processor, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

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
