"""`make fuzz`: a long fuzz run with a progress bar; what failed or differs lies in out/fuzz."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tests.fuzz.campaign import Campaign
from tests.fuzz.inputs import stream
from tests.fuzz.models import MAX_PIXELS, write_models
from tests.fuzz.report import save, show

LINE_EVERY = 1000  # inputs


def main() -> int:
    """Run, print the tables, save examples; 1 if anything failed or differs without explanation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="inputs (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="another one gives other inputs")
    parser.add_argument("--output", type=Path, default=Path("out/fuzz"), help="default: %(default)s")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 150)
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    with (
        tempfile.TemporaryDirectory(prefix="fuzz-") as folder,
        Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as progress,
    ):
        task = progress.add_task("Exporting the models", total=None)
        pixels_model, export = write_models(Path(folder))
        progress.update(task, description=f"Fuzzing, seed {options.seed}", total=options.count)

        def advance(done: int) -> None:
            progress.advance(task, done)
            completed = int(progress.tasks[task].completed)
            # A log file shows no bar until its end.
            if not console.is_terminal and completed // LINE_EVERY > (completed - done) // LINE_EVERY:
                console.print(f"{completed} of {options.count} inputs")

        campaign = Campaign(pixels_model, export, MAX_PIXELS, options.seed, advance)
        report = campaign.run(stream(options.seed, options.count))
    shutil.rmtree(options.output, ignore_errors=True)
    save(report, options.output)
    show(report, console)
    console.print(f"Examples and report.json: {options.output}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
