"""A model of four blocks for tests that train, and a batch for it with pixels that carry no label."""

import numpy as np
from transformers import SegformerConfig

CLASSES, SIZE, BATCH = 5, 32, 4


def config(**changes):
    """A SegFormer config of 6,000 parameters."""
    fields = {
        "hidden_sizes": [4, 4, 8, 8],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "decoder_hidden_size": 8,
        "num_labels": CLASSES,
    }
    return SegformerConfig(**{**fields, **changes})


# Half of the stages, for tests that build a graph of a training step, which takes longer than all else.
TWO_STAGES = {
    "num_encoder_blocks": 2,
    "hidden_sizes": [4, 8],
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "sr_ratios": [8, 1],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "mlp_ratios": [4, 4],
}


def batch(classes=CLASSES):
    """Pixels (4, 3, 32, 32) whose brightness tells the class, and labels; the last image has none."""
    random = np.random.default_rng(0)
    labels = random.integers(0, max(classes, 2), (BATCH, 4, 4)).repeat(8, 1).repeat(8, 2)
    pixels = random.normal(scale=0.1, size=(BATCH, 3, SIZE, SIZE)) + labels[:, None] - classes / 2
    labels[:, :5] = 255
    labels[-1] = 255
    return pixels.astype("float32"), labels
