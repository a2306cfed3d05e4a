"""How fast is the resize of the graph, against Pillow's, which it equals bit for bit?

    python -m benchmarks.resize --json resize.json

Both sides take the same pixels (noise: the time does not depend on them) and run in turns in one
process; times are medians, and ratios are those of pairs, with their quartiles. Pillow uses one
thread, the graph `--threads`. "and normalise" is the whole of the preprocessing, against
transformers' PIL processor. That the results are equal is checked once per row. Memory is what one
call adds to the resident set at its peak, result included, in a fresh process; Linux only.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image
from transformers import SegformerImageProcessorPil

from benchmarks.measuring import in_turns, memory_of, parse_size, process, ratio
from tf_segformer import resampling
from tf_segformer.preprocessing import ImageProcessing, preprocess

SIZES = ["640x427", "427x640", "320x240", "1280x960", "1920x1080", "4000x3000", "3000x4000"]
PIXELS, SCALAR = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.int32)


def set_threads(threads: int) -> None:
    """Set TensorFlow's, before its first operation."""
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


Sides = dict[str, Callable[[], np.ndarray]]


def resize_sides(target: tuple[int, int], resample: int) -> Callable[[np.ndarray], Sides]:
    """Return what makes both sides of a resize for some pixels."""
    in_graph = tf.function(
        lambda pixels, height, width: resampling.resize(pixels, height, width, resample),
        input_signature=[PIXELS, SCALAR, SCALAR],
        autograph=False,
    )

    def sides(pixels: np.ndarray) -> Sides:
        image, tensor = Image.fromarray(pixels), tf.constant(pixels)
        height, width = map(tf.constant, target)
        return {
            "pillow": lambda: np.asarray(image.resize(target[::-1], resample)),
            "ours": lambda: in_graph(tensor, height, width).numpy(),
        }

    return sides


def preprocess_sides(target: tuple[int, int], resample: int) -> Callable[[np.ndarray], Sides]:
    """Return what makes both sides of the whole preprocessing for some pixels."""
    config = {"size": {"height": target[0], "width": target[1]}, "resample": resample}
    processor, processing = SegformerImageProcessorPil(**config), ImageProcessing.from_dict(config)
    in_graph = tf.function(
        lambda pixels: preprocess(pixels, processing), input_signature=[PIXELS], autograph=False
    )

    def sides(pixels: np.ndarray) -> Sides:
        image, tensor = Image.fromarray(pixels), tf.constant(pixels)
        return {
            "pillow": lambda: np.moveaxis(processor(image, return_tensors="np")["pixel_values"][0], 0, -1),
            "ours": lambda: in_graph(tensor).numpy(),
        }

    return sides


TASKS = {"resize": resize_sides, "resize and normalise": preprocess_sides}


def compare(sides: Sides, repeats: int) -> dict[str, Any]:
    """Time both sides in turns and compare their results."""
    results = {name: run() for name, run in sides.items()}
    times = in_turns(sides, repeats)
    return {
        "seconds": {name: statistics.median(values) for name, values in times.items()},
        "ratio": ratio(times["ours"], times["pillow"]),
        "different": int(np.count_nonzero(results["ours"] != results["pillow"])),
        "all_seconds": times,
    }


def noise(size: str) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*parse_size(size), 3), np.uint8)


def measure_memory(
    side: str, task: str, resample: int, size: str, target: str, threads: int, connection: Any
) -> None:
    """Send the bytes that one call adds; runs in a process of its own."""
    set_threads(threads)
    make = TASKS[task](parse_size(target), resample)
    make(noise("64x64"))[side]()
    connection.send(memory_of(make(noise(size))[side]).extra)


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of the table. The options are those of the command line."""
    set_threads(options.threads)
    rows = []
    for task, name in itertools.product(options.tasks, options.filters):
        resample = int(Image.Resampling[name])
        make = TASKS[task](parse_size(options.target), resample)
        for size in options.sizes:
            print(f"{task}, {name}, {size} …", file=sys.stderr, flush=True)
            row = {"task": task, "filter": name, "size": size, **compare(make(noise(size)), options.repeats)}
            if options.memory:
                row["extra_bytes"] = {}
                for side in ("pillow", "ours"):
                    what = side, task, resample, size, options.target, options.threads
                    with process(measure_memory, *what) as connection:
                        row["extra_bytes"][side] = connection.recv()
            rows.append(row)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| task | filter | photograph | Pillow | here | here ÷ Pillow | Pillow's memory | here "
        "| values that differ |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        pillow, ours = (f"{1000 * row['seconds'][side]:.2f} ms" for side in ("pillow", "ours"))
        memory = {side: f"{taken / 1e6:.0f} MB" for side, taken in row.get("extra_bytes", {}).items()}
        lines.append(
            f"| {row['task']} | {row['filter']} | {row['size']} | {pillow} | {ours} | {row['ratio']} "
            f"| {memory.get('pillow', '')} | {memory.get('ours', '')} | {row['different']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="WIDTHxHEIGHT")
    parser.add_argument("--target", default="512x512", metavar="WIDTHxHEIGHT")
    parser.add_argument("--filters", nargs="+", default=["BILINEAR"], help="by Pillow's names")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--memory", action="store_true", help="measure that too, in fresh processes")
    parser.add_argument("--json", type=Path, help="also write every measured time here")
    arguments = parser.parse_args()
    rows = measure(arguments)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({**vars(arguments), "json": None, "rows": rows}, indent=1))
        print(f"Every measured time: {arguments.json}")


if __name__ == "__main__":
    main()
