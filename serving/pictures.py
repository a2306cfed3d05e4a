"""From the logits of a batch to what a client looks at: PNG files at each image's own size.

Axes: N batch, h w height and width of the logits, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from serving.graph import Tensors, graph_function
from tf_segformer.confidence import class_statistics, confidence_map
from tf_segformer.labels import LabelSet
from tf_segformer.postprocessing import label_map
from tf_segformer.preprocessing import decode_image

MAX_LABELS_OF_8_BITS = 255  # ids 0 to 254: 255 stays free, it means "ignore" in label maps
_NO_FILE = b""


class Pictures:
    """Draws the label maps, confidence maps and overlays of a label set.

    Every method takes ``logits``, float32 [N, h, w, K], and ``images``: ``readable`` bool [N] and
    ``height`` and ``width`` int32 [N]. An image that is not readable gets an empty file.
    """

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        self.classes = len(label_set)
        specs = (
            tf.TensorSpec([None, None, self.classes], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
        )
        # The two largest graphs behind the network's: one copy each for all signatures.
        self._label_map = graph_function(label_map, *specs)
        self._confidence_map = graph_function(lambda *image: confidence_map(*image), *specs)

    def label_maps(self, logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Return the label maps of images of one size: int32 [N, height, width]."""
        return tf.map_fn(
            lambda one: self._label_map(one, height, width),
            logits,
            fn_output_signature=tf.TensorSpec([None, None], tf.int32),
        )

    def masks(self, logits: tf.Tensor, images: Tensors) -> Tensors:
        """Return ``mask_png_bytes``: the label ids as a gray PNG, 8-bit up to 255 classes, else 16-bit."""

        def draw(image: Tensors) -> Tensors:
            return {"mask_png_bytes": self._label_png(self._labels(image))}

        nothing = {"mask_png_bytes": tf.constant(_NO_FILE)}
        return _for_each_readable(draw, nothing, {**images, "logits": logits})

    def confidence(self, logits: tf.Tensor, images: Tensors) -> Tensors:
        """Return the masks and how sure the model is of them.

        ``confidence_png_bytes``: gray PNG, round(255 × the softmax probability of the winning class).
        ``class_share`` float32 [N, K]: the share of the image's pixels that each class has, 0 to 1.
        ``class_confidence`` float32 [N, K]: the mean probability over those pixels, 0 where there are none.
        """

        def draw(image: Tensors) -> Tensors:
            labels = self._labels(image)
            confidence = self._confidence_map(image["logits"], image["height"], image["width"])
            statistics = class_statistics(labels, confidence, self.classes)
            return {
                "mask_png_bytes": self._label_png(labels),
                "confidence_png_bytes": tf.io.encode_png(confidence[:, :, tf.newaxis]),
                "class_share": tf.ensure_shape(statistics.share, [self.classes]),
                "class_confidence": tf.ensure_shape(statistics.confidence, [self.classes]),
            }

        nothing = {
            "mask_png_bytes": tf.constant(_NO_FILE),
            "confidence_png_bytes": tf.constant(_NO_FILE),
            "class_share": tf.zeros([self.classes]),
            "class_confidence": tf.zeros([self.classes]),
        }
        return _for_each_readable(draw, nothing, {**images, "logits": logits})

    def overlays(self, logits: tf.Tensor, images: Tensors, image_bytes: tf.Tensor) -> Tensors:
        """Return ``overlay_png_bytes``: each image, half covered by the colours of its classes.

        The files [N] are decoded once more rather than all kept decoded while the network runs.
        """
        half_colors = tf.constant(self.label_set.colors() // 2)

        def draw(image: Tensors) -> Tensors:
            # Halves of both in uint8: no wider copy of a large photograph is made.
            half = tf.bitwise.right_shift(decode_image(image["image_bytes"]), tf.constant(1, tf.uint8))
            picture = half + tf.gather(half_colors, self._labels(image))
            return {"overlay_png_bytes": tf.io.encode_png(picture)}

        nothing = {"overlay_png_bytes": tf.constant(_NO_FILE)}
        items = {**images, "logits": logits, "image_bytes": image_bytes}
        return _for_each_readable(draw, nothing, items)

    def _labels(self, image: Tensors) -> tf.Tensor:
        return self._label_map(image["logits"], image["height"], image["width"])

    def _label_png(self, labels: tf.Tensor) -> tf.Tensor:
        dtype = tf.uint8 if self.classes <= MAX_LABELS_OF_8_BITS else tf.uint16
        return tf.io.encode_png(tf.cast(labels, dtype)[:, :, tf.newaxis])


def _for_each_readable(draw: Callable[[Tensors], Tensors], nothing: Tensors, items: Tensors) -> Tensors:
    """Map ``draw`` over the images of a batch; those that are not readable get ``nothing`` instead."""
    return tf.map_fn(
        lambda item: tf.cond(item["readable"], lambda: draw(item), lambda: nothing),
        items,
        fn_output_signature={name: tf.TensorSpec.from_tensor(value) for name, value in nothing.items()},
    )
