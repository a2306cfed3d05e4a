"""The whole request (`benchmarks.request`): part of `python -m benchmarks`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import request

DEFAULTS: dict[str, Any] = {
    "variant": "b0",
    "sizes": ["640x427"],
    "threads": 2,
    "repeats": 5,
    "no_memory": False,
}


def measure(options: dict[str, Any], models: Path) -> dict[str, Any]:
    """Return what `request.measure` does; its checkpoint and export are kept under `models`."""
    options = {**DEFAULTS, **options}
    work = models / "request" / options["variant"]
    return request.measure(Namespace(**options, work=work))


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return request.report(result)
