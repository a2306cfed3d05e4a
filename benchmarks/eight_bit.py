"""Would an export in 8 bits be faster than one in bfloat16?

    python -m benchmarks.eight_bit

Every dense layer of a network in turns: TensorFlow's bfloat16 product, as the bfloat16 export runs it, and
its 8-bit product, alone ("product") and with the passes that make its input of bfloat16 ("with its input").
Quantised as the kernel is fastest: symmetric, a scale for each output channel of the weights, and one for the
whole activation, a constant ("static"): finding its range at every call would be another pass.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.measuring import in_turns, ratio
from benchmarks.turns import relative_error
from tf_segformer import variant_config
from tf_segformer.inference_layers import Linear, numbers_of
from tf_segformer.processor import bfloat16_obstacle

COPIES = 8  # of a layer in one call, so that the call itself costs little beside them
LEVELS = 127  # the largest integer; -128 stays unused, so that the scale is the same on both sides
BFLOAT16, PRODUCT, WITH_INPUT = "bfloat16", "8 bits, product", "8 bits, with its input"
Shape = tuple[int, int, int]  # tokens, channels in and out
tf1 = tf.compat.v1


def shapes(config: Any, size: int) -> Counter[Shape]:
    """Count the dense layers of the transformer blocks, by shape."""
    found: Counter[Shape] = Counter()
    side = size
    for stage, channels in enumerate(config.hidden_sizes):
        side = -(-side // config.strides[stage])
        tokens, reduced = side**2, (side // config.sr_ratios[stage]) ** 2
        hidden, blocks = config.mlp_ratios[stage] * channels, config.depths[stage]
        found[tokens, channels, channels] += 2 * blocks  # query, output
        found[reduced, channels, channels] += 2 * blocks  # key, value
        found[tokens, channels, hidden] += blocks
        found[tokens, hidden, channels] += blocks
    return found


def quantize(x: tf.Tensor, limit: float) -> tf.Tensor:
    """Round to int8 levels of `limit` / LEVELS; what is beyond the limit is cut off."""
    return tf.raw_ops.QuantizeV2(
        **{"input": tf.cast(x, tf.float32), "min_range": -limit, "max_range": limit, "T": tf.qint8},
        **{"mode": "SCALED", "round_mode": "HALF_TO_EVEN", "ensure_minimum_range": 0.0},
    ).output


class EightBit:
    """A dense layer with weights in 8 bits: TensorFlow's own oneDNN kernel, int8 in and bfloat16 out.

    Args:
        kernel: (C_in, C), floating.
        bias: (C,).
        limit: the largest absolute value of the inputs.
    """

    def __init__(self, kernel: Any, bias: Any, limit: float) -> None:
        limits = np.abs(kernel).max(axis=0)
        self.kernel = np.rint(kernel / limits * LEVELS).astype(tf.qint8.as_numpy_dtype)
        self.bias, self.limit = np.asarray(bias, np.float32), np.float32(limit)
        self.limits = limits.astype(np.float32)

    def __call__(self, levels: tf.Tensor) -> tf.Tensor:
        """(N, C_in) qint8 → (N, C) bfloat16; in a graph only, since the operation has no Python function."""
        inputs = [
            *(levels, tf.constant(self.kernel, tf.qint8), tf.constant(self.bias)),
            *(tf.constant(limit) for limit in (-self.limit, self.limit, -self.limits, self.limits)),
        ]
        dtypes = {"T1": tf.qint8, "T2": tf.qint8, "Tbias": tf.float32, "U": tf.float32, "Tout": tf.bfloat16}
        attributes = {name: tf1.AttrValue(type=dtype.as_datatype_enum) for name, dtype in dtypes.items()}
        lists = {
            "Tdevice_inputs": {"type": [tensor.dtype.as_datatype_enum for tensor in inputs]},
            "Tdevice_outputs": {"type": [tf.bfloat16.as_datatype_enum]},
            **{"Thost_inputs": {}, "Thost_outputs": {}, "fused_ops": {"s": [b"BiasAdd", b"Dequantize"]}},
        }
        for name, values in lists.items():
            attributes[name] = tf1.AttrValue(list=tf1.AttrValue.ListValue(**values))
        graph = tf1.get_default_graph()
        kind, output = "_QuantizedMatMul", [tf.bfloat16]
        return graph.create_op(kind, inputs, output, attrs=attributes, name=kind.strip("_")).outputs[0]


def layers(shape: Shape) -> tuple[np.ndarray, dict[str, Callable[[tf.Tensor], tf.Tensor]], np.ndarray]:
    """Return COPIES inputs, a layer of random weights each way, and the first input's exact output."""
    tokens, inputs, outputs = shape
    random = np.random.default_rng(0)
    x = random.standard_normal((COPIES, tokens, inputs)).astype(tf.bfloat16.as_numpy_dtype)
    kernel = random.standard_normal((inputs, outputs)) / np.sqrt(inputs)
    bias, limit = random.standard_normal(outputs), float(np.abs(x).max())
    exact = Linear.of(kernel, bias, numbers_of("bfloat16"), "layer")
    eight = EightBit(kernel, bias, limit)
    ways = {
        BFLOAT16: exact,
        PRODUCT: eight,  # given levels
        WITH_INPUT: lambda each: eight(quantize(each, limit)),
    }
    return x, ways, x[0].astype(np.float64) @ kernel + bias


