"""The files that a command leaves: JSON, JUnit XML and HTML, whatever became of the run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from parity.junit import Case, junit_xml
from parity.thresholds import Thresholds, find_thresholds

Json = Annotated[Path | None, typer.Option("--report", help="Write the report to this JSON file.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML to this file, for CI systems.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with pictures to this file.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Thresholds; parity.toml of this folder by default.")
]


@dataclass(frozen=True)
class Outputs:
    """Where to write; None: not wanted."""

    json: Path | None = None
    junit: Path | None = None
    html: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that are wanted."""
        return tuple(path for path in (self.json, self.junit, self.html) if path is not None)

    def prepare(self) -> None:
        """Make the folders, so that what cannot be written is known before an hour has been spent.

        Raises:
            ValueError: naming the file, and why it cannot be written.
        """
        if len(set(self.paths)) < len(self.paths):
            raise ValueError("two reports would be written to one file: give each its own name")
        for path in self.paths:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(f"cannot write {path}: {error.strerror or error}") from error
            if path.is_dir():
                raise ValueError(f"cannot write {path}: it is a folder")

    def write(
        self,
        *,
        report: Callable[[], dict[str, Any]],
        cases: Callable[[], Sequence[Case]],
        page: Callable[[], str],
        error: str | None,
    ) -> None:
        """Write what is wanted.

        Args:
            report: makes the JSON values.
            cases: makes the test cases; not called if the run broke down.
            page: makes the page.
            error: what broke down; None if nothing did.
        """
        if self.json is not None:
            write_text(self.json, json_text(report()))
        if self.junit is not None:
            write_text(self.junit, junit_xml([] if error is not None else cases(), error=error))
        if self.html is not None:
            write_text(self.html, page())


def _plainly(problem: Exception) -> str:
    return str(problem) or type(problem).__name__


@contextlib.contextmanager
def whatever_happens(
    write: Callable[[str | None], object], describe: Callable[[Exception], str] = _plainly
) -> Iterator[None]:
    """Write reports at the end of the block, also if it breaks down.

    A CI job that only keeps artefacts must not be left without one.

    Args:
        write: writes them; it is told what broke down, None if nothing did.
        describe: puts an error into words.
    """
    error: str | None = "interrupted"
    try:
        yield
        error = None
    except Exception as problem:
        error = describe(problem)
        raise
    finally:
        write(error)


def prepared(config: Path | None, outputs: Outputs) -> tuple[Thresholds, Outputs]:
    """Read the thresholds and make the folders of the reports, before anything is run.

    Raises:
        typer.BadParameter: the file of thresholds cannot be used, or a report cannot be written.
    """
    try:
        outputs.prepare()
        return find_thresholds(config), outputs
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def json_text(report: dict[str, Any]) -> str:
    """Strict JSON: a NaN is an error."""
    return json.dumps(report, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole, making its folder: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        # A file's name may hold bytes that are no text.
        partial.write_text(text, encoding="utf-8", errors="replace")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
