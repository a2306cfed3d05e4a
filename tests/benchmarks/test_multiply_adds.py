"""Multiply-adds: by hand, against the paper's table, and against PyTorch's own counter."""

from types import SimpleNamespace

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.multiply_adds import ATTENTION, count, total
from tf_segformer import variant_config

TINY = {
    "num_channels": 3,
    "hidden_sizes": [4, 8],
    "depths": [1, 2],
    "num_attention_heads": [1, 2],
    "sr_ratios": [2, 1],
    "mlp_ratios": [4, 2],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "decoder_hidden_size": 8,
    "num_labels": 5,
}


def test_a_tiny_network_by_hand():
    """32 × 16 pixels: 8 × 4 tokens of 4 channels, then 4 × 2 of 8. Keys are 8 and 8."""
    expected = {
        "patch embedding": 32 * 49 * 3 * 4 + 8 * 9 * 4 * 8,
        "attention, sequence reduction": 8 * 4 * 4 * 4,
        "attention, dense layers": 2 * (32 + 8) * 4 * 4 + 2 * (2 * (8 + 8) * 8 * 8),
        ATTENTION: 2 * 32 * 8 * 4 + 2 * (2 * 8 * 8 * 8),
        "Mix-FFN, dense layers": 2 * 32 * 4 * 16 + 2 * (2 * 8 * 8 * 16),
        "Mix-FFN, depthwise convolution": 9 * 32 * 16 + 2 * (9 * 8 * 16),
        "decode head, projections": 32 * 4 * 8 + 8 * 8 * 8,
        "decode head, fuse": 32 * 16 * 8,
        "decode head, classifier": 32 * 8 * 5,
    }
    assert count(SimpleNamespace(**TINY), (32, 16)) == expected


def test_images_of_a_batch_count_alike_and_the_fold_leaves_out_the_fuse():
    config = SimpleNamespace(**TINY)
    assert total(config, (32, 16), 3) == 3 * total(config, (32, 16))
    whole, folded = count(config, (32, 16)), count(config, (32, 16), folded=True)
    assert folded == {name: number for name, number in whole.items() if name != "decode head, fuse"}


@pytest.mark.parametrize(
    ("variant", "billions", "size"),
    [
        ("b0", 8.4, 512),
        ("b1", 15.9, 512),
        ("b2", 62.4, 512),
        ("b3", 79.0, 512),
        ("b4", 95.7, 512),
        ("b5", 183.3, 640),
    ],
)
def test_the_papers_table(variant, billions, size):
    """arXiv 2105.15203, table 1b, ADE20K."""
    config = variant_config(variant, num_labels=150)
    assert total(config, (size, size)) / 1e9 == pytest.approx(billions, rel=0.005)


def test_pytorch_counts_the_same():
    fields = {**TINY, "num_encoder_blocks": 2, "mlp_ratios": [4, 4]}
    config = transformers.SegformerConfig(**fields, attn_implementation="eager")
    model = transformers.SegformerForSemanticSegmentation(config).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(2, 3, 64, 96))
    assert counter.get_total_flops() == 2 * total(config, (64, 96), 2)
