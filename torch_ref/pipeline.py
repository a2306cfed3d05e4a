"""Image file → pixels, and logits → label map at the image's own size, by the PIL processor.

Axes: H, W are the processed size, h, w the logits' size (H/4, W/4), K the number of classes.
"""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import SegformerImageProcessorPil

from torch_ref.errors import CheckpointError, ImageError

ImageSource = str | Path | bytes | Image.Image


def load_processor(folder: str | Path) -> SegformerImageProcessorPil:
    """Loads a checkpoint's `preprocessor_config.json` into transformers' PIL image processor.

    The class is named outright, because transformers 5 picks a torchvision processor wherever
    torchvision is installed, and its pixels differ. Published files say `reduce_labels` where
    transformers now reads only `do_reduce_labels`: the old spelling is honoured unless the new one
    is there too.

    Args:
        folder: A checkpoint folder or a hub id.

    Raises:
        CheckpointError: The file is missing or is not valid JSON.
    """
    try:
        written, _ = SegformerImageProcessorPil.get_image_processor_dict(str(folder))
        overrides: dict[str, Any] = {}
        if "reduce_labels" in written and "do_reduce_labels" not in written:
            overrides["do_reduce_labels"] = bool(written["reduce_labels"])
        return SegformerImageProcessorPil.from_pretrained(str(folder), **overrides)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"No usable preprocessor_config.json in {str(folder)!r} ({error}). Images cannot be "
            "preprocessed without it: copy it from the published checkpoint, or pass pixel values "
            "to Reference.forward yourself."
        ) from error


def decode_image(image: ImageSource) -> Image.Image:
    """Decodes an image as the reference's users do: `Image.open(file).convert("RGB")`.

    EXIF orientation is not applied, because neither Pillow's `open` nor transformers applies it.

    Args:
        image: A path, the encoded bytes, or an already decoded Pillow image.

    Raises:
        ImageError: The file is missing, empty, truncated, or not an image.
    """
    if isinstance(image, Image.Image):
        name = "the Pillow image"
    elif isinstance(image, bytes):
        name = f"{len(image)} image bytes"
    elif isinstance(image, str | Path):
        name = repr(str(image))
        if not Path(image).is_file():
            raise ImageError(f"No image file at {name}: give the path of a JPEG or PNG file.")
    else:
        raise TypeError(f"An image must be a path, bytes or a Pillow image, not {type(image).__name__}.")
    try:
        if isinstance(image, Image.Image):
            return image.convert("RGB")
        with Image.open(io.BytesIO(image) if isinstance(image, bytes) else image) as opened:
            return opened.convert("RGB")
    except Exception as error:  # Pillow's decoders raise a dozen types on untrusted bytes
        raise ImageError(
            f"Cannot decode {name} ({type(error).__name__}: {error}). It is empty, truncated or "
            "not an image: give a complete JPEG or PNG file."
        ) from error


def preprocess(
    image: ImageSource,
    processor: SegformerImageProcessorPil,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """Turns an image into pixel values with `processor`: resize, rescale, normalise.

    Args:
        image: A path, bytes or a Pillow image.
        processor: The checkpoint's processor.
        size: (height, width) to resize to instead of the processor's own.

    Returns:
        float32 (1, 3, H, W), channels first.
    """
    options: dict[str, Any] = {} if size is None else {"size": {"height": size[0], "width": size[1]}}
    pixels = processor(images=decode_image(image), return_tensors="np", **options)
    return pixels["pixel_values"].astype(np.float32, copy=False)


def label_map(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes one image's logits (bilinear, half-pixel centres) and takes the best class per pixel.

    This is transformers' `SegformerImageProcessorPil.post_process_semantic_segmentation`.

    Args:
        logits: (1, K, h, w) or (K, h, w), float32 or float64.
        size: (height, width) of the label map, in pixels.

    Returns:
        int64 (height, width), each value in [0, K).
    """
    batch = logits[None] if logits.ndim == 3 else logits
    if batch.ndim != 4 or len(batch) != 1:
        raise ValueError(
            f"label_map takes the logits of one image, (1, K, h, w) or (K, h, w); got shape "
            f"{logits.shape}. Call it once per image: each may have its own size."
        )
    outputs = SimpleNamespace(logits=torch.from_numpy(np.ascontiguousarray(batch)))
    processor = SegformerImageProcessorPil()
    return processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0].numpy()


def top_two_margins(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """By how much each pixel's best class leads the second, in logits resized as for the label map.

    Args:
        logits: (1, K, h, w), float32 or float64, K at least 2.
        size: (height, width) in pixels.

    Returns:
        (height, width), the logits' dtype.
    """
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(logits)), size=size, mode="bilinear", align_corners=False
    )
    best = resized[0].topk(2, dim=0).values
    return (best[0] - best[1]).numpy()


def save_label_map(labels: np.ndarray, path: str | Path) -> None:
    """Writes a label map as a gray PNG: 8 bits a pixel up to label 255, else 16 bits.

    Raises:
        ValueError: A label is negative or above 65535.
    """
    if labels.min() < 0 or labels.max() > 65535:
        raise ValueError(f"A PNG label map holds labels 0 to 65535; got {labels.min()} to {labels.max()}.")
    dtype = np.uint8 if labels.max() <= 255 else np.uint16
    Image.fromarray(labels.astype(dtype)).save(path, format="PNG")
