"""How close does the network come to the time that its multiply-adds need on this machine?

A large matrix product in TensorFlow and in PyTorch is timed in turns with the network; the faster one is the
machine's rate. The floor is the network's multiply-adds, folded or not, at that rate. Part of
`python -m benchmarks`.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.models import prepare
from benchmarks.multiply_adds import count, table
from benchmarks.sides import EAGER, OURS, OURS_BFLOAT16, PRODUCTS, exports_of, side
from benchmarks.turns import compare
from tf_segformer.processor import bfloat16_obstacle

Options = dict[str, Any]
FOLDED = (OURS, OURS_BFLOAT16, "OpenVINO, given our fold", "ONNX Runtime, given our fold")
DEFAULTS: Options = {
    "variants": ["b0", "b4"],
    "size": 512,
    "sides": [*FOLDED, EAGER, "OpenVINO", "ONNX Runtime"],
    "threads": 2,
    "repeats": 11,
    "together": 6,
}


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Time networks and products in turns.

    Returns:
        "options", and for each variant "rows", "products" (rows too) and "counts" (as published, folded).
    """
    from benchmarks.sides.products import SIZE
    from tf_segformer import variant_config

    options = {**DEFAULTS, **options}
    shape = (1, 3, options["size"], options["size"])
    products = [name for name in PRODUCTS if name.startswith("matrix product")]
    networks = options["sides"]
    if bfloat16_obstacle():  # the products say why; a network without a rate takes minutes for no figure
        networks = [name for name in networks if side(name).precision != "bfloat16"]
    result: dict[str, Any] = {"options": options, "product_size": SIZE, "variants": {}}
    for variant in options["variants"]:
        config = variant_config(variant, num_labels=150)
        rows = compare(
            # The products before the peers, so that they are in a group with the exports.
            [*products, *networks],
            prepare(models, variant, exports=exports_of(networks)),
            shape,
            options["threads"],
            options["repeats"],
            options["together"],
        )
        result["variants"][variant] = {
            "rows": [row for row in rows if row["side"] not in products],
            "products": [row for row in rows if row["side"] in products],
            "counts": [count(config, shape[2:], folded=folded) for folded in (False, True)],
        }
    return result


def rates(products: list[dict[str, Any]], size: int) -> dict[str, float]:
    """Return the best multiply-adds a second of each precision."""
    found: dict[str, float] = {}
    for row in products:
        if row["seconds"]:
            rate = size**3 / statistics.median(row["seconds"])
            found[row["precision"]] = max(rate, found.get(row["precision"], 0.0))
    return found


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = ["Matrix product of " + " × ".join([str(result["product_size"])] * 3) + ":", ""]
    lines += ["| | billion multiply-adds a second |", "|---|---:|"]
    for variant, found in result["variants"].items():
        for row in found["products"]:
            rate = row["problem"]
            if row["seconds"]:
                rate = f"{result['product_size'] ** 3 / statistics.median(row['seconds']) / 1e9:.1f}"
            lines.append(f"| {row['side']}, beside {variant.upper()} | {rate} |")
    lines += ["", "| | | multiply-adds, billions | floor | measured | times the floor |"]
    lines += ["|---|---|---:|---:|---:|---:|"]
    for variant, found in result["variants"].items():
        best = rates(found["products"], result["product_size"])
        for row in found["rows"]:
            head = f"| {variant.upper()} | {row['side']} |"
            if row["problem"] or not row["seconds"] or row["precision"] not in best:
                lines.append(f"{head} | | {row['problem'] or 'no rate was measured'} | |")
                continue
            needed = sum(found["counts"][row["side"] in FOLDED].values())
            floor, taken = needed / best[row["precision"]], statistics.median(row["seconds"])
            lines.append(f"{head} {needed / 1e9:.1f} | {floor:.3f} s | {taken:.3f} s | {taken / floor:.2f} |")
    counts = {variant: tuple(found["counts"]) for variant, found in result["variants"].items()}
    return "\n".join([*lines, "", table(counts)])
