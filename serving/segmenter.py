"""From image files to logits, some images of one size at a time, or one by one.

    image_bytes ─► decode, resize (each file on its own) ─► normalise ─► network ─► logits

Axes: N batch; h w height and width of the logits, K classes.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from serving.graph import Tensors, graph_function
from serving.images import prepare_files, prepare_pixels
from serving.network import PIXELS_AT_A_TIME
from serving.options import ExportOptions
from tf_segformer.configuration import smallest_side
from tf_segformer.image_logits import resized_logits
from tf_segformer.preprocessing import ImageProcessing, normalize
from tf_segformer.resizing import LOGIT_STRIDE

PER_IMAGE = ("height", "width", "status_bytes")  # outputs of every signature that takes image files


class Segmenter:
    """Runs a network on image files.

    The network takes a batch as a whole if the export brings all images to one size, and to one so small
    that this is faster. Otherwise they go through the network one after the other, each on its way from
    pixels to what is drawn of it, so that a batch takes little more memory than an image. (Padding images
    of different shapes to one size would change their logits.)

    Attributes:
        of_one_size: whether the export brings all images to one size.
        batched: whether the network takes a batch as a whole.
        classes: K.
    """

    def __init__(
        self, network: Any, config: Any, processing: ImageProcessing, options: ExportOptions
    ) -> None:
        self.network = network
        self.processing = processing
        self.options = options
        self.classes = config.num_labels
        size = options.resizing.fixed_size(processing)
        self.of_one_size = size is not None
        self.batched = size is not None and 2 * size[0] * size[1] <= PIXELS_AT_A_TIME
        smallest = smallest_side(config)
        self._prepare = graph_function(
            lambda image_bytes: prepare_files(image_bytes, processing, options, smallest),
            tf.TensorSpec([None], tf.string),
        )

    def images(self, image_bytes: tf.Tensor, *, keep_decoded: bool = False) -> Tensors:
        """Return what `logits` and the drawing of pictures need of each file, first dimension N.

        That is, the values of ``PER_IMAGE``, ``readable`` bool, and either ``logits`` float32
        [N, h, w, K] or what they are computed from; with ``keep_decoded`` also what `images.upright`
        takes, which stays in memory while the network runs.
        """
        images = self._prepare(image_bytes)
        if not keep_decoded:
            del images["decoded"], images["place"], images["orientation"]
        if self.batched:
            images["logits"] = self._pixel_logits(images.pop("pixels"))
        return images

    def logits(self, image: Tensors) -> tf.Tensor:
        """Return the logits [h, w, K] of one image, a slice of what `images` returned."""
        if self.batched:
            return image["logits"]
        pixels = image["pixels"][: image["network_height"], : image["network_width"]]
        return self._logits_of(pixels)

    def pixel_logits(self, pixels: tf.Tensor) -> tf.Tensor:
        """Return the logits of images of one size, uint8 [N, H, W, 3]."""
        resized = prepare_pixels(pixels, self.processing, self.options)
        if self.of_one_size:
            return self._pixel_logits(resized)
        spec = tf.TensorSpec([None, None, self.classes], tf.float32)
        return tf.map_fn(self._logits_of, resized, fn_output_signature=spec, parallel_iterations=1)

    def padded_logits(self, images: Tensors) -> Tensors:
        """Return ``logits`` [N, h, w, K] of what `images` returned, zeros where it is not readable.

        Where images keep their shape, also ``logits_height`` and ``logits_width`` int32 [N]: h and w are
        then the largest of the batch, and zeros fill the rest.
        """
        if self.of_one_size:
            logits = images["logits"] if self.batched else self._pixel_logits(images["pixels"])
            readable = images["readable"][:, tf.newaxis, tf.newaxis, tf.newaxis]
            return {"logits": tf.where(readable, logits, 0.0)}
        height, width = (-(-images[f"network_{side}"] // LOGIT_STRIDE) for side in ("height", "width"))
        size = tf.reduce_max(tf.concat([tf.stack([height, width], axis=1), [[0, 0]]], axis=0), axis=0)

        def padded(image: Tensors) -> tf.Tensor:
            logits = self.logits(image)
            missing = size - tf.shape(logits)[:2]
            return tf.pad(logits, [[0, missing[0]], [0, missing[1]], [0, 0]])

        def nothing() -> tf.Tensor:
            return tf.zeros([size[0], size[1], self.classes])

        logits = tf.map_fn(
            lambda image: tf.cond(image["readable"], lambda: padded(image), nothing),
            images,
            fn_output_signature=tf.TensorSpec([None, None, self.classes], tf.float32),
            parallel_iterations=1,
        )
        return {"logits": logits, "logits_height": height, "logits_width": width}

    def batch_logits(self, pixel_values: tf.Tensor) -> tf.Tensor:
        """Return the logits of pixel values [N, H, W, 3]."""
        return self.network(pixel_values)["logits"]

    def _pixel_logits(self, pixels: tf.Tensor) -> tf.Tensor:
        return self.batch_logits(normalize(pixels, self.processing))

    def _logits_of(self, pixels: tf.Tensor) -> tf.Tensor:
        resizing = self.options.resizing
        return resized_logits(pixels, self.processing, resizing, self.batch_logits, self.classes)
