"""The stream of inputs: each is a function of the seed and its number alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tests.fuzz.bombs import BOMBS
from tests.fuzz.mutations import mutate
from tests.fuzz.valid_images import FORMATS, valid_file

WARM_UP = 100  # inputs before the first bomb


class Input(NamedTuple):
    """One file to try.

    Attributes:
        name: "SEED/NUMBER" for `mutated`, or the bomb's name.
        file_format: that of the file before it was damaged, "none" for some bombs.
        kind: its kind, e.g. "progressive", or "bomb".
        change: the names of the mutations.
        data: the file's bytes.
    """

    name: str
    file_format: str
    kind: str
    change: str
    data: bytes


def mutated(seed: int, number: int) -> Input:
    """Return one mutated file; the same arguments give the same bytes."""
    random = np.random.default_rng([seed, number])
    file_format, kind, data = valid_file(random)
    _, _, other = valid_file(random)
    change, data = mutate(random, data, other)
    return Input(f"{seed}/{number}", file_format, kind, change, data)


def stream(seed: int, count: int) -> Iterator[Input]:
    """Yield `count` inputs or a few more: mutated files, and every bomb behind the first `WARM_UP` of them.

    In a long run the bombs come once more at the end: what they leave in memory must not add up.
    """
    again = count > 20 * len(BOMBS)
    last = max(count - len(BOMBS) * (2 if again else 1), WARM_UP)
    yield from (mutated(seed, number) for number in range(WARM_UP))
    yield from map(_bomb, BOMBS)
    yield from (mutated(seed, number) for number in range(WARM_UP, last))
    if again:
        yield from map(_bomb, BOMBS)


def _bomb(name: str) -> Input:
    file_format = name.split()[0]
    return Input(name, file_format if file_format in FORMATS else "none", "bomb", name, BOMBS[name]())
