"""keras-hub: SegFormer and DeepLabV3+ built from its own classes, random weights, in a `tf.function`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras_hub
import numpy as np
import tensorflow as tf

from benchmarks.sides import Network
from tf_segformer.configuration import read_config


def in_graph(model: Any, threads: int) -> Network:
    """Return a Keras model that takes (N, H, W, 3)."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    call = tf.function(lambda values: model(values, training=False), autograph=False)
    return Network(
        lambda values: call(values).numpy(),
        prepare=lambda values: tf.constant(np.moveaxis(values, 1, -1)),
        finish=lambda logits: np.moveaxis(logits, -1, 1),
    )


def segformer(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """SegFormer at the checkpoint's widths."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    config = read_config(work / "checkpoint" / "config.json")
    image = (*shape[2:], 3)
    encoder = keras_hub.models.MiTBackbone(
        layerwise_depths=list(config.depths),
        num_layers=len(config.depths),
        layerwise_num_heads=list(config.num_attention_heads),
        layerwise_sr_ratios=list(config.sr_ratios),
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=list(config.patch_sizes),
        layerwise_strides=list(config.strides),
        image_shape=image,
        hidden_dims=list(config.hidden_sizes),
    )
    backbone = keras_hub.models.SegFormerBackbone(
        image_encoder=encoder, projection_filters=config.decoder_hidden_size
    )
    return in_graph(keras_hub.models.SegFormerImageSegmenter(backbone, config.num_labels), threads)


def deeplab(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """DeepLabV3+ with ResNet-101 (arXiv 1802.02611), arranged as keras-hub's preset with ResNet-50 is."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    image = (*shape[2:], 3)
    encoder = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 128, 256, 512],
        stackwise_num_blocks=[3, 4, 23, 3],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="bottleneck_block",
        image_shape=image,
    )
    backbone = keras_hub.models.DeepLabV3Backbone(
        image_encoder=encoder,
        projection_filters=48,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P5",
        upsampling_size=8,
        dilation_rates=[6, 12, 18],
        image_shape=image,
    )
    classes = json.loads((work / "checkpoint" / "config.json").read_text())["id2label"]
    return in_graph(keras_hub.models.DeepLabV3ImageSegmenter(backbone, len(classes)), threads)
