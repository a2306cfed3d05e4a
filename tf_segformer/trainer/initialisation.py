"""Initial weights for training from scratch."""

from __future__ import annotations

import keras
import numpy as np

from tf_segformer.trainer.optimizer import HEAD


def initialise_convolutions(model: keras.Model, seed: int) -> None:
    """Draw all convolutions but the classifier from N(0, 2/fan_out) (He et al., arXiv 1502.01852).

    transformers' initialiser, and so this port's, draws them from N(0, 0.02²) like the dense layers, since
    its users load trained weights. A depthwise 3×3 convolution then shrinks its input to a sixteenth, and
    with it what a Mix-FFN adds. mmsegmentation's SegFormer draws as here.
    """
    random = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.DepthwiseConv2D) or (
            isinstance(layer, keras.layers.Conv2D) and not (HEAD in layer.path and layer.name == "classifier")
        ):
            kernel = layer.kernel
            fan_out = np.prod(kernel.shape[:2]) * kernel.shape[3]
        else:
            continue
        kernel.assign(random.normal(scale=np.sqrt(2.0 / fan_out), size=kernel.shape))
