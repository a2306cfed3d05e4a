"""A photograph's logits by every policy, against the reference's side."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tf_segformer import TFSegformerForSemanticSegmentation
from tf_segformer.image_logits import segment_logits, sliding_logits
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.resizing import Resizing, network_size
from torch_ref import Reference, resizing
from torch_ref import label_map as reference_label_map

TINY = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"
PROCESSING = ImageProcessing(height=64, width=64)
POLICIES = {
    "checkpoint": Resizing(),
    "keep-ratio": Resizing("keep-ratio", short_side=48),
    "sliding-window": Resizing("sliding-window", short_side=100),
    "sliding-window, own size": Resizing("sliding-window", short_side=0, window=(32, 64), stride=(20, 48)),
}
# The reference against itself in float64 is off by 5e-7 of the logits' scale; four times that.
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def network():
    model = TFSegformerForSemanticSegmentation.from_pretrained(TINY, data_format="channels_last")
    return tf.function(
        lambda values: model(values).logits,
        input_signature=[tf.TensorSpec([None, None, None, 3])],
        autograph=False,
    )


@pytest.fixture(scope="module")
def reference():
    return Reference.from_pretrained(TINY)


@pytest.fixture(scope="module")
def classes(reference):
    return reference.config.num_labels


@pytest.fixture(scope="module")
def by_policy(network, classes):
    return {
        name: tf.function(
            lambda pixels, policy=policy: segment_logits(
                pixels, PROCESSING, policy, network, classes, batch=3
            ),
            input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)],
            autograph=False,
        )
        for name, policy in POLICIES.items()
    }


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [(90, 131), (150, 70), (33, 35)])
def test_logits_and_labels_are_the_references(name, size, by_policy, reference):
    random = np.random.default_rng(list(size))
    small = Image.fromarray(random.integers(0, 256, (9, 11, 3), np.uint8))
    image = small.resize(size[::-1], Image.Resampling.BICUBIC)
    found = by_policy[name](np.asarray(image)).numpy()

    options = POLICIES[name].completed(PROCESSING).to_dict()
    reference.processor.size = {"height": 64, "width": 64}
    values = resizing.preprocess_by(image, reference.processor, **options)
    expected = resizing.logits_by(values, lambda v: reference.forward(v).logits, **options)

    channels_first = np.moveaxis(found, -1, 0)
    assert channels_first.shape == expected[0].shape
    scale = np.abs(expected).max()
    np.testing.assert_allclose(channels_first, expected[0], rtol=0, atol=TOLERANCE * scale)
    labels, reference_labels = label_map(found, *size).numpy(), reference_label_map(expected, size)
    assert np.count_nonzero(labels != reference_labels) <= 2  # ties, of up to 11,790 pixels


def striped(classes):
    """A network that is exact in float32: the mean of each 4 x 4 pixels' red, and where it lies."""

    def network(values):
        red = tf.nn.avg_pool2d(values[..., :1], 4, 4, "VALID")
        lies = tf.cast(tf.range(tf.shape(red)[1]), tf.float32)[None, :, None, None]
        return tf.concat([red, tf.zeros_like(red) + lies, tf.repeat(red, classes - 2, axis=-1)], -1)

    return network


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    grid=st.tuples(st.integers(8, 24), st.integers(12, 30)),
    stride=st.tuples(st.integers(2, 8), st.integers(3, 12)),
    batch=st.integers(1, 7),
)
def test_overlapping_windows_are_averaged(grid, stride, batch):
    window, stride = (32, 48), (4 * stride[0], 4 * stride[1])
    values = np.random.default_rng(0).integers(0, 8, (4 * grid[0], 4 * grid[1], 3)).astype(np.float32)
    found = sliding_logits(values, striped(3), 3, window, stride, batch=batch).numpy()
    expected = resizing.logits_by(
        np.moveaxis(values, -1, 0)[None],
        lambda v: striped(3)(np.moveaxis(v, 1, -1)).numpy().transpose(0, 3, 1, 2),
        "sliding-window",
        window=window,
        stride=stride,
    )
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected[0], strict=True)
    # What is the same in every window is not changed by the average.
    means = values[..., 0].reshape(grid[0], 4, grid[1], 4).mean((1, 3))
    np.testing.assert_allclose(found[..., 0], means, rtol=1e-6)


def test_one_window_is_the_whole_picture(network, classes):
    values = np.random.default_rng(0).normal(size=(64, 96, 3)).astype(np.float32)
    found = sliding_logits(values, network, classes, (64, 96), (48, 72))
    np.testing.assert_array_equal(found, network(values[None])[0])


def test_photographs_of_different_sizes_in_a_session(tmp_path):
    """As a server runs it: files of any size, one after the other, in a TF1 Session."""

    def mask(pixels):
        logits = segment_logits(pixels, PROCESSING, POLICIES["sliding-window"], striped(20), 20)
        labels = label_map(logits, tf.shape(pixels)[0], tf.shape(pixels)[1])
        return tf.cast(labels, tf.uint8)[..., None]

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(self, files):
            return {
                "mask_png_bytes": tf.map_fn(
                    lambda file: tf.io.encode_png(mask(tf.io.decode_png(file, channels=3))),
                    files,
                    fn_output_signature=tf.string,
                )
            }

    module = Module()
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    random = np.random.default_rng(0)
    photographs = [random.integers(0, 256, (*size, 3), np.uint8) for size in ((70, 90), (130, 50))]
    files = [tf.io.encode_png(pixels).numpy() for pixels in photographs]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = meta.signature_def["serving_default"]
        masks = session.run(signature.outputs["mask_png_bytes"].name, {signature.inputs["files"].name: files})
    for pixels, png in zip(photographs, masks, strict=True):
        found = tf.io.decode_png(png).numpy()
        assert len(np.unique(found)) > 1
        np.testing.assert_array_equal(found, mask(tf.constant(pixels)))


def test_wrong_arguments_are_refused(network, classes):
    values = tf.zeros([64, 64, 3])
    with pytest.raises(ValueError, match="batch is 0"):
        sliding_logits(values, network, classes, (64, 64), (48, 48), batch=0)
    with pytest.raises(ValueError, match="multiples of 4"):
        sliding_logits(values, network, classes, (64, 64), (48, 50))
    with pytest.raises(tf.errors.InvalidArgumentError, match="smaller than the window"):
        sliding_logits(values, network, classes, (64, 68), (48, 48))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not multiples of 4"):
        sliding_logits(tf.zeros([64, 70, 3]), network, classes, (64, 68), (48, 48))
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="shape"):
        sliding_logits(values, lambda v: v, 3, (64, 64), (48, 48))


def test_the_logits_cover_the_networks_size(by_policy):
    pixels = np.zeros((77, 103, 3), np.uint8)
    for name, policy in POLICIES.items():
        height, width = (int(n) for n in network_size(77, 103, PROCESSING, policy))
        assert by_policy[name](pixels).shape[:2] == (-(-height // 4), -(-width // 4))
