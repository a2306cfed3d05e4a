"""The whole request (`benchmarks.request`): part of `python -m benchmarks`."""

from __future__ import annotations

import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from benchmarks import request
from benchmarks.models import prepare, require_export

DEFAULTS: dict[str, Any] = {
    "variant": "b0",
    "sizes": ["640x427"],
    "threads": 2,
    "repeats": 5,
    "no_memory": False,
}


def measure(options: dict[str, Any], models: Path) -> dict[str, Any]:
    """Return what `request.measure` does, with the checkpoint and export that other questions share."""
    options = {**DEFAULTS, **options}
    ready = prepare(models, options["variant"], exports=("float32",))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        request.exported(work).parent.mkdir(parents=True)
        request.exported(work).symlink_to(require_export(ready))
        (work / "checkpoint").symlink_to(ready / "checkpoint")
        return request.measure(Namespace(**options, work=work))


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    return request.report(result)
