"""On a GPU: the reference keeps the gate, and with TF32 it would not; so that a run must switch it off."""

import numpy as np
import pytest
import torch

from benchmarks.tf32 import logits
from parity.tolerances import LOGITS_FLOAT32_MULTIPLE
from torch_ref import write_seeded_checkpoint

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use")


def test_float32_on_a_gpu_keeps_the_gate_and_tf32_does_not(tmp_path):
    folder = write_seeded_checkpoint(tmp_path / "b0", "b0")
    pixels = np.random.default_rng(0).standard_normal((1, 3, 128, 128)).astype(np.float32)
    exact = logits(folder, "float64", "cpu", pixels)
    errors = [
        np.abs(logits(folder, "float32", "cuda", pixels, tf32=tf32) - exact).max() / np.abs(exact).max()
        for tf32 in (False, True)
    ]
    assert errors[0] <= LOGITS_FLOAT32_MULTIPLE < errors[1]
