"""Where things stand on the ground without running into each other."""

from __future__ import annotations

import numpy as np

from tf_segformer.scenes.boxes import Box
from tf_segformer.scenes.camera import Camera

Range = tuple[float, float]
TRIES = 8


class Floor:
    """The free ground before a camera."""

    def __init__(self, camera: Camera, rng: np.random.Generator, x: Range, z: Range) -> None:
        self._camera, self._rng, self._x, self._z = camera, rng, x, z
        self._taken: list[Box] = []

    def place(self, size: tuple[float, float], z: float | None = None, x: Range | None = None) -> Box | None:
        """Find room for something and take it.

        Args:
            size: Its extents along X and Z in metres.
            z: Where it must begin; None: anywhere, near and far places in the picture alike.
            x: The range it must lie in; None: wherever it is seen.

        Returns:
            Its ground (height 0), or None where no room was found.
        """
        for _ in range(TRIES):
            share = self._rng.random()
            near, far = self._z[0], max(self._z[1] - size[1], self._z[0] + 0.01)
            depth = z if z is not None else 1 / (share / near + (1 - share) / far)
            seen = self._camera.seen(depth)
            left, right = max(seen[0], self._x[0]), min(seen[1], self._x[1])
            if x is not None:
                left, right = max(left, x[0]), min(right, x[1])
            overhang = 0.3 * size[0]
            low, high = max(left - overhang, self._x[0]), min(right + overhang, self._x[1]) - size[0]
            start = low + self._rng.random() * (high - low)
            if high < low:
                continue
            box = Box((start, start + size[0]), (0, 0), (depth, depth + size[1]))
            if not any(_overlap(box, other) for other in self._taken):
                self._taken.append(box)
                return box
        return None


def _overlap(one: Box, other: Box) -> bool:
    return all(a[0] < b[1] + 0.05 and b[0] < a[1] + 0.05 for a, b in ((one.x, other.x), (one.z, other.z)))
