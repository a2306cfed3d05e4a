"""PyTorch: transformers' SegFormer, eager, compiled, or with our fold for the engines that convert it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

from benchmarks.sides import Network


def torch_model(work: Path, *, folded: bool = False) -> torch.nn.Module:
    """Return transformers' PyTorch model as a module of one input and one output."""
    model = transformers.SegformerForSemanticSegmentation.from_pretrained(work / "checkpoint").eval()

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            if folded:
                fold = np.load(work / "fold.npz")
                self.kernels = [torch.tensor(fold[f"kernel_{i}"].T[:, :, None, None]) for i in range(4)]
                self.bias = torch.tensor(fold["bias"])

        def forward(self, values: Any) -> Any:
            if not folded:
                return self.model(values, return_dict=True).logits
            states = self.model.segformer(values, output_hidden_states=True, return_dict=True).hidden_states
            functional = torch.nn.functional
            x = functional.conv2d(states[0], self.kernels[0], self.bias)
            for state, kernel in zip(states[1:], self.kernels[1:], strict=True):
                x = x + functional.interpolate(
                    functional.conv2d(state, kernel), x.shape[2:], mode="bilinear", align_corners=False
                )
            return self.model.decode_head.classifier(functional.relu(x))

    return Logits().eval()


def pytorch(work: Path, shape: tuple[int, ...], threads: int, *, compiled: bool = False) -> Network:
    """PyTorch, eager or compiled; compiled with frozen weights, as its guide advises for inference."""
    torch.set_num_threads(threads)
    model: Any = torch_model(work)
    if compiled:
        torch._inductor.config.freezing = True
        model = torch.compile(model)

    @torch.inference_mode()
    def run(values: torch.Tensor) -> np.ndarray:
        return model(values).numpy()

    return Network(run, prepare=torch.from_numpy)


def oneformer(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """OneFormer with its Swin-T backbone at the widths of the checkpoint for ADE20K, random weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    backbone = transformers.SwinConfig(
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        window_size=7,
        drop_path_rate=0.3,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.OneFormerConfig(
        backbone_config=backbone, num_labels=150, num_queries=150, is_training=False
    )
    model = transformers.OneFormerForUniversalSegmentation(config).eval()
    task = torch.zeros((shape[0], config.task_seq_len))

    @torch.inference_mode()
    def run(values: torch.Tensor) -> np.ndarray:
        return model(pixel_values=values, task_inputs=task).masks_queries_logits.numpy()

    return Network(run, prepare=torch.from_numpy)
