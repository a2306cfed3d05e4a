"""From a photograph's bytes to its label map, with a model in this process."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_segformer.configuration import ConfigError
from tf_segformer.hub import find_file
from tf_segformer.labels import LabelSet, label_set_for
from tf_segformer.modeling import TFSegformerForSemanticSegmentation
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess
from tf_segformer.weights import CheckpointError

PROCESSING_FILES = ("processor_config.json", "preprocessor_config.json")


@dataclass(frozen=True)
class Segmentation:
    """A photograph and its label map.

    Attributes:
        pixels: uint8 (H, W, 3), RGB.
        labels: int32 (H, W), one class id per pixel.
    """

    pixels: np.ndarray
    labels: np.ndarray


class Segmenter:
    """A checkpoint with its preprocessing and label names, ready for image files.

    Args:
        name_or_path: A checkpoint folder or a Hub id.
        from_pt: As in `from_pretrained`.

    Raises:
        CheckpointError: the checkpoint cannot be loaded, or has no preprocessing config.
    """

    def __init__(self, name_or_path: str | os.PathLike, from_pt: bool | None = None) -> None:
        self.model = TFSegformerForSemanticSegmentation.from_pretrained(
            name_or_path, from_pt=from_pt, data_format="channels_last"
        )
        self.processing = load_image_processing(name_or_path)
        self.label_set: LabelSet = label_set_for(self.model.config)

    def __call__(self, image_bytes: bytes) -> Segmentation:
        """Segment one image file's bytes, as the reference's pipeline does.

        Raises:
            ValueError: the bytes are not an image that can be decoded.
        """
        try:
            pixels = decode_image(tf.constant(image_bytes))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(
                f"{len(image_bytes)} bytes could not be decoded as an image: {error.message}"
            ) from error
        pixel_values = preprocess(pixels, self.processing)[tf.newaxis]
        logits = self.model(pixel_values).logits[0]
        height, width, _ = pixels.shape
        return Segmentation(pixels.numpy(), label_map(logits, height, width).numpy())


def load_image_processing(name_or_path: str | os.PathLike) -> ImageProcessing:
    """The preprocessing that a checkpoint folder or Hub id names in its config files.

    Raises:
        CheckpointError: there is no such file.
        ConfigError: an entry cannot be used.
    """
    folder = find_processing_folder(name_or_path)
    try:
        return ImageProcessing.from_pretrained(folder)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def find_processing_folder(name_or_path: str | os.PathLike, **hub_arguments: Any) -> Path:
    """The folder with a checkpoint's preprocessing files, fetched from the Hub into its cache if need be.

    Raises:
        CheckpointError: there is no such file.
    """
    found = [path for name in PROCESSING_FILES if (path := find_file(name_or_path, name, **hub_arguments))]
    if not found:
        raise CheckpointError(
            f"{name_or_path} holds no preprocessor_config.json, so how to prepare images for it is unknown. "
            "Fetch the file from where the checkpoint was published, or write the default one: "
            "ImageProcessing().save_pretrained(folder)."
        )
    return Path(found[0]).parent