def measure(shape: Shape, threads: int, repeats: int) -> dict[str, Any]:
    """Time one dense layer each way.

    Returns:
        Seconds of one product by way, and "errors" over the largest output.
    """
    x, ways, exact = layers(shape)
    limit = float(np.abs(x).max())
    calls, errors = {}, {}
    for name, way in ways.items():
        with tf.Graph().as_default():
            # Variables, so that no product is folded into a constant.
            given = [tf1.Variable(each, use_resource=True).read_value() for each in x]
            if name == PRODUCT:
                levels = [tf1.Variable(quantize(each, limit), use_resource=True) for each in given]
                given = [each.read_value() for each in levels]
            ends = [way(tf.ensure_shape(each, (None, shape[1]))) for each in given]
            # As many threads between operations as within them is a server's default.
            config = tf1.ConfigProto(
                intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
            )
            session = tf1.Session(config=config)
            of_images, of_levels = tf1.global_variables()[:COPIES], tf1.global_variables()[COPIES:]
            session.run(tf1.variables_initializer(of_images))
            session.run(tf1.variables_initializer(of_levels))
            errors[name] = relative_error(session.run(tf.cast(ends[0], tf.float32)), exact)
            calls[name] = session.make_callable([end.op for end in ends])
    in_turns(calls, 2)
    taken = in_turns(calls, repeats)
    return {**{name: [s / COPIES for s in seconds] for name, seconds in taken.items()}, "errors": errors}


def table(variant: str, size: int, threads: int, repeats: int) -> str:
    """Time every dense layer of a variant; return Markdown."""
    lines = [
        f"| tokens × channels → channels | number | {BFLOAT16} | {PRODUCT} | {WITH_INPUT} "
        "| the last ÷ bfloat16 | error, bfloat16 | 8 bits |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ways = (BFLOAT16, PRODUCT, WITH_INPUT)
    sums = dict.fromkeys(ways, 0.0)
    counted = shapes(variant_config(variant, num_labels=150), size)
    for shape, number in counted.items():
        found = measure(shape, threads, repeats)
        medians = {name: statistics.median(found[name]) for name in ways}
        for name, median in medians.items():
            sums[name] += number * median
        cells = [
            f"{shape[0]} × {shape[1]} → {shape[2]}",
            *(str(number), *(f"{1e3 * median:.2f} ms" for median in medians.values())),
            str(ratio(found[WITH_INPUT], found[BFLOAT16])),
            *(f"{found['errors'][name]:.1e}" for name in (BFLOAT16, WITH_INPUT)),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    whole = sums[WITH_INPUT] / sums[BFLOAT16]
    times = " | ".join(f"{1e3 * seconds:.1f} ms" for seconds in sums.values())
    lines.append(f"| all | {counted.total()} | {times} | {whole:.2f} | | |")
    return "\n".join(lines)


def main() -> None:
    """Print a table a variant."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["b0", "b4"])
    parser.add_argument("--size", type=int, default=512, help="height and width of the images")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=15, help="of each pair of times")
    options = parser.parse_args()
    if problem := bfloat16_obstacle():  # TensorFlow would end the process
        raise SystemExit(f"Nothing to measure: {problem}.")
    for variant in options.variants:
        print(f"**{variant.upper()}**, {options.size} × {options.size}, threads: {options.threads}\n")
        print(table(variant, options.size, options.threads, options.repeats) + "\n", flush=True)


if __name__ == "__main__":
    main()
