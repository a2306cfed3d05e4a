"""Work on many arrays by a few threads: NumPy lets go of Python's lock within its loops."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
# Each thread holds two arrays and their differences, of which a B4 at 512×512 has some of 400 MB.
MOST_THREADS = 2


def in_threads(work: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """What `work` returns for each name, in their order; the first exception is raised."""
    with ThreadPoolExecutor(max(1, min(MOST_THREADS, os.cpu_count() or 1))) as pool:
        return list(pool.map(work, names))
