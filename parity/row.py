"""One line of a comparison: a tensor or a label map, its errors, its gate, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from parity.label_statistics import LabelErrors
from parity.statistics import ArrayErrors
from parity.tolerances import Gate


@dataclass(frozen=True)
class Row:
    """One compared tensor or label map.

    Attributes:
        level: the comparison level it belongs to.
        name: the tap's name, or the level's.
        passed: the verdict on this row.
        note: why it failed, or what was special; empty if there is nothing to say.
        errors: statistics of an array (None if they could not be taken).
        gate: what the errors were held against.
        labels: statistics of a label map.
    """

    level: str
    name: str
    passed: bool
    note: str = ""
    errors: ArrayErrors | None = None
    gate: Gate | None = None
    labels: LabelErrors | None = None

    @property
    def ratio(self) -> float:
        """Error ÷ gate; infinite for what failed without a number, 0 for label maps that pass."""
        if self.errors is not None and self.gate is not None and self.errors.finite:
            return self.gate.ratio(self.errors.max_abs)
        return 0.0 if self.passed else float("inf")

    @classmethod
    def judged(cls, level: str, name: str, errors: ArrayErrors, gate: Gate) -> Row:
        """The row of an array whose errors are held against a gate; a value that is not finite fails."""
        if not errors.finite:
            note = (
                f"not finite: {errors.non_finite_reference} values of the reference, "
                f"{errors.non_finite_candidate} of the candidate"
            )
            return cls(level, name, False, note, errors, gate)
        passed = errors.max_abs <= gate.limit
        note = "" if passed else f"{gate.ratio(errors.max_abs):.3g} × the gate"
        return cls(level, name, passed, note, errors, gate)
