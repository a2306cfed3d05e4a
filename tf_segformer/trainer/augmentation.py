"""The paper's augmentations (arXiv 2105.15203, section 4.1), in the order of mmsegmentation's configs.

    resize by 0.5 to 2 ─► crop ─► flip ─► photometric distortion ─► normalise ─► pad

Every draw is stateless: the same key gives the same crop, whatever was drawn before. Only the crop is ever
resized, not the whole photograph.

Axis legend: h, w the photograph's height and width; H, W those of the resized one; S the crop's side.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from tf_segformer.datasets.reading import IGNORE_INDEX
from tf_segformer.preprocessing import ImageProcessing, normalize

# mmsegmentation's `RandomCrop`: how often another place is tried.
CROP_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """What is drawn for a training example; the defaults are the paper's for ADE20K.

    Attributes:
        crop: S, the side of the crop in pixels.
        short_side: The photograph is first scaled so that its shorter side has this many pixels, unless its
            longer one then has more than four times as many; None: as `crop`, the paper's 512.
        scales: The least and greatest factor by which that is scaled again, drawn uniformly.
        most_of_one_class: The greatest share of a crop's labelled pixels that one class may have, 0 to 1.
        flip: How often left and right are exchanged, 0 to 1.
        photometric: Whether brightness, contrast, saturation and hue are distorted.
    """

    crop: int = 512
    short_side: int | None = None
    scales: tuple[float, float] = (0.5, 2.0)
    most_of_one_class: float = 0.75
    flip: float = 0.5
    photometric: bool = True


def augment(
    image: tf.Tensor,
    labels: tf.Tensor,
    key: tf.Tensor,
    augmentation: Augmentation,
    processing: ImageProcessing,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make a training example.

    Args:
        image: uint8 (h, w, 3), RGB.
        labels: uint8 (h, w); `IGNORE_INDEX` is not labelled.
        key: int32 (2,), from which everything is drawn.
        augmentation: What is drawn.
        processing: The mean and deviation by which pixels are normalised.

    Returns:
        float32 (S, S, 3), normalised, and uint8 (S, S). Beyond the photograph's right and lower edge pixels
        are 0 (the mean) and labels `IGNORE_INDEX`.
    """
    keys = tf.unstack(tf.random.split(key, 4, alg="philox"))
    size = _resized_size(tf.shape(labels), keys[0], augmentation)
    corner = _corner(labels, size, keys[1], augmentation)
    side = augmentation.crop
    extent = tf.minimum(size, side)
    pixels = _resized_crop(image, size, corner, extent)
    labels = _labels_at(labels, size, corner, extent)
    mirrored = tf.random.stateless_uniform([], keys[2], alg="philox") < augmentation.flip
    pixels = tf.where(mirrored, pixels[:, ::-1], pixels)
    labels = tf.where(mirrored, labels[:, ::-1], labels)
    if augmentation.photometric:
        pixels = distort(pixels, keys[3])
    pixels = normalize(tf.cast(tf.round(pixels), tf.uint8), processing)
    after = side - extent
    pixels = tf.pad(pixels, [[0, after[0]], [0, after[1]], [0, 0]])
    labels = tf.pad(labels, [[0, after[0]], [0, after[1]]], constant_values=IGNORE_INDEX)
    return tf.ensure_shape(pixels, (side, side, 3)), tf.ensure_shape(labels, (side, side))


