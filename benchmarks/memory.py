"""How much memory does a call take at its peak, the network's and a whole request's?

Each measurement is in a fresh process that has loaded its model. The network's is its first call, so that
what it allocates once is in it; a request's comes after a small one. Linux only. Part of
`python -m benchmarks`.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import memory_of, process, resident
from benchmarks.models import prepare, require_export
from benchmarks.sides import EAGER, OURS, OURS_BFLOAT16, exports_of, side
from benchmarks.turns import SideError, answer_of, describe, say

Options = dict[str, Any]
DEFAULTS: Options = {
    "variant": "b4",
    "size": 512,
    "batches": [1, 8],
    "sides": [OURS, OURS_BFLOAT16, EAGER, "ONNX Runtime", "OpenVINO", "transformers' TensorFlow class"],
    "photographs": ["640x427", "4000x3000"],
    "threads": 2,
}


def network(name: str, work: Path, shape: tuple[int, ...], threads: int, connection: Any) -> None:
    """Send what the network's first call takes; runs in a process of its own."""
    try:
        built = side(name).build(work, shape, threads)
        given = built.prepare(np.random.default_rng(0).standard_normal(shape).astype(np.float32))
        connection.send(("done", built.memory(given)._asdict()))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def request(name: str, work: Path, photograph: str, threads: int, connection: Any) -> None:
    """Send what a request takes, from a photograph's bytes to its mask; runs in a process of its own."""
    from benchmarks import request as requests

    try:
        if name == EAGER:
            answer = requests.pytorch(work, threads).request
        else:
            answer = served(work, side(name).arguments.get("export", "float32"), threads)
        data = requests.photograph(photograph)
        answer(requests.photograph("64x64"))
        before = resident("VmRSS")
        taken = memory_of(lambda: answer(data))
        connection.send(("done", {**taken._asdict(), "before": before}))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def served(work: Path, export: str, threads: int) -> Any:
    """Return an export's `serving_default` in a Session: an image's bytes to its mask's."""
    from benchmarks.sides.ours import session_of

    session, signatures = session_of(require_export(work, export), threads)
    signature = signatures["serving_default"]
    (given,) = signature.inputs.values()
    run = session.make_callable(signature.outputs["mask_png_bytes"].name, [given.name])
    return lambda data: run(np.array([data], object))[0]


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Measure every side.

    Returns:
        "options"; "network" and "request": by batch or photograph and then side, "extra" and "peak" in bytes,
        or "problem".
    """
    options = {**DEFAULTS, **options}
    work = prepare(models, options["variant"], exports=exports_of(options["sides"]))
    result: dict[str, Any] = {"options": options, "network": {}, "request": {}}
    for batch in options["batches"]:
        shape = (batch, 3, options["size"], options["size"])
        result["network"][str(batch)] = {
            name: taken(network, name, work, shape, options["threads"]) for name in options["sides"]
        }
    for photograph in options["photographs"]:
        result["request"][photograph] = {
            name: taken(request, name, work, photograph, options["threads"])
            for name in options["sides"]
            if name in (OURS, OURS_BFLOAT16, EAGER)
        }
    return result


def taken(target: Any, name: str, work: Path, what: Any, threads: int) -> dict[str, Any]:
    """Return one measurement, or its problem."""
    if problem := side(name).missing(work):
        return {"problem": problem}
    say(f"{name}, {what} …")
    with process(target, name, work, what, threads) as connection:
        try:
            answer: dict[str, Any] = answer_of(connection)
        except SideError as error:
            return {"problem": str(error)}
    return answer


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options = result["options"]
    columns = {
        f"network, {batch} × {options['size']} × {options['size']}": answers
        for batch, answers in result["network"].items()
    }
    columns |= {f"request, {photograph}": answers for photograph, answers in result["request"].items()}
    lines = [f"**{options['variant'].upper()}**, megabytes: added by the call (peak of the process)", ""]
    lines += ["| | " + " | ".join(columns) + " |", "|---|" + "---:|" * len(columns)]
    for name in options["sides"]:
        cells = []
        for answers in columns.values():
            found = answers.get(name)
            if found is None:
                cells.append("")
            elif "problem" in found:
                cells.append(found["problem"])
            else:
                cells.append(f"{found['extra'] / 1e6:.0f} ({found['peak'] / 1e6:.0f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
