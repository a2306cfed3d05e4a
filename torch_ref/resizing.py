"""The resizing policies beyond the checkpoint's own, with Pillow and PyTorch: evidence for the port's.

Nothing here knows a default: every option is given, as the port's `Resizing.completed(...).to_dict()`
writes them. A scale is a `Fraction`, so sizes are exact.

Axes: H, W are the processed size, K the number of classes, P, Q a window's size.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import torch
from transformers import SegformerImageProcessorPil

from torch_ref.pipeline import ImageSource, decode_image, preprocess

LOGIT_STRIDE = 4  # pixels per logit


def target_size(
    height: int,
    width: int,
    *,
    short_side: int,
    long_side: int,
    multiple: int,
    window: Sequence[int] | None = None,
    **_: Any,
) -> tuple[int, int]:
    """The size that an image is resized to, its aspect ratio kept.

    Args:
        height: The image's height in pixels.
        width: Its width.
        short_side: What the shorter side is scaled to; 0: the image is not scaled.
        long_side: What the longer side may not exceed by scaling.
        multiple: Both sides are rounded up to a multiple of it, after rounding half up.
        window: (height, width) that must fit into the result; None: the image is not cut.
        **_: The other entries of the options, which have no influence.

    Returns:
        (height, width) in pixels.
    """
    at_most = Fraction(long_side, max(height, width))
    at_least = max(Fraction(window[0], height), Fraction(window[1], width)) if window else Fraction(0)
    if short_side == 0:
        scale = max(Fraction(1), min(at_least, at_most))
    else:
        scale = min(max(Fraction(short_side, min(height, width)), at_least), at_most)

    def scaled(side: int, smallest: int) -> int:
        return multiple * ceil(Fraction(max(floor(side * scale + Fraction(1, 2)), smallest), multiple))

    smallest = window or (1, 1)
    return scaled(height, smallest[0]), scaled(width, smallest[1])


def preprocess_by(
    image: ImageSource, processor: SegformerImageProcessorPil, policy: str = "checkpoint", **options: Any
) -> np.ndarray:
    """Turns an image into pixel values by a policy.

    Args:
        image: A path, bytes or a Pillow image.
        processor: The checkpoint's processor.
        policy: "checkpoint", "keep-ratio" or "sliding-window".
        **options: All of the policy's options.

    Returns:
        float32 (1, 3, H, W), channels first.
    """
    if policy == "checkpoint":
        return preprocess(image, processor)
    decoded = decode_image(image)
    height, width = target_size(decoded.height, decoded.width, **options)
    pixels = processor(
        images=decoded, return_tensors="np", do_resize=True, size={"height": height, "width": width}
    )
    return pixels["pixel_values"].astype(np.float32, copy=False)


def logits_by(
    pixel_values: np.ndarray,
    forward: Callable[[np.ndarray], np.ndarray],
    policy: str = "checkpoint",
    *,
    window: Sequence[int] = (),
    stride: Sequence[int] = (),
    **_: Any,
) -> np.ndarray:
    """Runs the network on an image's pixel values, whole or window by window.

    Overlapping windows' logits are summed on the image's grid of logits and divided by how many
    windows there are at each.

    Args:
        pixel_values: float32 (1, 3, H, W).
        forward: (1, 3, H, W) to logits (1, K, H/4, W/4).
        policy: "checkpoint", "keep-ratio" or "sliding-window".
        window: (P, Q) in pixels.
        stride: Vertical and horizontal distance of windows in pixels.
        **_: The other entries of the options, which have no influence.

    Returns:
        (1, K, ceil(H/4), ceil(W/4)), the forward function's dtype.
    """
    if policy != "sliding-window":
        return forward(pixel_values)
    size = pixel_values.shape[2:]
    total: torch.Tensor | None = None
    for top in _starts(size[0], window[0], stride[0]):
        for left in _starts(size[1], window[1], stride[1]):
            part = pixel_values[:, :, top : top + window[0], left : left + window[1]]
            logits = torch.from_numpy(forward(np.ascontiguousarray(part)))
            if total is None:
                grid = [side // LOGIT_STRIDE for side in size]
                total = torch.zeros((1, logits.shape[1], *grid), dtype=logits.dtype)
                count = torch.zeros(grid, dtype=logits.dtype)
            y, x = top // LOGIT_STRIDE, left // LOGIT_STRIDE
            covered = slice(y, y + logits.shape[2]), slice(x, x + logits.shape[3])
            total[(..., *covered)] += logits
            count[covered] += 1
    assert total is not None
    return (total / count).numpy()


def _starts(size: int, window: int, stride: int) -> list[int]:
    """Every stride while the window ends inside, and where it ends with the image."""
    return [*range(0, size - window, stride), size - window]
