"""A checkpoint's preprocessing: pixels → `pixel_values`, in plain TensorFlow ops.

Source: `SegformerImageProcessorPil` of transformers 5; `pixel_values` are equal to its own bit for
bit.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from tf_segformer import resampling
from tf_segformer.image_decoding import decode_image

__all__ = ["ImageProcessing", "decode_image", "normalize", "output_size", "preprocess"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ImageProcessing:
    """A checkpoint's `preprocessor_config.json`; the defaults are the reference processor's.

    Attributes:
        do_resize: whether images are resized.
        height: target height in pixels, unless `shortest_edge` is given.
        width: target width in pixels, unless `shortest_edge` is given.
        shortest_edge: if given, images keep their aspect ratio and their shorter edge gets this
            length in pixels.
        longest_edge: with `shortest_edge`, the limit of the longer edge in pixels.
        resample: the filter, a `PIL.Image.Resampling` number (2 is BILINEAR).
        do_rescale: whether levels 0…255 are multiplied by `rescale_factor`.
        rescale_factor: usually 1/255.
        do_normalize: whether `image_mean` is subtracted and the result divided by `image_std`.
        image_mean: per channel (R, G, B), in units of rescaled levels.
        image_std: per channel (R, G, B), in units of rescaled levels.
        do_reduce_labels: whether a label map's 0 becomes 255 (ignored) and other labels move down
            by one.
    """

    do_resize: bool = True
    height: int = 512
    width: int = 512
    shortest_edge: int | None = None
    longest_edge: int | None = None
    resample: int = resampling.BILINEAR
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, float, float] = IMAGENET_MEAN
    image_std: tuple[float, float, float] = IMAGENET_STD
    do_reduce_labels: bool = False

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """Read the preprocessing of a checkpoint folder.

        Args:
            folder: a local folder with `preprocessor_config.json`, or with a
                `processor_config.json` that holds an `image_processor` entry (which then wins, as
                in transformers 5).

        Raises:
            FileNotFoundError: there is neither of the two files.
            ValueError: the file is not JSON, or an entry cannot be used.
        """
        return cls.from_dict(read_processing_config(folder))

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> Self:
        """Read the entries of a `preprocessor_config.json`, in the old spelling or the new one.

        A missing or null entry takes the reference's default. `reduce_labels` is the old spelling
        of `do_reduce_labels`; where both are there, the new one wins. `size` is an int (old style:
        a square, or the shorter edge where `default_to_square` is false), `[height, width]`,
        `{"height", "width"}` or `{"shortest_edge"}` with or without `"longest_edge"`.

        Raises:
            ValueError: an entry has no usable value.
        """
        values: dict[str, Any] = {}
        for name in ("do_resize", "do_rescale", "do_normalize"):
            if config.get(name) is not None:
                values[name] = bool(config[name])
        for name in ("reduce_labels", "do_reduce_labels"):
            if config.get(name) is not None:
                values["do_reduce_labels"] = bool(config[name])
        if config.get("rescale_factor") is not None:
            values["rescale_factor"] = float(config["rescale_factor"])
        if config.get("resample") is not None:
            values["resample"] = _resample(config["resample"])
        for name in ("image_mean", "image_std"):
            if config.get(name) is not None:
                values[name] = _per_channel(name, config[name])
        if 0.0 in values.get("image_std", ()):
            raise ValueError(f"image_std is {config['image_std']!r}, expected no zero: it is a divisor.")
        if config.get("size") is not None:
            to_square = config.get("default_to_square")
            values |= _size(config["size"], square=True if to_square is None else bool(to_square))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the entries of a `preprocessor_config.json` as transformers 5 writes it."""
        size = {"height": self.height, "width": self.width}
        if self.shortest_edge is not None:
            size = {"shortest_edge": self.shortest_edge}
            if self.longest_edge is not None:
                size["longest_edge"] = self.longest_edge
        return {
            "image_processor_type": "SegformerImageProcessor",
            "do_resize": self.do_resize,
            "size": size,
            "resample": self.resample,
            "do_rescale": self.do_rescale,
            "rescale_factor": self.rescale_factor,
            "do_normalize": self.do_normalize,
            "image_mean": list(self.image_mean),
            "image_std": list(self.image_std),
            "do_reduce_labels": self.do_reduce_labels,
        }

    def save_pretrained(self, folder: str | os.PathLike[str]) -> Path:
        """Write `preprocessor_config.json` into the folder and return its path."""
        path = Path(folder) / "preprocessor_config.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n")
        return path


