"""What the commands share: progress, the console, and a place to work in."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from parity.images import write_test_image
from parity.running import HarnessError

# Exit codes, the same for every command that compares.
EQUAL, DIFFERENT, USAGE, HARNESS = 0, 1, 2, 3
PIPED_WIDTH = 190


class Progress:
    """Prints each step with the time since the start, to stderr: tables stay pipeable."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self, text: str) -> None:
        """Say what is being done now."""
        elapsed = time.perf_counter() - self._start
        print(f"[{elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def progress_bar(title: str, total: int, say: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """A progress bar on stderr; where stderr is no terminal, about ten lines instead.

    Args:
        title: what is being done.
        total: steps.
        say: told the lines.

    Yields:
        What to call after each step, with a few words to show beside the bar.
    """
    terminal = Console(stderr=True)
    done = 0
    if terminal.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[words]}"),
        )
        with RichProgress(*columns, console=terminal) as bar:
            task = bar.add_task(title, total=total, words="")
            yield lambda words: bar.update(task, advance=1, words=words)
        return

    def step(words: str) -> None:
        nonlocal done
        done += 1
        if done == total or done * 10 // total != (done - 1) * 10 // total:
            say(f"{title}: {done:,} of {total:,}" + (f", {words}" if words else ""))

    yield step


@contextlib.contextmanager
def workplace(model: str, image: Path | None, work: Path | None) -> Iterator[tuple[Path, Path]]:
    """A folder for results and the image to use, the test picture if none was given."""
    require_model(model)
    with tempfile.TemporaryDirectory(prefix="parity-") as temporary:
        folder = Path(temporary) if work is None else work
        folder.mkdir(parents=True, exist_ok=True)
        yield folder, image or write_test_image(Path(temporary) / "test-picture.png")


def require_model(model: str) -> None:
    """Refuse what is neither a folder nor may be a hub id, before any framework is loaded.

    Raises:
        HarnessError: there is no such folder.
    """
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") != 1
    if looks_like_path and not Path(model).is_dir():
        raise HarnessError(
            f"there is no checkpoint folder {model}: give a folder with config.json and weights, or "
            "a hub id such as nvidia/segformer-b0-finetuned-ade-512-512"
        )


def exit_code(equal: bool | None) -> int:
    """The exit code of a comparison: whether the sides are equal; None: it broke down."""
    if equal is None:
        return HARNESS
    return EQUAL if equal else DIFFERENT


def console() -> Console:
    """Where tables go. Piped output has no width of its own: it gets one that cuts no name."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PIPED_WIDTH)
