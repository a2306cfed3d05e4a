"""What the commands share: progress, the console, and a place to work in."""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from parity.images import write_test_image
from parity.runners import HarnessError

PIPED_WIDTH = 170


class Progress:
    """Prints each step with the time since the start, to stderr: tables stay pipeable."""

    def __init__(self) -> None:
        self._start = time.perf_counter()

    def __call__(self, text: str) -> None:
        """Say what is being done now."""
        elapsed = time.perf_counter() - self._start
        print(f"[{elapsed:6.1f} s] {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def workplace(model: str, image: Path | None, work: Path | None) -> Iterator[tuple[Path, Path]]:
    """A folder for results and the image to use, the test picture if none was given."""
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") != 1
    if looks_like_path and not Path(model).is_dir():
        raise HarnessError(
            f"there is no checkpoint folder {model}: give a folder with config.json and weights, or "
            "a hub id such as nvidia/segformer-b0-finetuned-ade-512-512"
        )
    with tempfile.TemporaryDirectory(prefix="parity-") as temporary:
        folder = Path(temporary) if work is None else work
        folder.mkdir(parents=True, exist_ok=True)
        yield folder, image or write_test_image(Path(temporary) / "test-picture.png")


def console() -> Console:
    """Where tables go. Piped output has no width of its own: it gets one that cuts no name."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=PIPED_WIDTH)
