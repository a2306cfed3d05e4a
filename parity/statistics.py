"""Error statistics of one pair of arrays: how far the candidate is from the reference, and where.

All differences are taken in float64, whatever the arrays' own dtype, so that the statistics add no
rounding of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Elements compared at a time: their float64 values stay in the processor's cache.
BLOCK = 1 << 16


class ShapesDifferError(ValueError):
    """The two arrays cannot be compared element by element."""


@dataclass(frozen=True)
class Spread:
    """How some errors are distributed. Exact: every error is counted, none is estimated.

    Attributes:
        max: the largest.
        mean: their mean.
        median: the smallest error that at least half of them do not exceed.
        p99: the smallest error that at least 99 % of them do not exceed.
    """

    max: float
    mean: float
    median: float
    p99: float

    @classmethod
    def of(cls, errors: np.ndarray) -> Spread:
        """Measure float64 errors (n,), n ≥ 1, without NaN; **their order is lost**."""
        mean = float(errors.mean())
        middle, last = (math.ceil(share * errors.size) - 1 for share in (0.5, 0.99))
        # A partition puts one element in its place, in a time that grows as n; a sort would order all.
        errors.partition(middle)
        median = float(errors[middle])
        upper = errors[middle:]
        upper.partition(last - middle)
        return cls(float(upper[last - middle :].max()), mean, median, float(upper[last - middle]))


NO_ERROR = Spread(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class ArrayErrors:
    """What is known about the difference of two arrays of one shape.

    Attributes:
        shape: shape of both arrays.
        scale: largest finite absolute value of the reference. Errors are judged against it, because
            one rounding of the largest value already moves the tensor by about ``eps * scale``.
        absolute: the absolute differences over the finite positions.
        relative: the absolute difference ÷ the reference's absolute value, over the finite positions where
            the reference is not zero; None if there are none. They are shown and never judged: beside a
            value that cancels to nearly zero, a rounding is a large share of it.
        worst_index: position of the largest absolute difference, or of the first value that is not finite.
        worst_reference: the reference's value at ``worst_index``.
        worst_candidate: the candidate's value at ``worst_index``.
        non_finite_reference: count of NaN and infinite values in the reference.
        non_finite_candidate: count of NaN and infinite values in the candidate.
    """

    shape: tuple[int, ...]
    scale: float
    absolute: Spread
    relative: Spread | None
    worst_index: tuple[int, ...]
    worst_reference: float
    worst_candidate: float
    non_finite_reference: int
    non_finite_candidate: int

    @property
    def max_abs(self) -> float:
        """The largest absolute difference."""
        return self.absolute.max

    @property
    def error_over_scale(self) -> float:
        """Largest error in units of the tensor's scale (0 for a tensor of zeros that is equal)."""
        if self.max_abs == 0.0:
            return 0.0
        return self.max_abs / self.scale if self.scale > 0.0 else float("inf")

    @property
    def finite(self) -> bool:
        """Whether every value on both sides is finite."""
        return self.non_finite_reference == 0 and self.non_finite_candidate == 0


def array_errors(reference: np.ndarray, candidate: np.ndarray) -> ArrayErrors:
    """Measure the difference of two arrays of any real dtype.

    Args:
        reference: array that counts as true, any shape, at least one element.
        candidate: array of the same shape.

    Returns:
        The statistics; values that are not finite are counted and left out of all errors.

    Raises:
        ShapesDifferError: the shapes differ (nothing is ever broadcast).
        ValueError: the arrays are empty: comparing nothing proves nothing.
    """
    ours, theirs = _flat(reference, candidate)
    absolute, relative = np.empty((2, ours.size))
    scale = largest = 0.0
    compared = divided = bad_reference = bad_candidate = worst = 0
    first_bad: int | None = None
    for start in range(0, ours.size, BLOCK):
        left = ours[start : start + BLOCK].astype(np.float64)
        right = theirs[start : start + BLOCK].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            error = np.abs(right - left)
            # A NaN or an infinity on either side makes the sum one too.
            clean = np.isfinite(error.sum())
        np.abs(left, out=left)
        if not clean:
            finite_left, finite_right = np.isfinite(left), np.isfinite(right)
            bad_reference += int(np.count_nonzero(~finite_left))
            bad_candidate += int(np.count_nonzero(~finite_right))
            scale = max(scale, float(left[finite_left].max(initial=0.0)))
            finite = finite_left & finite_right
            if first_bad is None and not finite.all():
                first_bad = start + int(np.argmin(finite))
            left, error = left[finite], error[finite]
        if error.size == 0:
            continue
        scale = max(scale, float(left.max()))
        position = int(np.argmax(error))
        if error[position] > largest:
            # Once a value is not finite, that one is shown as the worst, and not a position.
            largest, worst = float(error[position]), start + position
        absolute[compared : compared + error.size] = error
        compared += error.size
        if not left.all():
            error, left = error[left > 0.0], left[left > 0.0]
        with np.errstate(over="ignore"):
            np.divide(error, left, out=relative[divided : divided + error.size])
        divided += error.size
    worst = worst if first_bad is None else first_bad
    return ArrayErrors(
        shape=tuple(reference.shape),
        scale=scale,
        absolute=Spread.of(absolute[:compared]) if largest > 0.0 else NO_ERROR,
        relative=None if not divided else Spread.of(relative[:divided]) if largest > 0.0 else NO_ERROR,
        worst_index=tuple(int(i) for i in np.unravel_index(worst, reference.shape)),
        worst_reference=float(ours[worst]),
        worst_candidate=float(theirs[worst]),
        non_finite_reference=bad_reference,
        non_finite_candidate=bad_candidate,
    )


def largest_error(reference: np.ndarray, candidate: np.ndarray) -> float | None:
    """The largest absolute difference of two arrays; None if a value is not finite.

    Raises:
        ShapesDifferError: the shapes differ.
        ValueError: the arrays are empty.
    """
    ours, theirs = _flat(reference, candidate)
    largest = 0.0
    for start in range(0, ours.size, BLOCK):
        left = ours[start : start + BLOCK].astype(np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            np.subtract(theirs[start : start + BLOCK], left, out=left)
        # NaN wins both; an infinity on both sides is a NaN in the difference.
        low, high = float(left.min()), float(left.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        largest = max(largest, high, -low)
    return largest


def _flat(reference: np.ndarray, candidate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if reference.shape != candidate.shape:
        raise ShapesDifferError(f"shapes differ: reference {reference.shape}, candidate {candidate.shape}")
    if reference.size == 0:
        raise ValueError(f"nothing to compare: both arrays are empty (shape {reference.shape})")
    return reference.reshape(-1), candidate.reshape(-1)
