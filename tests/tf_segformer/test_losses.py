"""The losses against PyTorch's."""

import numpy as np
import pytest
import tensorflow as tf
import torch
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from tf_segformer.losses import classification_loss, segmentation_loss

RNG = np.random.default_rng(0)


def torch_loss(labels, logits, num_labels):
    """The reference's own loss on given logits (B, K, h, w)."""
    config = SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 1, 1, 1],
        decoder_hidden_size=8,
        num_labels=num_labels,
    )
    model = SegformerForSemanticSegmentation(config).eval()
    model.decode_head.forward = lambda *_, **__: torch.from_numpy(logits)
    pixels = torch.zeros((len(logits), 3, 64, 64))
    return model(pixels, labels=torch.from_numpy(labels)).loss.item()


@pytest.mark.parametrize("num_labels", [2, 11, 150])
@pytest.mark.parametrize("size", [(16, 16), (50, 70), (9, 31)])
def test_cross_entropy_equals_the_reference(num_labels, size):
    logits = RNG.normal(size=(2, num_labels, 13, 18)).astype("float32")
    labels = RNG.integers(0, num_labels, size=(2, *size))
    labels[RNG.random(labels.shape) < 0.3] = 255
    loss = segmentation_loss(labels, tf.constant(logits.transpose(0, 2, 3, 1)), num_labels, 255)
    assert loss.shape == ()
    assert abs(float(loss) - torch_loss(labels, logits, num_labels)) < 1e-6


def test_binary_loss_is_the_mean_over_all_pixels():
    logits = RNG.normal(size=(2, 1, 13, 18)).astype("float32")
    labels = RNG.integers(0, 2, size=(2, 50, 70))
    labels[:, :20] = 255
    loss = segmentation_loss(labels, tf.constant(logits.transpose(0, 2, 3, 1)), 1, 255)
    assert abs(float(loss) - torch_loss(labels, logits, 1)) < 1e-6


def test_every_pixel_ignored_is_no_loss():
    logits = tf.ones((1, 4, 4, 3))
    assert float(segmentation_loss(np.full((1, 8, 8), 255), logits, 3, 255)) == 0.0


@pytest.mark.parametrize("label", [-1, 3, 254])
def test_a_label_out_of_range_is_named(label):
    labels = np.zeros((1, 8, 8), "int32")
    labels[0, 0, 0] = label
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must lie in \[0, 3\)"):
        segmentation_loss(labels, tf.ones((1, 4, 4, 3)), 3, 255)
    graph = tf.function(lambda y: segmentation_loss(y, tf.ones((1, 4, 4, 3)), 3, 255))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must lie in \[0, 3\)"):
        graph(labels)


def test_label_shapes_are_checked():
    with pytest.raises(ValueError, match=r"expected .batch, height, width"):
        segmentation_loss(np.zeros((8, 8), "int32"), tf.ones((1, 4, 4, 3)), 3, 255)
    with pytest.raises(ValueError, match="2 label maps for 1 images"):
        segmentation_loss(np.zeros((2, 8, 8), "int32"), tf.ones((1, 4, 4, 3)), 3, 255)


def test_classification_losses():
    logits = RNG.normal(size=(4, 5)).astype("float32")
    labels = np.array([0, 4, 2, 2])
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()
    config = SegformerConfig(num_labels=5)
    assert abs(float(classification_loss(labels, tf.constant(logits), config)) - expected) < 1e-6
    many = RNG.integers(0, 2, size=(4, 5)).astype("float32")
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(many)
    ).item()
    assert abs(float(classification_loss(many, tf.constant(logits), config)) - expected) < 1e-6
    value = classification_loss(
        np.array([1.0, 3.0]), tf.constant([[0.0], [0.0]]), SegformerConfig(num_labels=1)
    )
    assert float(value) == 5.0
