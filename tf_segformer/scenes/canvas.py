"""A picture being painted together with its label map, and the regions that are painted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tf_segformer.scenes.classes import ID, UNLABELLED


@dataclass(frozen=True)
class Region:
    """Pixels of one flat surface, and where on the surface each lies.

    Attributes:
        rows: The rows of the box around the region.
        columns: The columns of it.
        u: Across, float32 [rows, columns] or broadcasting to it; metres unless said otherwise.
        v: Upwards, or into the depth on level surfaces.
        mask: bool [rows, columns]: which pixels of the box belong to the region.
        depth: Distance from the camera in metres, a number or an array like `u`.
    """

    rows: slice
    columns: slice
    u: np.ndarray
    v: np.ndarray
    mask: np.ndarray
    depth: float | np.ndarray

    def where(self, condition: np.ndarray) -> Region:
        """The part of the region where the condition, bool [rows, columns], holds."""
        return replace(self, mask=self.mask & condition)

    def shifted(self, u: float, v: float) -> Region:
        """The same pixels, measured from the point (u, v)."""
        return replace(self, u=self.u - np.float32(u), v=self.v - np.float32(v))


class Canvas:
    """What has been painted so far; what comes later hides what came before.

    Attributes:
        image: float32 [height, width, 3], linear in 0 to 1.
        labels: uint8 [height, width], class numbers, or 255.
        haze: How much of a colour is lost per metre of air.
        haze_color: float32 [3], what it is lost to.
    """

    def __init__(self, height: int, width: int) -> None:
        self.image = np.full((height, width, 3), 0.5, np.float32)
        self.labels = np.full((height, width), UNLABELLED, np.uint8)
        self.haze = 0.0
        self.haze_color = np.ones(3, np.float32)

    def paint(self, region: Region, color: np.ndarray, name: str | None) -> None:
        """Paint a region.

        Args:
            region: Where.
            color: float32 [3] or [rows, columns, 3].
            name: The class; None: of no class.
        """
        if not region.mask.any():
            return
        if self.haze:
            lost = 1 - np.exp(-np.float32(self.haze) * np.asarray(region.depth, np.float32))
            color = color + (self.haze_color - color) * lost[..., None]
        box = (region.rows, region.columns)
        np.copyto(self.image[box], color, where=region.mask[..., None])
        self.labels[box][region.mask] = UNLABELLED if name is None else ID[name]

    def shade(self, region: Region, factor: np.ndarray | float) -> None:
        """Darken or lighten what is painted already; labels stay."""
        box = (region.rows, region.columns)
        factor = np.where(region.mask, np.float32(1) * factor, np.float32(1))
        self.image[box] *= factor[..., None]
