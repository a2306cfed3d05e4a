"""Images as users hold them, PIL, NumPy or TensorFlow, one, many or batched, as arrays (C, H, W).

Source: the PIL backend of transformers 5's image processors, whose results these equal.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

CHANNELS = (1, 3, 4)


def as_list(images: Any, rank: int, what: str) -> list[Any]:
    """The images one by one.

    Args:
        images: One image, a batch of them along a first axis, or a list of either (also of lists).
        rank: Axes of one image: 3, or 2 for label maps. PIL images have no axes and count as one image.
        what: Names them in errors.

    Raises:
        ValueError: something is no image, or there is none.
    """
    if isinstance(images, list | tuple):
        flat = [image for part in images for image in as_list(part, rank, what)]
        if not flat:
            raise ValueError(f"{what} is empty; expected at least one image.")
        return flat
    if isinstance(images, Image.Image):
        return [images]
    array = _as_array(images, what)
    if array.ndim == rank:
        return [array]
    if array.ndim == rank + 1:
        return list(array)
    if rank == 3 and array.ndim == 2:
        return [array]  # gray; only conversion to RGB makes it an image of this model
    raise ValueError(
        f"{what} holds an array of shape {array.shape}; expected {rank} axes for one image, or {rank + 1} "
        "for a batch."
    )


def channels_first(image: Any, *, convert_rgb: bool, input_data_format: str | None, what: str) -> np.ndarray:
    """An image as (C, H, W), its levels as they are.

    Args:
        image: A PIL image, or an array (H, W), (C, H, W) or (H, W, C).
        convert_rgb: Make it RGB, on white where it is transparent.
        input_data_format: `"channels_first"`, `"channels_last"`, or None to tell by the number of channels
            (1, 3 or 4; first if both ends could be it, as in the reference).
        what: Names it in errors.
    """
    if isinstance(image, Image.Image):
        array = np.array(_rgb_on_white(image) if convert_rgb else image)
        return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if image.ndim == 2:
        array = image[None]
    elif (input_data_format or _data_format(image, what)) == "channels_last":
        array = np.moveaxis(image, -1, 0)
    else:
        array = image
    return _rgb_array(array, what) if convert_rgb else array


def _as_array(image: Any, what: str) -> np.ndarray:
    if tf.is_tensor(image) and not hasattr(image, "numpy"):
        raise ValueError(
            f"{what} holds a tensor of a graph, whose values are not there yet. Inside tf.function and "
            "tf.data, use tf_segformer.preprocessing.preprocess, which computes the same in TensorFlow."
        )
    if isinstance(image, str | bytes) or not hasattr(image, "__array__"):
        raise ValueError(
            f"{what} holds a {type(image).__name__}; expected PIL images, NumPy arrays or tensors. Open "
            "files with PIL.Image.open(path).convert('RGB')."
        )
    return np.asarray(image)


def _data_format(image: np.ndarray, what: str) -> str:
    if image.shape[0] in CHANNELS:
        return "channels_first"
    if image.shape[-1] in CHANNELS:
        return "channels_last"
    raise ValueError(
        f"{what} has shape {image.shape}, of which neither the first nor the last axis is 1, 3 or 4 "
        "channels. Pass input_data_format='channels_first' or 'channels_last'."
    )


def _rgb_on_white(image: Image.Image) -> Image.Image:
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _rgb_array(image: np.ndarray, what: str) -> np.ndarray:
    """(1 or 3 or 4, H, W) as (3, H, W), in the same dtype."""
    if image.shape[0] == 1:
        return np.repeat(image, 3, axis=0)
    if image.shape[0] != 4:
        return image
    opaque: float = 255 if np.issubdtype(image.dtype, np.integer) else 1.0
    if opaque == 1.0 and (image.min() < 0 or image.max() > 1):
        raise ValueError(
            f"{what} is a floating RGBA image with values from {image.min()} to {image.max()}; expected 0 to "
            "1. Pass 8-bit levels, or convert it to RGB yourself."
        )
    alpha = image[3:] / opaque
    color = alpha * image[:3] + (1 - alpha) * opaque
    return (np.round(color) if opaque == 255 else color).astype(image.dtype)
