"""The steps from an image's levels to pixel values, and from a label map to labels, by Pillow and NumPy.

Source: `SegformerImageProcessorPil` of transformers 5. Each step is its operation, in its dtype, so that the
results are equal bit for bit. `preprocessing.py` computes the same in TensorFlow.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from tf_segformer.image_inputs import CHANNELS
from tf_segformer.preprocessing import ImageProcessing, output_size

Settings = Mapping[str, Any]


def size_dict(size: Any) -> dict[str, int]:
    """Any form of a size as the dict of it.

    Raises:
        ValueError: it is none.
    """
    return ImageProcessing.from_dict({"size": size}).to_dict()["size"]


def check_settings(settings: Settings) -> None:
    """Refuse settings that no image could be prepared with.

    Raises:
        ValueError: naming the setting, its value and what was expected.
    """
    ImageProcessing.from_dict({"resample": settings["resample"]})
    if not np.all(settings["image_std"]):
        raise ValueError(f"image_std is {settings['image_std']!r}, expected no zero: it is a divisor.")


def pixel_values_of(image: np.ndarray, settings: Settings, what: str) -> np.ndarray:
    """An image's pixel values: float32, or its own dtype where nothing is computed.

    Args:
        image: (C, H, W).
        settings: The image processor's.
        what: Names the image in errors.

    Raises:
        ValueError: the number of channels or the range of the levels does not fit.
    """
    if settings["do_normalize"]:
        _check_channels(image, settings, what)
    if settings["do_resize"]:
        image = _resize(image, *_target(image, settings), settings["resample"], what)
    if settings["do_rescale"]:
        image = (image.astype(np.float64) * settings["rescale_factor"]).astype(np.float32)
    if settings["do_normalize"]:
        if not np.issubdtype(image.dtype, np.floating):
            image = image.astype(np.float32)
        mean, std = (
            np.broadcast_to(np.asarray(settings[name], image.dtype), len(image))[:, None, None]
            for name in ("image_mean", "image_std")
        )
        image = (image - mean) / std
    return image


def labels_of(label_map: Any, settings: Settings, what: str) -> np.ndarray:
    """A label map's labels, int64 (H, W).

    Args:
        label_map: A PIL image or an array, (h, w) of class ids.
        settings: The image processor's.
        what: Names the label map in errors.

    Raises:
        ValueError: it has another shape, or ids outside 0…255 and is to be resized.
    """
    labels = np.array(label_map)
    if labels.ndim != 2:
        raise ValueError(
            f"{what} has shape {labels.shape}; expected (height, width), one class id per pixel. Turn "
            "colours into class ids first."
        )
    if settings["do_reduce_labels"]:
        # 0 means no class there, and 255 is ignored already
        labels = labels.astype(np.int64)
        labels = np.where((labels == 0) | (labels == 255), 255, labels - 1)
    if settings["do_resize"]:
        target = _target(labels[None], settings)
        labels = _resize(labels[None], *target, Image.Resampling.NEAREST, what)[0]
    return labels.astype(np.int64)


def _target(image: np.ndarray, settings: Settings) -> tuple[int, int]:
    """The height and width that an image (C, H, W) is resized to."""
    processing = ImageProcessing.from_dict({"size": settings["size"]})
    _, height, width = image.shape
    height, width = output_size(tf.constant(height), tf.constant(width), processing)
    return int(height), int(width)


def _check_channels(image: np.ndarray, settings: Settings, what: str) -> None:
    """Refuse an image with more or fewer channels than there are means and deviations."""
    for name in ("image_mean", "image_std"):
        values = settings[name]
        if not isinstance(values, int | float) and len(values) != len(image):
            raise ValueError(
                f"{what} has {len(image)} channels, and {name} has {len(values)} entries. If it is a "
                "grayscale, palette or transparent image, pass do_convert_rgb=True or convert it with "
                "image.convert('RGB')."
            )


def _resize(image: np.ndarray, height: int, width: int, resample: int, what: str) -> np.ndarray:
    """Resize (C, H, W) with Pillow, as 8-bit levels.

    Floating images between 0 and 1 become levels 0…255 for it (rounded down, as in the reference) and are
    scaled back; whole numbers must be levels.

    Raises:
        ValueError: levels lie outside 0…255 or fractions outside 0…1, or Pillow has no such image.
    """
    fractions = _are_fractions(image, what)
    levels = (image.astype(np.float64) * 255).astype(np.float32) if fractions else image
    pixels = np.moveaxis(levels.astype(np.uint8), 0, -1)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    elif pixels.shape[-1] not in CHANNELS:
        raise ValueError(
            f"{what} has {pixels.shape[-1]} channels, and Pillow resizes images of 1, 3 or 4. Resize it "
            "yourself and pass do_resize=False."
        )
    resized = np.array(Image.fromarray(pixels).resize((width, height), resample=Image.Resampling(resample)))
    resized = resized[None] if resized.ndim == 2 else np.moveaxis(resized, -1, 0)
    return (resized.astype(np.float64) * (1 / 255)).astype(np.float32) if fractions else resized


def _are_fractions(image: np.ndarray, what: str) -> bool:
    """Whether levels are given as fractions 0…1 rather than as whole numbers 0…255."""
    if image.dtype == np.uint8:
        return False
    low, high = image.min(), image.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(
            f"{what} holds NaN or infinite values; expected levels 0 to 255 or fractions 0 to 1."
        )
    whole = np.allclose(image, image.astype(np.int64))
    if low < 0 or high > (255 if whole else 1):
        raise ValueError(
            f"{what} has values from {low} to {high}, which cannot be resized as 8-bit levels; expected "
            "whole numbers 0 to 255 or fractions 0 to 1. If it is resized and normalised already, pass "
            "do_resize=False, do_rescale=False and do_normalize=False."
        )
    return not whole


def stacked(arrays: Sequence[np.ndarray], what: str) -> np.ndarray:
    """One array of all.

    Raises:
        ValueError: their shapes differ.
    """
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"{what} have different shapes, {shapes[:4]}, and cannot be one tensor. Resize them "
            "(do_resize=True with a height and a width), or leave return_tensors out."
        )
    return np.stack(arrays)