def read_processing_config(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the entries of a folder's preprocessing file; see `ImageProcessing.from_pretrained`."""
    nested, plain = (Path(folder) / name for name in ("processor_config.json", "preprocessor_config.json"))
    if nested.is_file() and "image_processor" in (config := _read_json(nested)):
        return config["image_processor"]
    if not plain.is_file():
        raise FileNotFoundError(
            f"{plain} does not exist, so the checkpoint's preprocessing is unknown. Copy the "
            "file from where the checkpoint was published, or write the default one: "
            f"ImageProcessing().save_pretrained({str(folder)!r})."
        )
    return _read_json(plain)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}). Fetch the file again.") from error
    if not isinstance(config, dict):
        raise ValueError(f"{path} holds a {type(config).__name__}, expected a JSON object of settings.")
    return config


def _resample(value: Any) -> int:
    if value not in range(6):
        raise ValueError(
            f"resample is {value!r}, expected a PIL.Image.Resampling number from 0 to 5 "
            "(NEAREST, LANCZOS, BILINEAR, BICUBIC, BOX, HAMMING)."
        )
    return int(value)


def _per_channel(name: str, value: float | Sequence[float]) -> tuple[float, ...]:
    values = (value,) * 3 if isinstance(value, int | float) else tuple(value)
    if len(values) != 3:
        raise ValueError(
            f"{name} has {len(values)} entries, expected one number or three (R, G, B): {value!r}."
        )
    return tuple(float(v) for v in values)


def _size(size: Any, *, square: bool) -> dict[str, int]:
    if isinstance(size, int) and not isinstance(size, bool):
        size = {"height": size, "width": size} if square else {"shortest_edge": size}
    elif isinstance(size, list | tuple) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    if not isinstance(size, Mapping) or set(size) not in (
        {"height", "width"},
        {"shortest_edge"},
        {"shortest_edge", "longest_edge"},
    ):
        raise ValueError(
            f"size is {size!r}; expected an int, [height, width], "
            '{"height": …, "width": …} or {"shortest_edge": …} with or without "longest_edge".'
        )
    for name, value in size.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"size[{name!r}] is {value!r}, expected a positive whole number of pixels.")
    return dict(size)


def output_size(
    height: tf.Tensor, width: tf.Tensor, processing: ImageProcessing, *, check: bool = True
) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Return the size (height, width) in pixels to which an image of this size is resized.

    Source: `PilBackend.resize` of transformers 5.

    Raises:
        tf.errors.InvalidArgumentError: the image is so narrow that a side would be 0. Not if `check` is
            false: the size then has a 0.
    """
    if not processing.do_resize:
        return height, width
    if processing.shortest_edge is None:
        return processing.height, processing.width
    h, w = tf.cast(height, tf.int64), tf.cast(width, tf.int64)
    edge = tf.constant(processing.shortest_edge, tf.int64)
    if processing.longest_edge is None:
        h, w = tf.where(w <= h, edge * h // w, edge), tf.where(w <= h, edge, edge * w // h)
        return tuple(tf.unstack(tf.cast(tf.minimum(tf.stack([h, w]), tf.int32.max), tf.int32)))
    sides = tf.cast(_within_longest_edge(h, w, edge, processing.longest_edge), tf.int32)
    if not check:
        return tuple(tf.unstack(sides))
    # The reference's Pillow refuses an empty size with a ValueError.
    message = f"The image is too narrow: its shorter side, in proportion to {processing.longest_edge}, is 0."
    with tf.control_dependencies([tf.debugging.assert_positive(sides, message)]):
        return tuple(tf.unstack(tf.identity(sides)))


def _within_longest_edge(h: tf.Tensor, w: tf.Tensor, edge: tf.Tensor, longest: int) -> tf.Tensor:
    """Return int64 [height, width], found by the reference's float64 operations in their order."""
    short, long = tf.cast(tf.minimum(h, w), tf.float64), tf.cast(tf.maximum(h, w), tf.float64)
    exceeds = long / short * tf.cast(edge, tf.float64) > longest
    raw = tf.where(exceeds, longest * short / long, tf.cast(edge, tf.float64))
    edge = tf.cast(tf.round(raw), tf.int64)  # half to even, as Python's
    other = tf.cast(raw * long / short, tf.int64)
    resized = tf.where(w < h, tf.stack([other, edge]), tf.stack([edge, other]))
    return tf.where(tf.minimum(h, w) == edge, tf.stack([h, w]), resized)


