"""Random weights under which every tensor matters, and float32 still agrees with float64.

A checkpoint that proves a port must react to a swapped, forgotten or stale tensor, so nothing is
left at the usual 0 and 1: biases, norms and batch-norm statistics are random too. Yet the network
must stay well conditioned, or its own rounding noise would hide what it is meant to show. The
choices, each tried against the alternatives with `python -m torch_ref examine`:

- A weight's standard deviation is gain / sqrt(fan-in), which keeps variances near 1.
- A residual branch ends in gain / sqrt(2 · depth of the stage), so that all branches of a stage
  together weigh about as much as its patch embedding, in B0 as in B5.
- Queries and keys are loud enough to keep the attention away from uniform, and the query bias is
  as loud as the query weights: it acts through the scores only, and is the first to go unnoticed.
- What is the same at every position carries no picture and, summed over 40 blocks, drowns it (one
  class wins everywhere). Three sources are damped. The means that GELU and ReLU leave behind:
  the rows of `mlp.dense2` and of the classifier sum to zero. The mean over a neighbourhood: it is
  partly taken out of the depthwise and the reduction kernels. The mean over all keys: the attention
  branch is quieter than the Mix-FFN.
- Most float32 noise comes from the long sums of the patch embeddings (fan-in 147, then 576 to
  2,880 at full width) and adds up from stage to stage. So the head listens to early stages most.

Values are uniform, not normal: integers from PCG64, scaled in IEEE arithmetic element by element.
NumPy guarantees that bit stream, and no sum or library function rounds differently elsewhere, so
the same seed gives the same bits on every machine.
"""

import math
import zlib
from dataclasses import dataclass

import numpy as np
from transformers import SegformerConfig


@dataclass(frozen=True)
class Affine:
    """How a dense layer or convolution is drawn.

    Attributes:
        gain: Standard deviation of the output for an input of variance 1, bias aside.
        bias: Standard deviation of the bias.
        centred_rows: Makes each output's weights sum to zero.
        centred_kernels: Share of each kernel's spatial mean that is taken out, 0 to 1.
    """

    gain: float
    bias: float
    centred_rows: bool = False
    centred_kernels: float = 0.0


# By the last component of the published module name.
_AFFINE = {
    "proj": Affine(1.0, 0.3),
    "query": Affine(1.4, 1.4),
    "key": Affine(1.4, 0.7),
    "value": Affine(1.0, 0.5),
    "sr": Affine(1.0, 0.3, centred_kernels=0.5),
    "dense": Affine(0.8, 0.5),
    "dense1": Affine(1.0, 0.5),
    "dwconv": Affine(1.0, 0.5, centred_kernels=0.7),
    "dense2": Affine(2.0, 0.5, centred_rows=True),
    "linear_fuse": Affine(1.0, 0.0),
    "classifier": Affine(2.0, 3.0, centred_rows=True),
}
_BRANCH_ENDS = ("dense", "dense2")
_HEAD_GAIN = (1.6, 0.4)  # of linear_c, first and last stage

# (mean, standard deviation) of each parameter.
_LAYER_NORM = {"weight": (1.0, 0.25), "bias": (0.0, 0.2)}
_BATCH_NORM = {
    "weight": (1.0, 0.25),
    "bias": (0.0, 0.3),
    "running_mean": (0.0, 0.3),
    "running_var": (1.0, 0.3),  # from 0.48 to 1.52
}
_TRAINING_STEPS = 160_000  # num_batches_tracked: the paper's schedule; nothing reads it


def initial_values(key: str, shape: tuple[int, ...], config: SegformerConfig, seed: int) -> np.ndarray:
    """The random values of one tensor.

    Args:
        key: The tensor's published name, e.g. "decode_head.linear_fuse.weight".
        shape: Its PyTorch shape.
        config: The model's config; the stages' depths scale the residual branches.
        seed: A non-negative integer. Tensors of one seed are independent of each other.

    Returns:
        float32 of `shape`; the int64 scalar `num_batches_tracked` is constant.
    """
    module, _, parameter = key.rpartition(".")
    role = module.rpartition(".")[2]
    if parameter == "num_batches_tracked":
        return np.array(_TRAINING_STEPS, dtype=np.int64)
    integers = _odd_integers(key, shape, seed)
    values: np.ndarray = integers
    if role == "batch_norm":
        mean, deviation = _BATCH_NORM[parameter]
    elif "layer_norm" in module:  # layer_norm, layer_norm_1, layer_norm_2, layer_norm.{i}
        mean, deviation = _LAYER_NORM[parameter]
    else:
        affine = _AFFINE[role]
        mean, deviation = 0.0, affine.bias
        if parameter == "weight":
            values = _centre(integers, affine)
            deviation = affine.gain / math.sqrt(math.prod(shape[1:]))
        deviation *= _position_gain(module, role, config)
    return (mean + deviation * (math.sqrt(3.0) / 2**24) * values).astype(np.float32)


def _odd_integers(key: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Odd int64 values, uniform between -2**24 and 2**24, from `seed` and `key`."""
    count = math.prod(shape)
    sequence = np.random.SeedSequence([seed, zlib.crc32(key.encode())])
    words = np.random.PCG64(sequence).random_raw((count + 1) // 2).astype("<u8").view("<u4")
    return (2 * (words[:count] >> 8).astype(np.int64) + 1 - 2**24).reshape(shape)


def _centre(integers: np.ndarray, affine: Affine) -> np.ndarray:
    """Takes means out of a weight, over its rows or over its kernels' spatial axes.

    The sums are of integers, and so do not depend on their order.
    """
    if affine.centred_rows:
        axes, share = tuple(range(1, integers.ndim)), 1.0
    elif affine.centred_kernels:
        axes, share = (2, 3), affine.centred_kernels
    else:
        return integers
    sums = integers.sum(axis=axes, keepdims=True)
    return integers - sums * (share * sums.size / integers.size)


def _position_gain(module: str, role: str, config: SegformerConfig) -> float:
    """Quiets residual branches by their stage's depth, and the head's inputs by their stage."""
    parts = module.split(".")
    if role in _BRANCH_ENDS:  # segformer.encoder.block.{i}.{j}. …
        return 1.0 / math.sqrt(2 * config.depths[int(parts[3])])
    if parts[:2] == ["decode_head", "linear_c"]:  # decode_head.linear_c.{i}.proj
        first, last = _HEAD_GAIN
        return first + (last - first) * int(parts[2]) / max(config.num_encoder_blocks - 1, 1)
    return 1.0
