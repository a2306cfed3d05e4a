"""How fast is the resize of the graph, against Pillow's, which it equals bit for bit?

    python -m benchmarks.resize --json resize.json

Both sides take the same pixels (noise: the time does not depend on them) and run in turns in one
process; times are medians. Pillow uses one thread, the graph `--threads`. "and normalise" is the
whole of the preprocessing, against transformers' PIL processor. That the results are equal is
checked once per row.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image
from transformers import SegformerImageProcessorPil

from benchmarks.label_map import parse_size
from tf_segformer import resampling
from tf_segformer.preprocessing import ImageProcessing, preprocess

SIZES = ["640x427", "427x640", "320x240", "1280x960", "1920x1080", "4000x3000", "3000x4000"]
PIXELS, SCALAR = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.int32)

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
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    return {
        "seconds": seconds,
        "ratio": seconds["ours"] / seconds["pillow"],
        "different": int(np.count_nonzero(results["ours"] != results["pillow"])),
        "all_seconds": times,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = ["| task | filter | photograph | Pillow | here | here / Pillow | values that differ |"]
    lines.append("|---|---|---|---|---|---|---|")
    for row in rows:
        lines.append(
            f"| {row['task']} | {row['filter']} | {row['size']} | {1000 * row['seconds']['pillow']:.2f} ms "
            f"| {1000 * row['seconds']['ours']:.2f} ms | {row['ratio']:.2f} | {row['different']} |"
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
    parser.add_argument("--json", type=Path, help="also write every measured time here")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
    rows = []
    for task in arguments.tasks:
        for name in arguments.filters:
            make = TASKS[task](parse_size(arguments.target), int(Image.Resampling[name]))
            for size in arguments.sizes:
                print(f"{task}, {name}, {size} …", file=sys.stderr, flush=True)
                pixels = np.random.default_rng(0).integers(0, 256, (*parse_size(size), 3), np.uint8)
                row = compare(make(pixels), arguments.repeats)
                rows.append({"task": task, "filter": name, "size": size, **row})
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({**vars(arguments), "json": None, "rows": rows}, indent=1))
        print(f"Every measured time: {arguments.json}")


if __name__ == "__main__":
    main()
