"""Batches for `fit`: order and augmentation follow from the seed and the step alone.

So training that goes on at step k sees exactly the batches that it would have seen without the break.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_segformer.datasets.pairs import Pair
from tf_segformer.datasets.reading import MaskRules, read_image, read_mask
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.trainer.augmentation import Augmentation, augment


def training_batches(
    pairs: Sequence[Pair],
    rules: MaskRules,
    augmentation: Augmentation,
    processing: ImageProcessing,
    *,
    batch_size: int,
    steps: range,
    seed: int,
) -> tf.data.Dataset:
    """The batches of some steps of training.

    Each epoch goes through all pairs once, in an order of its own; batches run on over the end of an epoch.

    Args:
        pairs: At least one.
        rules: How masks are read.
        augmentation: What is drawn for each example.
        processing: How pixels are normalised.
        batch_size: B.
        steps: Of which steps, e.g. `range(500, 1000)`.
        seed: 0 to 2^31 - 1.

    Returns:
        `len(steps)` batches of float32 (B, S, S, 3) and uint8 (B, S, S).
    """

    def load(place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pair = pairs[int(place)]
        return read_image(pair.image), read_mask(pair.mask, rules)

    @tf.autograph.experimental.do_not_convert  # which takes seconds, and nothing here needs
    def example(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        epoch, position = number // len(pairs), number % len(pairs)
        place = position
        if len(pairs) > 1:
            order_key = tf.stack([seed, tf.cast(epoch, tf.int32)])
            place = tf.random.experimental.index_shuffle(position, order_key, len(pairs) - 1)
        image, labels = tf.numpy_function(load, [place], [tf.uint8, tf.uint8], stateful=False)
        key = tf.random.fold_in(tf.constant([seed, 0]), number, alg="philox")
        return augment(
            tf.ensure_shape(image, (None, None, 3)),
            tf.ensure_shape(labels, (None, None)),
            tf.cast(key, tf.int32),
            augmentation,
            processing,
        )

    numbers = tf.data.Dataset.range(steps.start * batch_size, steps.stop * batch_size)
    examples = numbers.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size, drop_remainder=True).prefetch(2)
