"""Where things stand without running into each other, and the order in which they are painted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tf_segformer.scenes.boxes import Box
from tf_segformer.scenes.camera import Camera
from tf_segformer.scenes.canvas import Canvas

Range = tuple[float, float]
# Paints something, with random numbers of its own, on the ground that it was given.
PaintAt = Callable[[np.random.Generator, Box], None]

TRIES = 16


class Stage:
    """The ground before a camera, and what is to be painted on it.

    Attributes:
        canvas: What is painted on.
        camera: From where.
        rng: Decides what stands where.
    """

    def __init__(self, canvas: Canvas, camera: Camera, rng: np.random.Generator, x: Range, z: Range) -> None:
        self.canvas, self.camera, self.rng = canvas, camera, rng
        self._x, self._z = x, z
        self._taken: list[Box] = []
        self._pieces: list[tuple[float, PaintAt, np.random.Generator, Box]] = []
        self._is_free: Callable[[Box], bool] = lambda box: True

    def require(self, is_free: Callable[[Box], bool]) -> None:
        """Let things stand only where this holds; before anything stands there."""
        self._is_free = is_free

    def stand(
        self, size: tuple[float, float], paint: PaintAt, z: Range | None = None, x: Range | None = None
    ) -> bool:
        """Find room for something that is seen, at least most of it, and take it.

        Args:
            size: Its extents along X and Z in metres.
            paint: Paints it on its ground.
            z: The range in which it begins; None: the stage's.
            x: The range it lies in; None: the stage's.

        Returns:
            Whether there was room.
        """
        near, far = z or (self._z[0], max(self._z[1] - size[1], self._z[0]))
        for _ in range(TRIES):
            share, across = self.rng.random(), self.rng.random()
            depth = 1 / (share / near + (1 - share) / far)  # near and far places fill the picture alike
            seen, limits = self.camera.seen(depth), x or self._x
            hidden = 0.3 * size[0]
            left = max(seen[0] - hidden, limits[0], self._x[0])
            right = min(seen[1] + hidden, limits[1], self._x[1]) - size[0]
            if right < left:
                continue
            start = left + across * (right - left)
            box = Box((start, start + size[0]), (0, 0), (depth, depth + size[1]))
            if self._is_free(box) and not any(_overlap(box, other) for other in self._taken):
                self.put(box, paint, solid=True)
                return True
        return False

    def put(self, box: Box, paint: PaintAt, *, behind: float = 0.0, solid: bool = False) -> None:
        """Have something painted at a given place.

        Args:
            box: The place.
            paint: Paints it there.
            behind: How many metres further away it is taken to be when the order of painting is decided.
            solid: Whether nothing may stand there afterwards.
        """
        if solid:
            self._taken.append(box)
        own = np.random.default_rng(self.rng.integers(1 << 32))
        self._pieces.append((box.z[0] + behind, paint, own, box))

    def paint(self) -> None:
        """Paint everything, from the back to the front."""
        for _, paint, own, box in sorted(self._pieces, key=lambda piece: -piece[0]):
            paint(own, box)


def _overlap(one: Box, other: Box) -> bool:
    return all(a[0] < b[1] + 0.05 and b[0] < a[1] + 0.05 for a, b in ((one.x, other.x), (one.z, other.z)))
