"""The augmentations: labels move with pixels, the crop's rule, padding, and what a key decides."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer.training_data import COLOURS, scene, write_folders
from tf_segformer.datasets.pairs import find_evaluation
from tf_segformer.datasets.reading import MaskRules
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.trainer import augmentation
from tf_segformer.trainer.augmentation import Augmentation, augment, distort
from tf_segformer.trainer.batches import training_batches

# Levels 0 to 255 come out as they are.
RAW = ImageProcessing(do_rescale=False, do_normalize=False)
PLAIN = Augmentation(crop=32, short_side=48, scales=(1.0, 1.0), flip=0.0, photometric=False)
KEYS = [tf.constant([7, number], tf.int32) for number in range(12)]


@functools.cache
def graph(plan, processing):
    """`augment` as a graph, which is traced once for a plan."""
    signature = [
        tf.TensorSpec([None, None, 3], tf.uint8),
        tf.TensorSpec([None, None], tf.uint8),
        tf.TensorSpec([2], tf.int32),
    ]
    return tf.function(lambda *inputs: augment(*inputs, plan, processing), input_signature=signature)


def drawn(image, labels, key, plan, processing=RAW):
    pixels, label_map = graph(plan, processing)(image, labels, key)
    return pixels.numpy(), label_map.numpy()


@pytest.mark.parametrize(
    "plan",
    [
        Augmentation(crop=32, short_side=48, photometric=False),
        Augmentation(crop=64, short_side=48, photometric=False, flip=1.0),
        Augmentation(crop=48, short_side=20, photometric=False),
    ],
)
def test_labels_move_with_their_pixels(plan):
    random = np.random.default_rng(0)
    classes = random.integers(0, 3, (3, 4)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
    image = COLOURS[classes + 1].astype(np.uint8)
    right = total = 0
    for key in KEYS:
        pixels, labels = drawn(image, classes, key, plan)
        assert pixels.shape == (plan.crop, plan.crop, 3) and labels.shape == (plan.crop, plan.crop)
        nearest = np.square(pixels[:, :, None] - COLOURS[1:]).sum(-1).argmin(-1)
        right += (nearest == labels)[labels != 255].sum()
        total += (labels != 255).sum()
    assert right / total > 0.97  # at borders a pixel is blended of both


def test_a_crop_without_scaling_is_a_part_of_the_photograph():
    random = np.random.default_rng(1)
    image = random.integers(0, 256, (48, 64, 3)).astype(np.uint8)
    labels = random.integers(0, 3, (48, 64)).astype(np.uint8)
    places = set()
    for key in KEYS:
        pixels, crop = drawn(image, labels, key, PLAIN)
        windows = np.lib.stride_tricks.sliding_window_view(labels, (32, 32))
        ((top, left),) = np.argwhere((windows == crop).all((2, 3)))
        np.testing.assert_array_equal(pixels, image[top : top + 32, left : left + 32])
        places.add((int(top), int(left)))
    assert len(places) > 6


def test_a_flip_mirrors_pixels_and_labels():
    image, labels = scene(np.random.default_rng(2))
    pixels, crop = drawn(image, labels, KEYS[0], PLAIN)
    flipped = drawn(image, labels, KEYS[0], Augmentation(**{**vars(PLAIN), "flip": 1.0}))
    np.testing.assert_array_equal(flipped[0], pixels[:, ::-1])
    np.testing.assert_array_equal(flipped[1], crop[:, ::-1])


def test_beyond_the_photograph_nothing_is_labelled_and_pixels_are_the_mean():
    image, labels = scene(np.random.default_rng(3))
    plan = Augmentation(**{**vars(PLAIN), "crop": 80})
    pixels, crop = drawn(image, labels, KEYS[0], plan, ImageProcessing())
    np.testing.assert_array_equal(crop[:48, :64], labels)
    assert (crop[48:] == 255).all() and (crop[:, 64:] == 255).all()
    assert not pixels[48:].any() and not pixels[:, 64:].any()
    assert np.abs(pixels[:48, :64]).min(-1).max() > 0.1


def test_a_crop_is_drawn_again_while_one_class_has_too_much_of_it():
    labels = np.zeros((48, 200), np.uint8)
    labels[:, 100:] = 1  # only near the middle do both classes have a quarter of a crop
    labels[:4] = 255  # what is not labelled does not count
    image = np.zeros((48, 200, 3), np.uint8)
    shares = {}
    for most in (0.75, 1.01):
        plan = Augmentation(**{**vars(PLAIN), "most_of_one_class": most})
        crops = [drawn(image, labels, tf.constant([1, number]), plan)[1] for number in range(60)]
        assert all(crop.shape == (32, 32) for crop in crops)
        shares[most] = np.mean([0.25 < (crop == 1).sum() / (crop != 255).sum() < 0.75 for crop in crops])
    # by chance 17 of 169 places are fit; of ten tries one is with a probability of 65 %
    assert shares[1.01] < 0.25
    assert 0.45 < shares[0.75] < 0.85


def test_scales_are_drawn_from_the_whole_range():
    labels = np.zeros((40, 40), np.uint8)
    image = np.zeros((40, 40, 3), np.uint8)
    plan = Augmentation(crop=128, short_side=64, photometric=False, most_of_one_class=1.1)
    sides = []
    for number in range(60):
        crop = drawn(image, labels, tf.constant([3, number]), plan)[1]
        height, width = (crop != 255).any(1).sum(), (crop != 255).any(0).sum()
        assert height == width
        sides.append(height)
    assert 32 <= min(sides) < 40 and 115 < max(sides) <= 128


def test_a_long_photograph_is_scaled_by_its_longer_side():
    size = augmentation._resized_size(
        tf.constant([100, 1000]), KEYS[0], Augmentation(crop=512, scales=(1.0, 1.0))
    )
    assert size.numpy().tolist() == [205, 2048]


def test_distortion_stays_within_its_bounds():
    graph = tf.function(distort)
    gray = tf.constant(np.full((4, 4, 3), 128.0, np.float32))
    levels = np.array([graph(gray, tf.constant([5, number]))[0, 0] for number in range(200)])
    assert np.ptp(levels, axis=1).max() < 0.01  # gray has no hue and no saturation to change
    assert levels.min() >= (128 - 32) * 0.5 - 0.01 and levels.max() <= (128 + 32) * 1.5 + 0.01
    assert levels.min() < 60 and levels.max() > 200
    assert 0.15 < np.mean(np.abs(levels[:, 0] - 128) < 0.01) < 0.35  # neither: a quarter of the time
    red = np.full((1, 1, 3), (200.0, 40.0, 40.0), np.float32)
    colours = np.array([graph(tf.constant(red), tf.constant([6, number]))[0, 0] for number in range(100)])
    assert colours.min() >= 0 and colours.max() <= 255
    assert np.ptp(colours[:, 1] - colours[:, 2]) > 30  # the hue turns both ways


def test_a_key_decides_everything():
    image, labels = scene(np.random.default_rng(4))
    plan = Augmentation(crop=32)
    first, again, other = (
        drawn(image, labels, key, plan, ImageProcessing()) for key in (*KEYS[:1] * 2, KEYS[1])
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


def batches(pairs, steps, seed=3, plan=PLAIN):
    dataset = training_batches(pairs, MaskRules(3), plan, RAW, batch_size=4, steps=steps, seed=seed)
    return [(pixels.numpy(), labels.numpy()) for pixels, labels in dataset]


def test_batches_from_a_later_step_are_those_of_the_whole_training(tmp_path):
    pairs = find_evaluation(write_folders(tmp_path / "data")).pairs
    whole = batches(pairs, range(0, 5), plan=Augmentation(crop=32))
    part = batches(pairs, range(3, 5), plan=Augmentation(crop=32))
    assert len(whole) == 5 and len(part) == 2
    for expected, found in zip(whole[3:], part, strict=True):
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_array_equal(found[1], expected[1])
    assert not np.array_equal(batches(pairs, range(0, 1), seed=4)[0][0], whole[0][0])


def test_every_example_of_a_batch_has_its_own_draws(tmp_path):
    pairs = find_evaluation(write_folders(tmp_path / "data", count=2)).pairs[:1]
    ((pixels, _),) = batches(pairs, range(0, 1), plan=Augmentation(crop=32))
    assert len({example.tobytes() for example in pixels}) == 4


def test_an_epoch_shows_every_photograph_once_in_an_order_of_its_own(tmp_path):
    pairs = find_evaluation(write_folders(tmp_path / "data")).pairs
    plan = Augmentation(**{**vars(PLAIN), "crop": 64})
    examples = [labels.tobytes() for _, batch in batches(pairs, range(0, 5), plan=plan) for labels in batch]
    first, second = examples[:10], examples[10:]
    assert len(set(first)) == 10
    assert sorted(first) == sorted(second) and first != second
