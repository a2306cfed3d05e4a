"""What the signatures answer, in a TF1 Session, against Pillow and the Keras model."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from serving.signatures import trace_signatures
from tf_segformer.configuration import variant_config
from tf_segformer.inference import Prediction
from tf_segformer.labels import LabelSet, distinct_palette, label_set_for
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing, preprocess

SIZES = [(75, 50), (48, 80), (1, 1), (130, 33)]  # height, width


def photo(size, seed=0):
    """Smooth colours with noise, so that more than one class is found."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 5, 3), np.uint8))
    pixels = np.asarray(coarse.resize(size[::-1])).astype(int) + random.integers(-9, 10, (*size, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def encoded(pixels, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, **{"format": "PNG", **options})
    return file.getvalue()


def batch(items):
    array = np.empty(len(items), object)
    array[:] = items
    return array


def expected_labels(keras_model, checkpoint, pixels):
    processing = ImageProcessing.from_pretrained(checkpoint)
    values = preprocess(tf.constant(pixels), processing)[tf.newaxis]
    logits = keras_model(values).logits[0]
    return label_map(logits, pixels.shape[0], pixels.shape[1]).numpy()


def test_masks_have_the_images_own_sizes_and_labels(served, keras_model, checkpoint):
    photos = [photo(size, seed) for seed, size in enumerate(SIZES)]
    files = [encoded(photos[0]), *(encoded(pixels, format="PNG") for pixels in photos[1:])]
    answer = served.run("serving_default", {"image_bytes": batch(files)})
    assert set(answer) == {"mask_png_bytes", "height", "width", "status_bytes"}
    assert answer["status_bytes"].tolist() == [b"ok"] * len(SIZES)
    np.testing.assert_array_equal(answer["height"], [height for height, _ in SIZES])
    np.testing.assert_array_equal(answer["width"], [width for _, width in SIZES])
    found = set()
    for png, pixels in zip(answer["mask_png_bytes"], photos, strict=True):
        mask = Image.open(io.BytesIO(png))
        assert (mask.mode, mask.size) == ("L", pixels.shape[1::-1])
        expected = expected_labels(keras_model, checkpoint, pixels)
        np.testing.assert_array_equal(np.asarray(mask), expected)
        found |= set(np.unique(expected))
    assert len(found) > 2


def test_jpeg_files_are_decoded_as_pillow_does(served):
    file = encoded(photo((60, 90)), format="JPEG", quality=60)
    decoded = np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))
    from_bytes = served.run("serving_default", {"image_bytes": batch([file])})
    from_pixels = served.run("segment_pixels", {"pixels": decoded[np.newaxis]})
    mask = np.asarray(Image.open(io.BytesIO(from_bytes["mask_png_bytes"][0])))
    np.testing.assert_array_equal(mask, from_pixels["labels"][0])


def test_pixels_give_label_maps(served, keras_model, checkpoint):
    photos = np.stack([photo((40, 70), seed) for seed in range(3)])
    labels = served.run("segment_pixels", {"pixels": photos})["labels"]
    assert labels.shape == (3, 40, 70)
    assert labels.dtype == np.int32
    for found, pixels in zip(labels, photos, strict=True):
        np.testing.assert_array_equal(found, expected_labels(keras_model, checkpoint, pixels))


def test_logits_and_features_are_the_keras_models(served, keras_model):
    values = np.random.default_rng(0).standard_normal((2, 96, 64, 3), np.float32)
    output = keras_model(values, output_hidden_states=True)
    logits = served.run("logits", {"pixel_values": values})["logits"]
    assert logits.shape == (2, 24, 16, keras_model.config.num_labels)
    np.testing.assert_allclose(logits, output.logits, rtol=0, atol=2e-6 * np.abs(logits).max())
    features = served.run("features", {"pixel_values": values})
    assert set(features) == {f"hidden_state_{i}" for i in range(4)}
    for i, state in enumerate(output.hidden_states):
        scale = np.abs(state).max()
        np.testing.assert_allclose(features[f"hidden_state_{i}"], state, rtol=0, atol=5e-6 * scale)


