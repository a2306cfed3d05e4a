"""Some steps of training the reference, without its random draws: the loss of each."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from torch_ref.reference import Reference

OPTIMIZERS = ("sgd", "adamw")


def training_losses(
    reference: Reference,
    batches: Iterable[tuple[np.ndarray, np.ndarray]],
    optimizer: str,
    learning_rate: float,
) -> list[float]:
    """Train on batches, one step each, in training mode but for dropout and stochastic depth.

    The reference is changed: its weights are those after the last step.

    Args:
        reference: A segmentation or classification model.
        batches: Pixel values (B, C, H, W) and labels, as `torch_ref.training.training_step` takes them.
        optimizer: `"sgd"` (no momentum, no decay) or `"adamw"` (`torch.optim.AdamW`'s defaults, so a weight
            decay of 0.01 on every parameter).
        learning_rate: Of every step.

    Returns:
        The loss of each batch before its step.
    """
    model = reference.model
    dtype = next(model.parameters()).dtype
    makers = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    if optimizer not in makers:
        raise ValueError(f"optimizer is {optimizer!r}; expected one of {', '.join(OPTIMIZERS)}")
    rule = makers[optimizer](model.parameters(), lr=learning_rate)
    losses = []
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()  # batch statistics; all other modules stay in evaluation mode
    try:
        for pixel_values, labels in batches:
            model.zero_grad()
            loss = model(torch.tensor(pixel_values, dtype=dtype), labels=torch.tensor(labels).long()).loss
            loss.backward()
            rule.step()
            losses.append(loss.item())
    finally:
        model.eval()
        model.zero_grad()
    return losses
