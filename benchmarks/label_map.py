"""How fast, how large and how equal is the label map, against PyTorch's resize and argmax?

    python -m benchmarks.label_map --sizes 512x512 2048x1536 --json label_map.json

Both sides take the same logits (128 x 128 x 150 by default) and run in turns in one process, on
the same number of threads; times are medians, ratios those of pairs, with their quartiles. Memory
is the peak of the resident set over one call, in a fresh process that has made one small call
before, less the result. "regions" are logits such as a trained model's (25 regions with rough
edges, one class far ahead in each); "noise", where no two neighbours agree, is the worst case.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measuring import Ratio, in_turns, memory_of, parse_size, ratio

TASKS = ("labels", "confidence")


def regions(height: int, width: int, classes: int, seed: int = 0) -> np.ndarray:
    """Return logits [height, width, classes] such as a trained model's."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, [height, width], (25, 2))
    winners = random.integers(0, classes, 25)
    y, x = (axis + rough(height, width, random) for axis in np.mgrid[:height, :width])
    distance = (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2
    region = winners[distance.argmin(axis=-1)]
    ahead = np.pad((region[..., None] == np.arange(classes)) * 12.0, ((1, 1), (1, 1), (0, 0)), "edge")
    sides = ahead[:-2, 1:-1] + ahead[2:, 1:-1] + ahead[1:-1, :-2] + ahead[1:-1, 2:]
    logits = (2 * ahead[1:-1, 1:-1] + sides) / 6
    for label in range(classes):
        logits[..., label] += 1.5 * smooth(height, width, 16, random)
    return (logits + random.normal(0, 0.2, logits.shape)).astype(np.float32)


def noise(height: int, width: int, classes: int, seed: int = 0) -> np.ndarray:
    """Return logits [height, width, classes] in which no two neighbours agree."""
    return np.random.default_rng(seed).standard_normal((height, width, classes), np.float32)


KINDS = {"regions": regions, "noise": noise}


def smooth(height: int, width: int, period: int, random: np.random.Generator) -> np.ndarray:
    """Return a smooth random field [height, width] of about unit variance."""
    knots = random.standard_normal((height // period + 2, width // period + 2))
    y, x = np.arange(height) / period, np.arange(width) / period
    rows = np.stack([np.interp(y, np.arange(len(knots)), column) for column in knots.T], axis=1)
    return np.stack([np.interp(x, np.arange(rows.shape[1]), row) for row in rows])


def rough(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Return how far the regions' edges are displaced, in logits [height, width]."""
    fine = random.standard_normal((height, width))
    return (3 * smooth(height, width, 8, random) + 0.8 * fine) * min(height, width) / 128


def this_project(task: str, logits: np.ndarray, threads: int) -> Callable[[int, int], np.ndarray]:
    """Return a function of height and width."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    from tf_segformer.confidence import confidence_map
    from tf_segformer.postprocessing import label_map

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    size = tf.TensorSpec([], tf.int32)
    function = {"labels": label_map, "confidence": confidence_map}[task]
    compiled = tf.function(
        lambda logits, height, width: function(logits, height, width),
        input_signature=[tf.TensorSpec([None, None, logits.shape[-1]]), size, size],
    )
    tensor = tf.constant(logits)
    return lambda height, width: compiled(tensor, height, width).numpy()


def pytorch(task: str, logits: np.ndarray, threads: int) -> Callable[[int, int], np.ndarray]:
    """Return a function of height and width: what the reference does."""
    import torch

    torch.set_num_threads(threads)
    tensor = torch.from_numpy(np.ascontiguousarray(logits.transpose(2, 0, 1)))[None]

    def run(height: int, width: int) -> np.ndarray:
        resized = torch.nn.functional.interpolate(tensor, size=(height, width), mode="bilinear")[0]
        if task == "labels":
            return resized.argmax(dim=0).numpy()
        return (255 * resized.softmax(dim=0).amax(dim=0)).round().byte().numpy()

    return run


SIDES = {"ours": this_project, "pytorch": pytorch}


def peak_memory(side: str, task: str, kind: str, shape: list[int], size: str, threads: int) -> float:
    """Return the megabytes that one call adds to the resident set at its peak, less the result."""
    command = [sys.executable, "-m", "benchmarks.label_map", "--measure-memory", side]
    command += ["--tasks", task, "--kinds", kind, "--sizes", size, "--threads", str(threads)]
    command += ["--logits", *map(str, shape)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure_memory(side: str, task: str, logits: np.ndarray, size: str, threads: int) -> float:
    """Do `peak_memory`'s work, in its process. Linux only."""
    run = SIDES[side](task, logits, threads)
    run(64, 64)
    results: list[np.ndarray] = []
    taken = memory_of(lambda: results.append(run(*parse_size(size))))
    return (taken.extra - results[0].nbytes) / 1e6


def compare(task: str, kind: str, size: str, arguments: argparse.Namespace) -> dict:
    """Measure one row of the table."""
    logits = KINDS[kind](*arguments.logits)
    sides = {name: make(task, logits, arguments.threads) for name, make in SIDES.items()}
    target = parse_size(size)
    results = {name: run(*target) for name, run in sides.items()}
    times = in_turns({name: partial(run, *target) for name, run in sides.items()}, arguments.repeats)
    seconds = {name: statistics.median(values) for name, values in times.items()}
    row = {"task": task, "kind": kind, "size": size, "seconds": seconds, "all_seconds": times}
    row["ratio"] = ratio_of(row)
    difference = results["ours"].astype(int) - results["pytorch"]
    row["different"] = int(np.count_nonzero(difference))
    row["largest_difference"] = int(np.abs(difference).max())
    if task == "labels":
        row["beyond_rounding"] = beyond_rounding(logits, results["ours"], results["pytorch"])
    if not arguments.no_memory:
        row["megabytes"] = {
            name: peak_memory(name, task, kind, arguments.logits, size, arguments.threads) for name in sides
        }
    return row


def ratio_of(row: dict) -> Ratio:
    """Return how many times faster our side was."""
    return ratio(row["all_seconds"]["pytorch"], row["all_seconds"]["ours"])


def measure(options: argparse.Namespace) -> list[dict]:
    """Return the rows of the table. The options are those of the command line."""
    rows = []
    for task, kind, size in itertools.product(options.tasks, options.kinds, options.sizes):
        print(f"{task}, {kind}, {size} …", file=sys.stderr, flush=True)
        rows.append(compare(task, kind, size, options))
    return rows


def beyond_rounding(logits: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> int:
    """Count the pixels at which our class is, in float64, below theirs by more than rounding."""
    y, x = np.nonzero(ours != theirs)

    def neighbours(pixel: np.ndarray, source: int, target: int) -> tuple[np.ndarray, ...]:
        position = np.maximum((pixel + 0.5) * source / target - 0.5, 0)
        first = position.astype(int)
        return first, np.minimum(first + 1, source - 1), position - first

    top, bottom, down = neighbours(y, logits.shape[0], ours.shape[0])
    left, right, across = neighbours(x, logits.shape[1], ours.shape[1])

    def value(label: np.ndarray) -> np.ndarray:
        above = (1 - across) * logits[top, left, label] + across * logits[top, right, label]
        below = (1 - across) * logits[bottom, left, label] + across * logits[bottom, right, label]
        return (1 - down) * above + down * below

    lost = value(theirs[y, x]) - value(ours[y, x])
    return int(np.count_nonzero(lost > 6 * np.finfo(np.float32).eps * np.abs(logits).max()))


def table(rows: list[dict]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| task | logits | photograph | PyTorch | here | times faster | PyTorch's memory | here "
        "| pixels that differ | beyond rounding |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        memory = {name: f"{value:.0f} MB" for name, value in row.get("megabytes", {}).items()}
        lines.append(
            f"| {row['task']} | {row['kind']} | {row['size']} | {row['seconds']['pytorch']:.3f} s "
            f"| {row['seconds']['ours']:.3f} s | {row['ratio']} | {memory.get('pytorch', '')} "
            f"| {memory.get('ours', '')} | {row['different']} | {row.get('beyond_rounding', '-')} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["512x512", "640x427", "2048x1536"])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["labels"])
    parser.add_argument("--logits", nargs=3, type=int, default=[128, 128, 150], metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, help="also write every measured time here")
    parser.add_argument("--measure-memory", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure_memory:
        task, kind, size = arguments.tasks[0], arguments.kinds[0], arguments.sizes[0]
        logits = KINDS[kind](*arguments.logits)
        print(measure_memory(arguments.measure_memory, task, logits, size, arguments.threads))
        return
    rows = measure(arguments)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps({"threads": arguments.threads, "rows": rows}, indent=1))
        print(f"Every measured time: {arguments.json}")


if __name__ == "__main__":
    main()
