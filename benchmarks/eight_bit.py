"""Would an export in 8 bits be faster than one in bfloat16, and as accurate?

    python -m benchmarks.eight_bit --variants b0 b4

TensorFlow's own 8-bit kernels (`benchmarks.eight_bit_network`) against what the bfloat16 export does at the
same places, in turns, on seeded checkpoints: every dense layer alone, with the pass that brings its input
from float32 into the product's dtype, and the whole network, pixel values to logits. Then the mIoU of both on
the bundled trained checkpoint and scenes it has not seen; the ranges of its activations are found on others.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.eight_bit_network import EightBit, eight_bit_network
from benchmarks.measuring import in_turns, ratio
from benchmarks.models import BUNDLED
from benchmarks.precision import compared, draw, label_maps
from benchmarks.turns import relative_error
from tf_segformer import TFSegformerForSemanticSegmentation, variant_config
from tf_segformer.inference import InferenceNetwork
from tf_segformer.inference_layers import Linear, numbers_of
from torch_ref.seeded import write_seeded_checkpoint

COPIES = 8  # of a product in one call, so that the call itself costs little beside them
SCENES_FOR_RANGES = 16
Shape = tuple[int, int, int, str]  # tokens, channels in and out, dtype of the output
tf1 = tf.compat.v1


def shapes(config: Any, size: int) -> Counter[Shape]:
    """Count the dense layers that can be in 8 bits, by shape: those whose input is in float32."""
    found: Counter[Shape] = Counter()
    side = size
    for stage, channels in enumerate(config.hidden_sizes):
        side = -(-side // config.strides[stage])
        tokens, reduced = side**2, (side // config.sr_ratios[stage]) ** 2
        hidden, blocks = config.mlp_ratios[stage] * channels, config.depths[stage]
        found[tokens, channels, channels, "bfloat16"] += blocks  # query
        found[reduced, channels, channels, "bfloat16"] += 2 * blocks  # key, value
        found[tokens, channels, hidden, "bfloat16"] += blocks
        found[tokens, hidden, channels, "float32"] += blocks
    return found


def in_session(build: Callable[[], Iterable[tf.Tensor]], threads: int) -> Callable[[], Any]:
    """Return a call that computes tensors in a Session, as a server would, and fetches none."""
    with tf.Graph().as_default():
        ends = [tensor.op for tensor in build()]
        # As many threads between operations as within them is a server's default.
        config = tf1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        session = tf1.Session(config=config)
        session.run(tf1.global_variables_initializer())
        return session.make_callable(ends)


def network_in_session(network: InferenceNetwork, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Return a call, pixel values (B, H, W, 3) to logits (B, h, w, classes)."""
    with tf.Graph().as_default():
        config = tf1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads)
        values = tf1.placeholder(tf.float32, (None, None, None, 3))
        logits = network(values).logits
        return tf1.Session(config=config).make_callable(logits, [values])


def product(shape: Shape, threads: int, repeats: int) -> dict[str, Any]:
    """Time one dense layer in both precisions; random inputs and weights.

    Returns:
        "bfloat16" and "int8", seconds of one product each, and their "errors" over the largest output.
    """
    tokens, inputs, outputs, dtype = shape
    random = np.random.default_rng(0)
    x = random.standard_normal((COPIES, tokens, inputs)).astype(np.float32)
    kernel = random.standard_normal((inputs, outputs)) / np.sqrt(inputs)
    bias = random.standard_normal(outputs)
    layer = Linear.of(kernel, bias, numbers_of("bfloat16"), "layer")
    sides: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
        "bfloat16": lambda x: tf.cast(layer(tf.cast(x, layer.dtype)), dtype),
        "int8": EightBit(kernel, bias, float(np.abs(x).max()), tf.as_dtype(dtype)),
    }
    exact = x[0].astype(np.float64) @ kernel + bias
    calls, errors = {}, {}
    for name, side in sides.items():
        with tf.Graph().as_default(), tf1.Session() as session:
            found = session.run(tf.cast(side(tf.constant(x[0])), tf.float32))
        errors[name] = relative_error(found, exact)
        # Variables, so that no product is folded into a constant.
        calls[name] = in_session(
            lambda side=side: [
                side(tf.ensure_shape(tf1.Variable(one, use_resource=True, name="x"), (None, inputs)))
                for one in x
            ],
            threads,
        )
    in_turns(calls, 2)
    seconds = in_turns(calls, repeats)
    return {**{name: [s / COPIES for s in taken] for name, taken in seconds.items()}, "errors": errors}


