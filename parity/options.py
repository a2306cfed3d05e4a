"""What several commands take, and what they make of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from parity.compare import LEVELS
from parity.outputs import Outputs
from parity.pipeline import require_dtypes
from parity.runners import CANDIDATES, RUNNERS
from parity.terminal import console
from parity.thresholds import Thresholds, find_thresholds

Model = Annotated[str, typer.Argument(help="Checkpoint folder or hub id.")]
Image = Annotated[
    Path | None,
    typer.Option(help="Image file; a seeded test picture by default.", exists=True, dir_okay=False),
]
Size = Annotated[
    int | None,
    typer.Option(min=32, help="Side of the preprocessed image; the checkpoint's own by default."),
]
Dtype = Annotated[str, typer.Option(help="float32, float64 or both.")]
Levels = Annotated[
    str | None, typer.Option(help=f"Comma-separated levels; all by default: {', '.join(LEVELS)}.")
]
Candidates = Annotated[
    str,
    typer.Option(help=f"Comma-separated runners to compare: {', '.join(CANDIDATES)}."),
]
Without = Annotated[str | None, typer.Option(help="Comma-separated levels to leave out, such as gradients.")]
Work = Annotated[Path | None, typer.Option(help="Keep the recorded results in this folder (they are large).")]
InProcess = Annotated[
    bool, typer.Option("--in-process", help="Run both frameworks here, not in their own processes.")
]
AllTaps = Annotated[bool, typer.Option("--all-taps", help="Show every tap, not only the nearest.")]


def say_where(outputs: Outputs) -> None:
    """Name the reports that were written."""
    for path in outputs.paths:
        console().print(f"report: {path}", highlight=False, markup=False, soft_wrap=True)


def lanes_of(dtype: str) -> tuple[str, ...]:
    """The lanes of `--dtype`.

    Raises:
        typer.BadParameter: there are no such lanes.
    """
    try:
        return require_dtypes(dtype)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def levels_of(text: str | None) -> tuple[str, ...] | None:
    """The levels of `--levels` or `--without`; None for all, or for none to leave out.

    Raises:
        typer.BadParameter: there is no such level, or none is named.
    """
    if text is None:
        return None
    levels = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [level for level in levels if level not in LEVELS]
    if unknown or not levels:
        raise typer.BadParameter(f"unknown levels {unknown}; known are {', '.join(LEVELS)}")
    return levels


def candidates_of(text: str, *, exported: bool) -> tuple[str, ...]:
    """The runners of `--candidates`; with an export, its Session too, unless a runner of exports is named.

    Raises:
        typer.BadParameter: there is no such runner, or none is named.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in CANDIDATES]
    if unknown or not names:
        raise typer.BadParameter(f"unknown candidates {unknown}; known are {', '.join(CANDIDATES)}")
    if exported and not any(RUNNERS[name].exported for name in names):
        names += ("saved_model",)
    return names


def thresholds_of(config: Path | None) -> Thresholds:
    """The thresholds of `--config`, of this folder's `parity.toml`, or the defaults.

    Raises:
        typer.BadParameter: the file cannot be used.
    """
    try:
        return find_thresholds(config)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def say_gates(thresholds: Thresholds) -> None:
    """Say, to stderr, whose gates decide, if they are not the harness's: tables stay pipeable."""
    if thresholds != Thresholds():
        print(f"thresholds: {thresholds.source}", file=sys.stderr)
