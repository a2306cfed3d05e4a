"""What a network is measured against: plain matrix products, and attention's own two products."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.sides import Network
from tf_segformer.processor import bfloat16_obstacle

# Large enough that the rate no longer grows; 17 billion multiply-adds take a tenth of a second on two cores.
SIZE = 2560


def tensorflow_product(
    work: Path, shape: tuple[int, ...], threads: int, *, precision: str = "float32"
) -> Network:
    """A square matrix product in TensorFlow."""
    _require(precision)
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    left, right = (tf.cast(tf.random.normal((SIZE, SIZE)), precision) for _ in range(2))
    product = tf.function(lambda a, b: tf.matmul(a, b), autograph=False)
    return Network(lambda _: product(left, right)[0, 0].numpy(), finish=nothing)


def pytorch_product(
    work: Path, shape: tuple[int, ...], threads: int, *, precision: str = "float32"
) -> Network:
    """A square matrix product in PyTorch."""
    _require(precision)
    import torch

    torch.set_num_threads(threads)
    left, right = (torch.randn(SIZE, SIZE).to(getattr(torch, precision)) for _ in range(2))
    return Network(lambda _: (left @ right)[0, 0].item(), finish=nothing)


def _require(precision: str) -> None:
    """Raise a RuntimeError where a product in `precision` takes a minute, which is no rate of the machine."""
    if precision == "bfloat16" and (obstacle := bfloat16_obstacle()):
        raise RuntimeError(obstacle)


def attention_products(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """Scores, softmax and weighted values of every block, at the network's sizes, and nothing else."""
    import tensorflow as tf

    from tf_segformer.configuration import read_config

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    run = all_attention(read_config(work / "checkpoint" / "config.json"), shape)
    return Network(lambda _: run(), finish=nothing)


def all_attention(
    config: Any, shape: tuple[int, ...], precision: str = "float32", max_scores: int | None = None
) -> Callable[[], float]:
    """Return a function that attends as often as the network, to random keys and values.

    Args:
        config: the network's.
        shape: of its pixel values, (B, 3, H, W).
        precision: a dtype.
        max_scores: that attention computes at a time; as many as in the network if None.
    """
    import tensorflow as tf

    from tf_segformer.attention_rows import MAX_SCORES, attend

    stages = []
    height, width = shape[2:]
    for stage, channels in enumerate(config.hidden_sizes):
        height, width = (-(-side // config.strides[stage]) for side in (height, width))
        heads, reduction = config.num_attention_heads[stage], config.sr_ratios[stage]
        queries, keys = height * width, (height // reduction) * (width // reduction)
        stages.append(
            [
                tf.cast(tf.random.normal((shape[0], heads, tokens, channels // heads)), precision)
                for tokens in (queries, keys, keys)
            ]
        )

    @tf.function(autograph=False)
    def run(stages: list[list[tf.Tensor]]) -> tf.Tensor:
        ends = []
        for (x, key, value), depth in zip(stages, config.depths, strict=True):
            for _ in range(depth):  # each on the one before, so that none is left out
                x = attend(x, key, value, max_scores=max_scores or MAX_SCORES)
            ends.append(x[0, 0, 0, 0])
        return tf.add_n(ends)

    return lambda: float(run(stages))


def nothing(result: object) -> np.ndarray:
    """Return no logits."""
    return np.zeros(0, np.float32)