def normalize(pixels: tf.Tensor, processing: ImageProcessing) -> tf.Tensor:
    """Rescale and normalise levels as the reference does, bit for bit.

    The reference takes a float64 product, rounded to float32, then float32 difference and quotient. So
    does this, but for a product that a float32 quotient equals at every level, as it does for 1/255.
    (A table of the 256 levels takes three times as long.)

    Args:
        pixels: uint8 [..., w, 3].
        processing: the checkpoint's preprocessing.

    Returns:
        float32 [..., w, 3].
    """
    shape = tf.shape(pixels)
    values = tf.reshape(pixels, [-1, 3 * shape[-2]])  # whole rows: channels are too short for SIMD
    divisor = _exact_divisor(processing.rescale_factor)
    if not processing.do_rescale:
        values = tf.cast(values, tf.float32)
    elif divisor is not None:
        values = tf.math.divide_no_nan(tf.cast(values, tf.float32), divisor)
    else:
        values = tf.cast(tf.cast(values, tf.float64) * processing.rescale_factor, tf.float32)
    if processing.do_normalize:
        mean, std = (
            tf.tile(tf.constant(per_channel, tf.float32), shape[-2:-1])
            for per_channel in (processing.image_mean, processing.image_std)
        )
        # A graph's optimizer makes a division by constants a product with their rounded
        # reciprocals, but leaves this op alone; it differs where std is 0 (0, not infinite).
        values = tf.math.divide_no_nan(values - mean, std)
    return tf.ensure_shape(tf.reshape(values, shape), pixels.shape)


def _exact_divisor(rescale_factor: float) -> np.float32 | None:
    """The float32 number by which to divide every level for its product with the factor, rounded."""
    if not 1e-30 < abs(rescale_factor) < 1e30:  # TensorFlow may flush what float32 holds with fewer bits
        return None
    levels = np.arange(256)
    divisor = np.float32(1 / rescale_factor)
    exact = np.array_equal(levels.astype(np.float32) / divisor, (levels * rescale_factor).astype(np.float32))
    return divisor if exact else None


def preprocess(
    pixels: tf.Tensor,
    processing: ImageProcessing,
    *,
    pass_order: resampling.PassOrder = "pillow>=13",
) -> tf.Tensor:
    """Turn an image's pixels into the network's input, as the reference processor does.

    Args:
        pixels: uint8 [h, w, 3], RGB.
        processing: the checkpoint's preprocessing.
        pass_order: which Pillow the resizing follows, see `resampling.resize`.

    Returns:
        float32 [H, W, 3], `pixel_values` of one image with channels last, equal bit for bit.
    """
    if processing.do_resize:
        height, width = output_size(tf.shape(pixels)[0], tf.shape(pixels)[1], processing)
        pixels = resampling.resize(pixels, height, width, processing.resample, pass_order=pass_order)
    return normalize(pixels, processing)
