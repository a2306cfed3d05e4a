"""Which threads, batches and numbers of callers answer the most images a second on this machine?

An export's `serving_default`, from the bundled photograph's bytes to its mask, in a Session, as a server runs
it. The callers share the Session. Part of `python -m benchmarks`.
"""

from __future__ import annotations

import itertools
import statistics
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import process
from benchmarks.models import prepare, require_export
from benchmarks.turns import SideError, answer_of, describe, say

Options = dict[str, Any]
DEFAULTS: Options = {
    "variant": "b0",
    "export": "float32",
    "intra_op": [1, 2],
    "inter_op": [1, 2],
    "callers": [1, 2, 4],
    "batches": [1, 2, 4, 8],
    "seconds": 5.0,
}


def serve(
    folder: Path, intra_op: int, inter_op: int, cases: list[tuple[int, int]], seconds: float, connection: Any
) -> None:
    """Measure cases (callers, batch) under one Session's threads; runs in a process of its own."""
    try:
        from benchmarks.request import photograph
        from benchmarks.sides.ours import session_of

        session, signatures = session_of(folder, intra_op, inter_op)
        signature = signatures["serving_default"]
        (given,) = signature.inputs.values()
        run = session.make_callable(signature.outputs["mask_png_bytes"].name, [given.name])
        data = photograph("640x427")
        for callers, batch in cases:
            files = np.array([data] * batch, object)
            run(files)
            connection.send(("done", load(lambda files=files: run(files), callers, batch, seconds)))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def load(call: Any, callers: int, batch: int, seconds: float) -> dict[str, Any]:
    """Let callers call without a pause for some seconds, at least once each.

    Returns:
        "images_per_second", and "latencies" of all calls, in seconds.
    """
    latencies: list[float] = []
    begin = time.perf_counter()

    def caller() -> None:
        while True:
            start = time.perf_counter()
            call()
            latencies.append(time.perf_counter() - start)
            if time.perf_counter() - begin > seconds:
                return

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = time.perf_counter() - begin
    return {"images_per_second": batch * len(latencies) / taken, "latencies": latencies}


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Measure every combination.

    Returns:
        "options" and "rows": "intra_op", "inter_op", "callers", "batch", and what `load` gives or "problem".
    """
    options = {**DEFAULTS, **options}
    folder = require_export(
        prepare(models, options["variant"], exports=(options["export"],)), options["export"]
    )
    cases = list(itertools.product(options["callers"], options["batches"]))
    rows: list[dict[str, Any]] = []
    for intra_op, inter_op in itertools.product(options["intra_op"], options["inter_op"]):
        say(f"intra_op {intra_op}, inter_op {inter_op} …")
        with process(serve, folder, intra_op, inter_op, cases, options["seconds"]) as connection:
            for callers, batch in cases:
                row = {"intra_op": intra_op, "inter_op": inter_op, "callers": callers, "batch": batch}
                try:
                    rows.append({**row, **answer_of(connection)})
                except SideError as error:
                    rows.append({**row, "problem": str(error)})
                    break
    return {"options": options, "rows": rows}


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown: images a second, with the median and 95th percentile of latency."""
    options = result["options"]
    callers_and_batches = list(itertools.product(options["callers"], options["batches"]))
    cells = {
        (row["intra_op"], row["inter_op"], row["callers"], row["batch"]): cell(row) for row in result["rows"]
    }
    threads = list(itertools.product(options["intra_op"], options["inter_op"]))
    lines = [
        f"**{options['variant'].upper()}**, {options['export']}, 640 × 427: images a second "
        "(median and 95th percentile of a call, milliseconds)",
        "",
        "| callers | batch | " + " | ".join(f"intra_op {a}, inter_op {b}" for a, b in threads) + " |",
        "|---:|---:|" + "---:|" * len(threads),
    ]
    for callers, batch in callers_and_batches:
        line = [cells.get((*pair, callers, batch), "–") for pair in threads]
        lines.append(f"| {callers} | {batch} | " + " | ".join(line) + " |")
    return "\n".join(lines)


def cell(row: dict[str, Any]) -> str:
    """Return one cell."""
    if "problem" in row:
        return str(row["problem"])
    ordered = sorted(row["latencies"])
    late = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    middle = statistics.median(ordered)
    return f"{row['images_per_second']:.2f} ({1e3 * middle:.0f}, {1e3 * late:.0f})"