def distort(pixels: tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Mmsegmentation's `PhotoMetricDistortion`, each part drawn half of the time.

    Brightness by up to 32 levels; contrast by 0.5 to 1.5, before or after the rest; saturation by 0.5 to
    1.5; hue by up to a twentieth of the circle either way.

    Args:
        pixels: float32 (H, W, 3), levels 0 to 255.
        key: int32 (2,).

    Returns:
        The same, 0 to 255.
    """
    draws = tf.random.stateless_uniform([9], key, alg="philox")
    applied = draws[:5] < 0.5
    brightness = tf.where(applied[0], 64.0 * draws[5] - 32.0, 0.0)
    contrast = tf.where(applied[1], 0.5 + draws[6], 1.0)
    saturation = tf.where(applied[2], 0.5 + draws[7], 1.0)
    hue = tf.where(applied[3], 0.2 * draws[8] - 0.1, 0.0)
    first = applied[4]
    pixels = _clipped(pixels + brightness)
    pixels = _clipped(pixels * tf.where(first, contrast, 1.0))
    pixels = tf.cond(applied[2] | applied[3], lambda: _recoloured(pixels, saturation, hue), lambda: pixels)
    return _clipped(pixels * tf.where(first, 1.0, contrast))


def _recoloured(pixels: tf.Tensor, saturation: tf.Tensor, hue: tf.Tensor) -> tf.Tensor:
    h, s, v = tf.unstack(tf.image.rgb_to_hsv(pixels / 255.0), axis=-1)
    hsv = tf.stack([tf.math.floormod(h + hue, 1.0), tf.minimum(s * saturation, 1.0), v], axis=-1)
    return _clipped(tf.image.hsv_to_rgb(hsv) * 255.0)


def _clipped(pixels: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(pixels, 0.0, 255.0)


def _resized_size(size: tf.Tensor, key: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """The height and width to resize to, int32 (2,): keep-ratio as mmsegmentation's `Resize`."""
    short = float(augmentation.short_side or augmentation.crop)
    sides = tf.cast(size, tf.float32)
    scale = tf.minimum(short / tf.reduce_min(sides), 4.0 * short / tf.reduce_max(sides))
    scale *= tf.random.stateless_uniform([], key, *augmentation.scales, alg="philox")
    return tf.maximum(tf.cast(sides * scale + 0.5, tf.int32), 1)


def _corner(labels: tf.Tensor, size: tf.Tensor, key: tf.Tensor, augmentation: Augmentation) -> tf.Tensor:
    """The crop's upper left corner in the resized photograph, int32 (2,).

    Up to `CROP_TRIES` places are tried, until no class has too large a share; the last one stands.
    """
    extent = tf.minimum(size, augmentation.crop)
    draws = tf.random.stateless_uniform([CROP_TRIES, 2], key, alg="philox")
    corners = tf.cast(draws * tf.cast(size - extent + 1, tf.float32), tf.int32)
    corners = tf.minimum(corners, size - extent)  # a draw near 1 may round up

    def is_uniform(corner: tf.Tensor) -> tf.Tensor:
        crop = tf.cast(_labels_at(labels, size, corner, extent), tf.int32)
        counts = tf.math.bincount(tf.reshape(crop, [-1]), minlength=256, maxlength=256)[:IGNORE_INDEX]
        most, total = tf.reduce_max(counts), tf.reduce_sum(counts)
        return tf.cast(most, tf.float32) >= augmentation.most_of_one_class * tf.cast(total, tf.float32)

    def goes_on(index: tf.Tensor) -> tf.Tensor:
        return tf.cond(index < CROP_TRIES - 1, lambda: is_uniform(corners[index]), lambda: tf.constant(False))

    chosen = tf.while_loop(goes_on, lambda index: (index + 1,), (tf.constant(0),), parallel_iterations=1)
    return corners[chosen[0] if isinstance(chosen, list | tuple) else chosen]


def _labels_at(labels: tf.Tensor, size: tf.Tensor, corner: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
    """A crop of the labels resized by nearest neighbour, with half-pixel centres."""
    for axis in (0, 1):
        length = tf.cast(tf.shape(labels)[axis], tf.float32)
        places = tf.cast(tf.range(corner[axis], corner[axis] + extent[axis]), tf.float32)
        nearest = tf.cast((places + 0.5) * (length / tf.cast(size[axis], tf.float32)), tf.int32)
        labels = tf.gather(labels, tf.minimum(nearest, tf.shape(labels)[axis] - 1), axis=axis)
    return labels


def _resized_crop(image: tf.Tensor, size: tf.Tensor, corner: tf.Tensor, extent: tf.Tensor) -> tf.Tensor:
    """A crop of the photograph resized bilinearly, antialiased where it shrinks: float32, levels 0 to 255.

    mmsegmentation's bilinear filter is not antialiased; the processors that read the checkpoint's photographs
    later are (Pillow), so training sees what they will make.
    """
    scale = tf.cast(size, tf.float32) / tf.cast(tf.shape(image)[:2], tf.float32)
    (pixels,) = tf.unstack(
        tf.raw_ops.ScaleAndTranslate(
            images=image[tf.newaxis],
            size=extent,
            scale=scale,
            translation=-tf.cast(corner, tf.float32),
            kernel_type="triangle",
            antialias=True,
        ),
        num=1,
    )
    return _clipped(pixels)
