"""One training step of the reference without its random draws: loss, gradients, batch-norm statistics."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from torch_ref.reference import Reference
from torch_ref.taps import published_keys


@dataclass(frozen=True)
class TrainingStep:
    """What one step computed, in the reference's dtype, by the published checkpoints' keys.

    Attributes:
        loss: The model's own loss of the batch.
        gradients: Of the loss, one for each trainable parameter, in PyTorch's layout.
        statistics: Every `running_mean` and `running_var` after the step.
    """

    loss: float
    gradients: dict[str, np.ndarray]
    statistics: dict[str, np.ndarray]


def training_step(reference: Reference, pixel_values: np.ndarray, labels: np.ndarray) -> TrainingStep:
    """Runs forward and backward in training mode, except that dropout and stochastic depth draw nothing.

    The weights stay as they are, and so do the batch-norm statistics of `reference`.

    Args:
        reference: A segmentation or classification model.
        pixel_values: (B, C, H, W), any float type; converted to the reference's dtype.
        labels: (B, height, width) class ids, or (B,) of a classifier; integers.
    """
    model = reference.model
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    dtype = next(model.parameters()).dtype
    try:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()  # batch statistics; all other modules stay in evaluation mode
        model.zero_grad()
        outputs = model(torch.tensor(pixel_values, dtype=dtype), labels=torch.tensor(labels).long())
        outputs.loss.backward()
        named = published_keys(model)
        return TrainingStep(
            loss=outputs.loss.item(),
            gradients={
                named[name]: parameter.grad.numpy().copy()
                for name, parameter in model.named_parameters()
                if parameter.grad is not None
            },
            statistics={
                named[name]: buffer.numpy().copy()
                for name, buffer in model.named_buffers()
                if name.endswith(("running_mean", "running_var"))
            },
        )
    finally:
        model.eval()
        model.zero_grad()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(before[name])
