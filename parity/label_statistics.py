"""Where two label maps differ, and whether the reference's logits explain it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.statistics import ShapesDifferError

# Values of logits that are looked at together: bounds the float64 temporaries to about 100 MB.
CHUNK = 1 << 22


@dataclass(frozen=True)
class LabelErrors:
    """What is known about the difference of two label maps.

    Attributes:
        shape: shape of both label maps.
        disagreeing: count of pixels with different labels.
        ties: those of them that are explained by the measured error of the logits.
        tie_margin: a disagreement is a tie when the reference prefers its own label over the
            candidate's by less than this.
        worst_margin: largest such preference over the disagreeing pixels (0 if there are none).
        worst_index: position of ``worst_margin`` (None if all pixels agree).
        worst_reference: the reference's label there.
        worst_candidate: the candidate's label there.
    """

    shape: tuple[int, ...]
    disagreeing: int
    ties: int
    tie_margin: float
    worst_margin: float
    worst_index: tuple[int, ...] | None
    worst_reference: int | None
    worst_candidate: int | None

    @property
    def agreement(self) -> float:
        """Share of pixels with the same label, 0 to 1."""
        return 1.0 - self.disagreeing / max(1, int(np.prod(self.shape)))

    @property
    def unexplained(self) -> int:
        """Disagreements that are no ties: each is a failure."""
        return self.disagreeing - self.ties


def label_errors(
    reference: np.ndarray,
    candidate: np.ndarray,
    reference_logits: np.ndarray,
    tie_margin: float,
) -> LabelErrors:
    """Compare two label maps, telling ties from real disagreements.

    If every logit is off by at most ``e``, a label can only flip where the reference's preference
    for its own label over the candidate's is below ``2 e``: that is a tie, and anything else is a
    failure. The preference is taken against the *candidate's* label, not against the second best:
    it is never smaller than the margin of the two best logits, and a wrong third label at a pixel
    where two others are tied still fails.

    Args:
        reference: integer labels (B, H, W) or (H, W).
        candidate: integer labels of the same shape.
        reference_logits: the reference's logits, channels last, (B, h, w, K) or (h, w, K). Where
            h and w are not H and W, they are sampled bilinearly at half-pixel centres, in float64
            and only at the disagreeing pixels.
        tie_margin: normally twice the measured error of the logits.

    Returns:
        Counts and the worst disagreement.

    Raises:
        ShapesDifferError: the maps differ in shape, or the logits do not belong to them.
        ValueError: the maps are empty.
    """
    if reference.shape != candidate.shape:
        raise ShapesDifferError(
            f"label maps differ in shape: reference {reference.shape}, candidate {candidate.shape}"
        )
    if reference.size == 0:
        raise ValueError("nothing to compare: both label maps are empty")
    if reference_logits.ndim != reference.ndim + 1:
        raise ShapesDifferError(
            f"logits of shape {reference_logits.shape} do not belong to label maps of shape "
            f"{reference.shape}: expected channels-last logits with one axis more"
        )
    shape = tuple(reference.shape)
    if reference.ndim == 2:
        reference, candidate = reference[None], candidate[None]
        reference_logits = reference_logits[None]
    if reference_logits.shape[0] != reference.shape[0]:
        raise ShapesDifferError(
            f"{reference_logits.shape[0]} images of logits for {reference.shape[0]} label maps"
        )

    where = np.argwhere(reference != candidate)
    if len(where) == 0:
        return LabelErrors(shape, 0, 0, tie_margin, 0.0, None, None, None)
    own, other = reference[tuple(where.T)], candidate[tuple(where.T)]
    margins = _margins(reference_logits, where, own, other, reference.shape[1:3])
    worst = int(np.argmax(margins))
    index = tuple(int(i) for i in where[worst])
    return LabelErrors(
        shape=shape,
        disagreeing=len(where),
        ties=int(np.count_nonzero(margins < tie_margin)),
        tie_margin=tie_margin,
        worst_margin=float(margins[worst]),
        worst_index=index[-len(shape) :],
        worst_reference=int(own[worst]),
        worst_candidate=int(other[worst]),
    )


def tied_pixels(
    reference: np.ndarray, candidate: np.ndarray, reference_logits: np.ndarray, tie_margin: float
) -> np.ndarray:
    """Where two label maps differ, but by `label_errors` either label is right: bool (H, W).

    Args:
        reference: integer labels (H, W).
        candidate: integer labels (H, W).
        reference_logits: the reference's logits, (h, w, K).
        tie_margin: as in `label_errors`.
    """
    ties = np.zeros(reference.shape, bool)
    where = np.argwhere(reference != candidate)
    if len(where):
        place = tuple(where.T)
        positions = np.insert(where, 0, 0, axis=1)
        margins = _margins(
            reference_logits[None], positions, reference[place], candidate[place], reference.shape
        )
        ties[place] = margins < tie_margin
    return ties


def _margins(
    logits: np.ndarray, where: np.ndarray, own: np.ndarray, other: np.ndarray, size: tuple[int, ...]
) -> np.ndarray:
    """By how much the reference prefers its own label over the other, at some pixels: float64 (n,)."""
    margins = np.empty(len(where), np.float64)
    labels = logits.shape[-1]
    step = max(1, CHUNK // labels)
    for start in range(0, len(where), step):
        part = slice(start, start + step)
        values = bilinear_at(logits, where[part], size)
        rows = np.arange(len(values))
        # A label outside 0…K-1 can win no pixel: its margin is infinite.
        known = (other[part] >= 0) & (other[part] < labels)
        chosen = values[rows, np.where(known, other[part], 0)]
        margins[part] = np.where(known, values[rows, own[part]] - chosen, np.inf)
    return margins


def bilinear_at(
    maps: np.ndarray, positions: np.ndarray, size: tuple[int, ...]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Sample feature maps as if they had been resized, but only at some pixels.

    Half-pixel centres, edges clamped, no antialiasing: PyTorch's
    ``interpolate(mode="bilinear", align_corners=False)``, computed in float64.

    Args:
        maps: (B, h, w, K).
        positions: integer (n, 3) of image, row and column in the resized maps.
        size: height and width of the resized maps.

    Returns:
        float64 (n, K).
    """
    image, lower, upper, weight = positions[:, 0], [], [], []
    for axis in (1, 2):
        source, target = maps.shape[axis], size[axis - 1]
        place = np.maximum((positions[:, axis] + 0.5) * (source / target) - 0.5, 0.0)
        first = np.minimum(place.astype(np.int64), source - 1)
        lower.append(first)
        upper.append(np.minimum(first + 1, source - 1))
        weight.append((place - first)[:, None])
    (y0, x0), (y1, x1), (wy, wx) = lower, upper, weight
    corners = [maps[image, y, x].astype(np.float64) for y in (y0, y1) for x in (x0, x1)]
    top = corners[0] + (corners[1] - corners[0]) * wx
    bottom = corners[2] + (corners[3] - corners[2]) * wx
    return top + (bottom - top) * wy
