"""The positions of a feature map, and what layers make of its sizes, each made once.

Every layer reshapes to sizes that are known only at run time. Were each to make its own shapes, these would
be a large part of a graph's nodes, and a server goes over all nodes many times before its first answer.

Axes: B batch, H W height and width, N = B·H·W tokens, C channels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import tensorflow as tf

Dimension: TypeAlias = int | tf.Tensor  # an int32 scalar


class Shapes:
    """Shapes as tensors, each made once."""

    def __init__(self) -> None:
        self._made: dict[Any, tuple[Any, tf.Tensor]] = {}

    def __call__(self, *dimensions: Dimension) -> tf.Tensor:
        """Return dimensions as one int32 tensor."""
        key = tuple((each,) if isinstance(each, int) else id(each) for each in dimensions)
        if key not in self._made:
            # Kept with the dimensions, so that none is freed and its id another's.
            self._made[key] = dimensions, tf.stack(dimensions)
        return self._made[key][1]


class Grid:
    """The positions of a feature map.

    Args:
        batch: B, an int32 scalar.
        height: H.
        width: W.
        shapes: what makes shapes of them.
    """

    def __init__(self, batch: tf.Tensor, height: tf.Tensor, width: tf.Tensor, shapes: Shapes) -> None:
        self.batch, self.height, self.width, self.shapes = batch, height, width, shapes
        self.count = batch * height * width

    @staticmethod
    def under(x: tf.Tensor) -> Grid:
        """Return that of `x` (B, H, W, C)."""
        batch, height, width, _ = tf.unstack(tf.shape(x))
        return Grid(batch, height, width, Shapes())

    def feature_map(self, x: tf.Tensor) -> tf.Tensor:
        """(N, C) → (B, H, W, C)."""
        return tf.reshape(x, self.shapes(self.batch, self.height, self.width, x.shape[-1]))

    def tokens(self, x: tf.Tensor, channels: int | None = None) -> tf.Tensor:
        """Anything → (N, channels), as many as in the last axis unless given."""
        return tf.reshape(x, self.shapes(self.count, channels or x.shape[-1]))


class Patches(Grid):
    """The patches of `size` × `size` positions of a grid; rows and columns that are left over are in none."""

    def __init__(self, grid: Grid, size: int) -> None:
        super().__init__(grid.batch, grid.height // size, grid.width // size, grid.shapes)
        self.size, self._grid = size, grid
        self._covered = self.height * size, self.width * size

    def of(self, x: tf.Tensor) -> tf.Tensor:
        """The grid's tokens (N, C) → the patches' (n, size²·C), a patch's positions one after the other."""
        channels = x.shape[1]
        covered = self.shapes(self.batch, *self._covered, channels)
        x = tf.slice(self._grid.feature_map(x), self.shapes(0, 0, 0, 0), covered)
        return self.tokens(tf.nn.space_to_depth(x, self.size))