def products(config: Any, size: int, threads: int, repeats: int) -> str:
    """Time every dense layer; return Markdown."""
    lines = [
        "| tokens × channels → channels | number | bfloat16 | 8 bits | 8 bits ÷ bfloat16 | error, bfloat16 "
        "| 8 bits |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    sums = dict.fromkeys(("bfloat16", "int8"), 0.0)
    for shape, number in shapes(config, size).items():
        found = product(shape, threads, repeats)
        medians = {name: statistics.median(found[name]) for name in sums}
        for name, median in medians.items():
            sums[name] += number * median
        cells = [
            f"{shape[0]} × {shape[1]} → {shape[2]}, {shape[3]}",
            *(str(number), f"{1e3 * medians['bfloat16']:.2f} ms", f"{1e3 * medians['int8']:.2f} ms"),
            str(ratio(found["int8"], found["bfloat16"])),
            *(f"{found['errors'][name]:.1e}" for name in sums),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    whole = sums["int8"] / sums["bfloat16"]
    lines.append(
        f"| all | {shapes(config, size).total()} | {1e3 * sums['bfloat16']:.1f} ms "
        f"| {1e3 * sums['int8']:.1f} ms | {whole:.2f} | | |"
    )
    return "\n".join(lines)


def networks(model: Any, size: int, threads: int, repeats: int) -> str:
    """Time the whole network in both precisions; return Markdown."""
    random = np.random.default_rng(0)
    images, others = (random.standard_normal((1, size, size, 3)).astype(np.float32) for _ in range(2))
    sides = {
        "bfloat16": network_in_session(InferenceNetwork(model, "bfloat16"), threads),
        "8 bits": network_in_session(eight_bit_network(model, others), threads),
    }
    exact = InferenceNetwork(model)(tf.constant(images)).logits.numpy()
    errors = {name: relative_error(run(images), exact) for name, run in sides.items()}
    calls = {name: lambda run=run: run(images) for name, run in sides.items()}
    in_turns(calls, 2)
    seconds = in_turns(calls, repeats)
    lines = ["| network | median | ÷ bfloat16 (quartiles) | error ÷ scale |", "|---|---:|---:|---:|"]
    for name, taken in seconds.items():
        median, quotient = 1e3 * statistics.median(taken), ratio(taken, seconds["bfloat16"])
        lines.append(f"| {name} | {median:.1f} ms | {quotient} | {errors[name]:.1e} |")
    return "\n".join(lines)


def accuracy(scenes: int, threads: int) -> str:
    """Compare mIoU on the bundled checkpoint; return Markdown."""
    model = TFSegformerForSemanticSegmentation.from_pretrained(BUNDLED, data_format="channels_last")
    images, truth = draw(scenes, seed=0)
    images, others = (
        np.moveaxis(drawn, 1, -1).astype(np.float32) for drawn in (images, draw(SCENES_FOR_RANGES, seed=1)[0])
    )
    exact = InferenceNetwork(model)
    sides = {
        "float32": lambda image: exact(tf.constant(image)).logits.numpy(),
        "bfloat16": network_in_session(InferenceNetwork(model, "bfloat16"), threads),
        "8 bits": network_in_session(eight_bit_network(model, others), threads),
    }
    lines = ["| | mIoU | points below float32 | labels equal | error ÷ scale |", "|---|---:|---:|---:|---:|"]
    reference: Any = None
    best = 0.0
    for name, run in sides.items():
        logits = np.moveaxis(np.concatenate([run(image[None]) for image in images]), -1, 1)
        labels = label_maps(logits)
        reference = reference or (logits, labels)
        found = compared(logits, labels, truth, reference)
        best = best or found["mean_iou"]
        below, equal = 100 * (best - found["mean_iou"]), 100 * found["agreement"]
        cells = [name, f"{100 * found['mean_iou']:.2f}", f"{below:.3f}", f"{equal:.2f} %"]
        lines.append(f"| {' | '.join(cells)} | {found['error']:.1e} |")
    return "\n".join(lines)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", nargs="*", default=["b0", "b4"])
    parser.add_argument("--size", type=int, default=512, help="height and width of the images")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=21, help="of each pair of times")
    parser.add_argument("--scenes", type=int, default=100, help="for mIoU; 0: leave it out")
    parser.add_argument("--without-products", action="store_true", help="whole networks alone")
    options = parser.parse_args()
    size, threads, repeats = options.size, options.threads, options.repeats
    for variant in options.variants:
        print(f"**{variant.upper()}**, {size} × {size}, threads: {threads}\n", flush=True)
        if not options.without_products:
            config = variant_config(variant, num_labels=150)
            print(products(config, size, threads, repeats) + "\n", flush=True)
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            write_seeded_checkpoint(Path(folder) / "checkpoint", variant, num_labels=150)
            model = TFSegformerForSemanticSegmentation.from_pretrained(
                Path(folder) / "checkpoint", data_format="channels_last"
            )
            print(networks(model, size, threads, repeats) + "\n", flush=True)
    if options.scenes:
        print(f"`examples/segformer-scenes`, {options.scenes} validation scenes\n")
        print(accuracy(options.scenes, threads), flush=True)


if __name__ == "__main__":
    main()
