"""Noise to draw textures from: tiles that repeat without a seam, made once, the same everywhere."""

import functools

import numpy as np

SIDE = 256


@functools.cache
def grain() -> np.ndarray:
    """White noise, float32 [256, 256], uniform in [0, 1)."""
    return np.random.default_rng(7301).random((SIDE, SIDE), np.float32)


@functools.cache
def clouds() -> np.ndarray:
    """Noise of all scales, the coarse ones strongest, float32 [256, 256] within [0, 1]."""
    rng = np.random.default_rng(7302)
    total = np.zeros((SIDE, SIDE), np.float32)
    for octave in range(2, 8):
        cells = 1 << octave
        total += _stretched(rng.random((cells, cells), np.float32)) / np.float32(1.7 ** (octave - 2))
    total -= total.min()
    return total / total.max()


def sample(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a tile at points of any range, by the nearest value.

    Args:
        tile: float32 [256, 256].
        x: Columns, in cells of the tile; any shape.
        y: Rows, of a shape that broadcasts with `x`.
    """
    return tile[y.astype(np.int32) & (SIDE - 1), x.astype(np.int32) & (SIDE - 1)]


def smooth(tile: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Read a tile at points of any range, linearly between its values."""
    left, top = np.floor(x), np.floor(y)
    right_share, bottom_share = x - left, y - top
    column, row = left.astype(np.int32) & (SIDE - 1), top.astype(np.int32) & (SIDE - 1)
    next_column, next_row = (column + 1) & (SIDE - 1), (row + 1) & (SIDE - 1)
    upper = tile[row, column] * (1 - right_share) + tile[row, next_column] * right_share
    lower = tile[next_row, column] * (1 - right_share) + tile[next_row, next_column] * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def _stretched(lattice: np.ndarray) -> np.ndarray:
    """A periodic lattice enlarged to a tile, linearly along both axes."""
    for axis in (0, 1):
        cells = lattice.shape[axis]
        at = np.arange(SIDE, dtype=np.float32) * np.float32(cells / SIDE)
        index = at.astype(np.int32)
        share = (at - index).reshape((-1, 1) if axis == 0 else (1, -1))
        lattice = lattice.take(index, axis) * (1 - share) + lattice.take((index + 1) % cells, axis) * share
    return lattice
