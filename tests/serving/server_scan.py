"""A thread that looks at a model's folder as a server does, far more often, and keeps what it saw."""

from __future__ import annotations

import hashlib
import re
import threading
from pathlib import Path

SCAN_SECONDS = 0.002  # a server waits a second between two looks
REQUIRED = (
    "saved_model.pb",
    "variables/variables.index",
    "variables/variables.data-00000-of-00001",
    "assets.extra/manifest.json",
)


def content(version_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a version by its name; files that vanish are left out."""
    found = {}
    for path in sorted(version_dir.rglob("*")):
        if path.is_file():
            try:
                found[str(path.relative_to(version_dir))] = hashlib.sha256(path.read_bytes()).hexdigest()
            except FileNotFoundError:
                continue
    return found


class ServerScan:
    """Scans `folder` while the `with` block runs.

    A server has no other sign of completeness than a child's name: a number. So every child with
    such a name must be complete from the first moment on, and must never change or vanish.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scans = 0
        self.seen: dict[str, dict[str, str]] = {}  # by version: its content when it was first seen
        self.incomplete: list[str] = []
        self.vanished: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> ServerScan:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def assert_only_whole_versions(self) -> None:
        """Raise AssertionError where a version was incomplete, changed or vanished."""
        assert self.scans > 0
        assert self.incomplete == []
        assert self.vanished == []
        for version, first in self.seen.items():
            assert content(self.folder / version) == first, f"{version} changed after it was published"

    def _run(self) -> None:
        while not self._stop.wait(SCAN_SECONDS):
            self._scan()
        self._scan()

    def _scan(self) -> None:
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        versions = [name for name in names if re.fullmatch(r"\s*[+-]?[0-9]+\s*", name)]
        for name in versions:
            if name not in self.seen:
                self.seen[name] = content(self.folder / name)
                missing = [file for file in REQUIRED if file not in self.seen[name]]
                self.incomplete += [f"{name} had no {file}" for file in missing]
        self.vanished += [name for name in self.seen if name not in versions]
        self.scans += 1