def test_logits_from_bytes_are_the_logits_of_the_prepared_image(served, checkpoint):
    photos = [photo(size) for size in SIZES[:2]]
    answer = served.run("logits_from_bytes", {"image_bytes": batch([encoded(p) for p in photos])})
    processing = ImageProcessing.from_pretrained(checkpoint)
    values = np.stack([preprocess(tf.constant(pixels), processing) for pixels in photos])
    logits = served.run("logits", {"pixel_values": values})["logits"]
    np.testing.assert_allclose(answer["logits"], logits, rtol=0, atol=2e-6 * np.abs(logits).max())
    np.testing.assert_array_equal(answer["height"], [75, 48])
    np.testing.assert_array_equal(answer["width"], [50, 80])


def test_confidence_is_the_softmax_of_the_resized_logits(served, keras_model, checkpoint):
    pixels = photo((60, 90), seed=3)
    files = batch([encoded(pixels)])
    answer = served.run("segment_with_confidence", {"image_bytes": files})
    logits = served.run("logits_from_bytes", {"image_bytes": files})["logits"]
    resized = tf.image.resize(logits, pixels.shape[:2]).numpy()[0]
    probability = tf.nn.softmax(resized).numpy().max(axis=-1)
    mask, confidence = (
        np.asarray(Image.open(io.BytesIO(answer[f"{name}_png_bytes"][0]))) for name in ("mask", "confidence")
    )
    np.testing.assert_array_equal(mask, expected_labels(keras_model, checkpoint, pixels))
    np.testing.assert_allclose(confidence, 255 * probability, rtol=0, atol=1.51)
    share, mean = answer["class_share"][0], answer["class_confidence"][0]
    for index in range(keras_model.config.num_labels):
        found = mask == index
        assert share[index] == pytest.approx(found.mean())
        assert mean[index] == pytest.approx(confidence[found].mean() / 255 if found.any() else 0.0)


def test_overlay_mixes_photograph_and_class_colours(served, keras_model, checkpoint):
    pixels = photo((60, 90), seed=3)
    answer = served.run("overlay", {"image_bytes": batch([encoded(pixels)])})
    picture = Image.open(io.BytesIO(answer["overlay_png_bytes"][0]))
    assert (picture.mode, picture.size) == ("RGB", (90, 60))
    colors = label_set_for(keras_model.config).colors()[expected_labels(keras_model, checkpoint, pixels)]
    mixed = (pixels.astype(float) + colors) / 2
    np.testing.assert_allclose(np.asarray(picture), mixed, rtol=0, atol=1.0)


def test_an_empty_batch_is_answered_with_an_empty_batch(served):
    answer = served.run("serving_default", {"image_bytes": batch([])})
    assert all(value.shape == (0,) for value in answer.values())


class FakeModel:
    """What an export asks of a model; the winning class is written in the red channel of the input."""

    def __init__(self, classes):
        self.config = variant_config("b0", num_labels=classes)

    def count_params(self):
        return 0

    def fold_for_inference(self, precision=None, constants=False):
        return FakeNetwork(self.config.num_labels)


class FakeNetwork(tf.Module):
    def __init__(self, classes):
        super().__init__()
        self.classes = classes

    def __call__(self, pixel_values):
        winner = tf.cast(tf.round(pixel_values[..., 0]), tf.int32)
        return Prediction(tf.one_hot(winner, self.classes), (pixel_values,) * 4)


@pytest.mark.parametrize(("classes", "mode", "factor"), [(255, "L", 1), (256, "I;16", 1), (766, "I;16", 3)])
def test_masks_are_8_bit_up_to_255_labels_and_16_bit_above(classes, mode, factor):
    """Pillow reads the exact label ids back, at the greatest label, too."""
    processing = ImageProcessing(height=16, width=16, do_normalize=False, rescale_factor=factor)
    labels = LabelSet("many", tuple(map(str, range(classes))), distinct_palette(classes))
    _, signatures = trace_signatures(FakeModel(classes), processing, labels)
    red = np.arange(256, dtype=np.uint8).reshape(16, 16)
    red = np.minimum(red, (classes - 1) // factor).astype(np.uint8)
    pixels = np.stack([red, red, red], axis=-1)
    answer = signatures["serving_default"](tf.constant([encoded(pixels)]))
    mask = Image.open(io.BytesIO(answer["mask_png_bytes"].numpy()[0]))
    assert mask.mode == mode
    np.testing.assert_array_equal(np.asarray(mask), red.astype(int) * factor)
    assert np.asarray(mask).max() == classes - 1
