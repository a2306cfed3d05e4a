"""Which operations take an export's time?

    python -m benchmarks.operations MODEL_VERSION --size 512 --threads 2

Traces the `logits` signature in a TF1 Session (`RunOptions.FULL_TRACE`) and prints, by kind of operation, the
sum of each one's median time. Tracing costs time itself, and operations that run at the same time all count:
read the shares, not the times.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections import Counter, defaultdict
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from benchmarks.sides.ours import session_of


def kinds(version: Path, size: int, threads: int, repeats: int) -> tuple[dict[str, float], Counter[str]]:
    """Return, by kind of operation, its milliseconds and how many there are."""
    session, signatures = session_of(version, threads, threads)
    signature = signatures["logits"]
    logits, values = signature.outputs["logits"].name, signature.inputs["pixel_values"].name
    images = np.random.default_rng(0).standard_normal((1, size, size, 3)).astype(np.float32)
    options = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for repeat in range(repeats + 3):
        metadata = tf.compat.v1.RunMetadata()
        session.run(logits, {values: images}, options, metadata)
        if repeat < 3:  # the first optimise the graph and warm up
            continue
        for device in metadata.step_stats.dev_stats:
            for node in device.node_stats:
                label = node.timeline_label  # "name = Kind(inputs)"
                kind = label.split("=")[1].split("(")[0].strip() if "=" in label else label
                taken = node.op_end_rel_micros - node.op_start_rel_micros
                times[kind, node.node_name].append(taken / 1000)
    sums: defaultdict[str, float] = defaultdict(float)
    for (kind, _), taken_by_node in times.items():
        sums[kind] += statistics.median(taken_by_node)
    return dict(sums), Counter(kind for kind, _ in times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("version", type=Path, help="models/NAME/VERSION, an export")
    parser.add_argument("--size", type=int, default=512, help="height and width of the image")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--rows", type=int, default=16)
    arguments = parser.parse_args()
    sums, counts = kinds(arguments.version, arguments.size, arguments.threads, arguments.repeats)
    total = sum(sums.values())
    print("| operation | number | share | ms |\n|---|---:|---:|---:|")
    for kind, taken in sorted(sums.items(), key=lambda item: -item[1])[: arguments.rows]:
        print(f"| {kind} | {counts[kind]} | {taken / total:.1%} | {taken:.1f} |")


if __name__ == "__main__":
    main()
