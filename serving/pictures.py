"""From logits to what a client looks at: PNG files at each image's own size.

Axes: N batch, h w height and width of the logits, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from serving.graph import Tensors, graph_function
from serving.images import upright
from serving.segmenter import Segmenter
from tf_segformer.confidence import class_statistics, confidence_map
from tf_segformer.labels import LabelSet
from tf_segformer.postprocessing import compact_label_map

# Of zlib: the default, 6, takes longer, for files that are hardly smaller.
LABEL_PNG_LEVEL = 4
MAX_LABELS_OF_8_BITS = 255  # ids 0 to 254: 255 stays free, it means "ignore" in label maps
_NO_FILE = b""


class Pictures:
    """Draws the label maps, confidence maps and overlays of a label set.

    The methods take ``images`` as `Segmenter.images` returns them. An image that is not readable gets
    empty files and zeros.
    """

    def __init__(self, segmenter: Segmenter, label_set: LabelSet) -> None:
        self.segmenter = segmenter
        self.label_set = label_set
        self.classes = len(label_set)
        self.options = segmenter.options
        specs = (
            tf.TensorSpec([None, None, self.classes], tf.float32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.int32),
        )
        # The two largest graphs behind the network's: one copy each for all signatures.
        self._label_map = graph_function(compact_label_map, *specs)
        self._confidence_map = graph_function(
            lambda logits, height, width: confidence_map(logits, height, width, self.options.confidence),
            *specs,
        )

    def label_maps(self, logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
        """Return the label maps of images of one size: int32 [N, height, width]."""
        return tf.map_fn(
            lambda one: tf.cast(self._label_map(one, height, width), tf.int32),
            logits,
            fn_output_signature=tf.TensorSpec([None, None], tf.int32),
        )

    def masks(self, images: Tensors) -> Tensors:
        """Return ``mask_png_bytes``: the label ids as a gray PNG, 8-bit up to 255 classes, else 16-bit."""

        def draw(image: Tensors) -> Tensors:
            return {"mask_png_bytes": self._label_png(self._labels(image, self.segmenter.logits(image)))}

        return self._for_each_readable(draw, {"mask_png_bytes": tf.constant(_NO_FILE)}, images)

    def confidence(self, images: Tensors) -> Tensors:
        """Return the masks and how sure the model is of them.

        ``confidence_png_bytes``: gray PNG, round(255 × the export's measure of confidence).
        ``class_share`` float32 [N, K]: the share of the image's pixels that each class has, 0 to 1.
        ``class_confidence`` float32 [N, K]: the mean of the measure over those pixels, 0 where there
        are none.
        """

        def draw(image: Tensors) -> Tensors:
            logits = self.segmenter.logits(image)
            labels = self._labels(image, logits)
            confidence = self._confidence_map(logits, image["height"], image["width"])
            statistics = class_statistics(tf.cast(labels, tf.int32), confidence, self.classes)
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
        return self._for_each_readable(draw, nothing, images)

    def overlays(self, images: Tensors) -> Tensors:
        """Return ``overlay_png_bytes``: each image, half covered by the colours of its classes.

        The images are those made with ``keep_decoded``.
        """
        images = dict(images)
        decoded = images.pop("decoded")
        half_colors = tf.constant(self.label_set.colors() // 2)

        def draw(image: Tensors) -> Tensors:
            labels = self._labels(image, self.segmenter.logits(image))
            pixels = upright(decoded, image["place"], image["orientation"], self.options)
            # Halves of both in uint8: no wider copy of a large photograph is made.
            half = tf.bitwise.right_shift(pixels, tf.constant(1, tf.uint8))
            colors = tf.gather(half_colors, tf.cast(labels, tf.int32))
            return {"overlay_png_bytes": tf.io.encode_png(half + colors)}

        nothing = {"overlay_png_bytes": tf.constant(_NO_FILE)}
        return self._for_each_readable(draw, nothing, images)

    def _labels(self, image: Tensors, logits: tf.Tensor) -> tf.Tensor:
        return self._label_map(logits, image["height"], image["width"])

    def _label_png(self, labels: tf.Tensor) -> tf.Tensor:
        dtype = tf.uint8 if self.classes <= MAX_LABELS_OF_8_BITS else tf.uint16
        return tf.io.encode_png(tf.cast(labels, dtype)[:, :, tf.newaxis], compression=LABEL_PNG_LEVEL)

    def _for_each_readable(
        self, draw: Callable[[Tensors], Tensors], nothing: Tensors, images: Tensors
    ) -> Tensors:
        """Map ``draw`` over the images of a batch; those that are not readable get ``nothing`` instead."""

        def draw_one(index: tf.Tensor) -> Tensors:
            # Not mapped over the images themselves, which would copy the logits of all.
            image = {name: values[index] for name, values in images.items()}
            return tf.cond(image["readable"], lambda: draw(image), lambda: nothing)

        return tf.map_fn(
            draw_one,
            tf.range(tf.size(images["readable"])),
            fn_output_signature={name: tf.TensorSpec.from_tensor(value) for name, value in nothing.items()},
            # While a PNG is written, on one core, the next image is in the network. Where images are not
            # brought to one size, a large one alone may fill the memory.
            parallel_iterations=2 if self.segmenter.of_one_size else 1,
        )
