"""What the benchmarks share: fresh processes, resident memory, ratios of times measured in turns."""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

STAT, MEMORY = Path("/proc/stat"), Path("/proc/meminfo")


def parse_size(text: str) -> tuple[int, int]:
    """Return (height, width) of "width x height"."""
    width, height = map(int, text.split("x"))
    return height, width


@contextmanager
def process(target: Callable[..., None], *arguments: Any) -> Iterator[Any]:
    """Run a function in a fresh process; give the end of the pipe that is its last argument."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    child = context.Process(target=target, args=(*arguments, there))
    child.start()
    there.close()  # so that a child that dies is an EOFError here, not a wait without end
    try:
        yield here
    finally:
        here.close()
        child.join(10)
        child.kill()


def in_turns(sides: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Time each side once in every repetition: seconds[side]."""
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(repeats):
        for side, run in sides.items():
            start = time.perf_counter()
            run()
            seconds[side].append(time.perf_counter() - start)
    return seconds


def quiet() -> None:
    """Keep what libraries say about themselves out of the progress, here and in processes made from here."""
    os.environ.update(
        TF_CPP_MIN_LOG_LEVEL="3", TRANSFORMERS_VERBOSITY="error", TQDM_DISABLE="1", PYTHONWARNINGS="ignore"
    )
    warnings.simplefilter("ignore")


def with_onednn() -> None:
    """Have TensorFlow use oneDNN on any processor, here and in processes made from here.

    By itself it does so only where a processor has AVX512_VNNI, AVX_VNNI or AMX. What the environment says
    already stays. Before TensorFlow is imported.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


class Ratio(NamedTuple):
    """The median and the quartiles of the ratios of times measured in turns."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        digits = 2 if self.median < 10 else 0
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f})"


def ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """Return how many times `under` goes into `over`, repetition by repetition."""
    return summary([a / b for a, b in zip(over, under, strict=True)])


def summary(ratios: Sequence[float]) -> Ratio:
    """Return the median and the quartiles of ratios of pairs."""
    if len(ratios) == 1:
        return Ratio(ratios[0], ratios[0], ratios[0])
    low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(median, low, high)


class Memory(NamedTuple):
    """Resident memory in bytes: what one call adds at its peak, and the peak of its whole process."""

    extra: int
    peak: int


def memory_of(call: Callable[[], Any]) -> Memory:
    """Measure one call, in a process that has warmed up. Linux only."""
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    call()
    peak = resident("VmHWM")
    return Memory(peak - before, peak)


def cores_in_use(seconds: float = 2.0) -> float:
    """Return how many cores this machine uses while this process sleeps. Linux only; elsewhere 0.

    The load average will not do between two measurements: it remembers the one before.
    """
    if not STAT.exists():
        return 0.0
    start, before = time.monotonic(), busy_ticks()
    time.sleep(seconds)
    ticks = busy_ticks() - before
    return ticks / os.sysconf("SC_CLK_TCK") / (time.monotonic() - start)


def busy_ticks() -> int:
    """Return the ticks that all cores have spent on anything but idling and waiting for a disk."""
    user, nice, system, _, _, *interrupts = map(int, STAT.read_text().split("\n", 1)[0].split()[1:8])
    return user + nice + system + sum(interrupts)


def available_memory() -> float:
    """Return the bytes that programs can still take; Linux only, elsewhere no limit."""
    if not MEMORY.exists():
        return math.inf
    lines = MEMORY.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))


def resident(field: str) -> int:
    """Return a field of the process's memory, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))
