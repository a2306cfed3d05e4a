"""One-point perspective: which pixels a rectangle along the axes of a room or street covers.

The world is measured in metres: X to the right of the camera, Y up from the ground, Z away from it. As
nothing is turned, each pixel's place on a surface has a closed form, and no polygon is ever drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tf_segformer.scenes.canvas import Region

NEAREST = 0.35  # metres; nothing is drawn nearer


@dataclass(frozen=True)
class Camera:
    """A camera that looks along Z.

    Attributes:
        height: Rows of the picture.
        width: Columns of it.
        focal: Focal length in pixels.
        horizon: Row of the vanishing point, may be a fraction.
        center: Column of it.
        eye: The camera's height above the ground, in metres.
    """

    height: int
    width: int
    focal: float
    horizon: float
    center: float
    eye: float

    @property
    def unit(self) -> int:
        """The picture's shorter side in pixels, by which everything on it is scaled."""
        return min(self.height, self.width)

    def column(self, x: float, z: float) -> float:
        """The column where a point is seen."""
        return self.center + self.focal * x / z

    def row(self, y: float, z: float) -> float:
        """The row where a point is seen."""
        return self.horizon + self.focal * (self.eye - y) / z

    def seen(self, z: float) -> tuple[float, float]:
        """The range of X that the picture shows at a distance."""
        return -self.center * z / self.focal, (self.width - self.center) * z / self.focal

    def screen(self, top: float = -1.0, bottom: float = 2.0, depth: float = 1e4) -> Region:
        """The whole width between two shares of the height; u, v are pixels over the shorter side."""
        rows = self._rows(top * self.height, bottom * self.height)
        y, x = self._pixels(rows, slice(0, self.width))
        mask = np.ones((len(y), x.shape[1]), bool)
        return Region(rows, slice(0, self.width), x / self.unit, -y / self.unit, mask, depth)

    def front(self, z: float, x: tuple[float, float], y: tuple[float, float]) -> Region:
        """A rectangle that faces the camera; u is X, v is Y."""
        rows = self._rows(self.row(y[1], z), self.row(y[0], z))
        columns = self._columns(self.column(x[0], z), self.column(x[1], z))
        py, px = self._pixels(rows, columns)
        scale = np.float32(z / self.focal)
        u, v = (px - np.float32(self.center)) * scale, self.eye - (py - np.float32(self.horizon)) * scale
        mask = np.ones((len(py), px.shape[1]), bool)
        return Region(rows, columns, u, v.astype(np.float32), mask, z)

    def level(self, y: float, x: tuple[float, float], z: tuple[float, float]) -> Region:
        """A rectangle parallel to the ground, seen from above or below; u is X, v is Z."""
        near, far = max(z[0], NEAREST), max(z[1], NEAREST)
        ends = sorted((self.row(y, near), self.row(y, far)))
        rows = self._rows(*ends)
        corners = [self.column(at, depth) for at in x for depth in (near, far)]
        columns = self._columns(min(corners), max(corners))
        py, px = self._pixels(rows, columns)
        drop = py - np.float32(self.horizon)
        drop = np.where(np.abs(drop) < 1e-3, np.float32(1e-3), drop)
        depth = np.float32(self.focal * (self.eye - y)) / drop
        u = (px - np.float32(self.center)) * depth / np.float32(self.focal)
        mask = (u >= x[0]) & (u <= x[1]) & (depth >= near) & (depth <= far)
        return Region(rows, columns, u, depth, mask, depth)

    def side(self, x: float, z: tuple[float, float], y: tuple[float, float]) -> Region:
        """An upright rectangle along the line of sight; u is Z, v is Y."""
        near, far = max(z[0], NEAREST), max(z[1], NEAREST)
        ends = sorted((self.column(x, near), self.column(x, far)))
        columns = self._columns(*ends)
        corners = [self.row(at, depth) for at in y for depth in (near, far)]
        rows = self._rows(min(corners), max(corners))
        py, px = self._pixels(rows, columns)
        across = px - np.float32(self.center)
        across = np.where(np.abs(across) < 1e-3, np.float32(1e-3), across)
        depth = np.float32(self.focal * x) / across
        v = np.float32(self.eye) - (py - np.float32(self.horizon)) * depth / np.float32(self.focal)
        mask = (v >= y[0]) & (v <= y[1]) & (depth >= near) & (depth <= far)
        return Region(rows, columns, np.broadcast_to(depth, mask.shape), v, mask, depth)

    def _rows(self, top: float, bottom: float) -> slice:
        return _whole(top, bottom, self.height)

    def _columns(self, left: float, right: float) -> slice:
        return _whole(left, right, self.width)

    def _pixels(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Centres of pixels: float32 [rows, 1] and [1, columns]."""
        y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None] + np.float32(0.5)
        x = np.arange(columns.start, columns.stop, dtype=np.float32)[None] + np.float32(0.5)
        return y, x


def _whole(start: float, end: float, size: int) -> slice:
    """The pixels whose centres lie between two places, cut to the picture."""
    first = int(np.clip(np.ceil(start - 0.5), 0, size))
    last = int(np.clip(np.ceil(end - 0.5), first, size))
    return slice(first, last)
