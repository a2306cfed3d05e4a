"""Named arrays of any origin, compared by the rules of the harness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from parity.compare import Lane, judge
from parity.row import Row
from parity.thresholds import Thresholds


def compare_arrays(
    reference: Mapping[str, np.ndarray],
    candidate: Mapping[str, np.ndarray],
    *,
    names: tuple[str, str] = ("reference", "candidate"),
    thresholds: Thresholds | None = None,
) -> Lane:
    """Compare named arrays of any origin.

    float32 arrays are held against the gate of logits and float64 arrays against the float64 gate, both
    × the array's scale; integers and booleans must be equal. Names must be the same on both sides.

    Args:
        reference: what counts as true.
        candidate: what is judged.
        names: of the two sides, for reports.
        thresholds: a project's own gates; the harness's by default.
    """
    gates = thresholds or Thresholds()
    multiples = {"float32": gates.logits_float32, "float64": gates.float64}
    rows = []
    for name in dict.fromkeys([*reference, *candidate]):
        if name not in reference or name not in candidate:
            only, other = names if name in reference else reversed(names)
            rows.append(Row("arrays", name, False, f"only the {only} has it: missing from the {other}"))
            continue
        ours, theirs = reference[name], candidate[name]
        if ours.dtype.kind in "iub":
            row = judge("arrays", name, ours, theirs, 0.0)
            # The statistics are in float64, where integers beyond 2^53 may seem equal.
            same = row.passed and np.array_equal(ours, theirs)
            rows.append(row if same else replace(row, passed=False, note=row.note or "not equal"))
        elif str(ours.dtype) in multiples:
            rows.append(judge("arrays", name, ours, theirs, multiples[str(ours.dtype)]))
        else:
            note = f"there is no gate for {ours.dtype}: give float32, float64, integers or booleans"
            rows.append(Row("arrays", name, False, note))
    if not rows:
        rows.append(Row("none", "nothing", False, "nothing was compared: there was no array"))
    return Lane("any", *names, ("arrays",), tuple(rows))
