"""TensorFlow Serving's folder layout: ``models/NAME/VERSION/``, published by one rename.

The server scans ``models/NAME`` every second, serves the highest number it finds there and knows no
completeness marker: a half-written version displaces the good one. So a version is written into a
sibling whose name is not a number, checked there, and renamed when it is whole. ``rename(2)`` on
one file system is atomic: a scan sees the whole version or none, and an export killed at any moment
leaves only the sibling.

A sibling belongs to the process that holds an advisory lock (``flock``) on it. The kernel drops the
lock when that process ends, however it ends, so the next export can tell an abandoned sibling from
one being written, and remove it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock; abandoned siblings are then left alone
    fcntl = None  # type: ignore[assignment]

UNFINISHED_PREFIX = ".unfinished-"
_CHOOSE = "Choose another destination."

# What the server's number parser accepts: white space around, a plus sign, leading zeros.
_VERSION_NAME = re.compile(r"\s*\+?[0-9]+\s*", re.ASCII)


class LayoutError(RuntimeError):
    """A version directory cannot be made; the message says why and what to do."""


class VersionExistsError(LayoutError):
    """The version asked for is already published; nothing was overwritten."""


def published_versions(model_folder: Path) -> list[int]:
    """Return the versions a server scanning ``model_folder`` would see, ascending.

    Whatever has a number for a name counts, be it a folder or not, spelled ``7`` or ``007``: the
    server reads names only.
    """
    if not model_folder.is_dir():
        return []
    names = (child.name for child in model_folder.iterdir())
    return sorted({int(name) for name in names if _VERSION_NAME.fullmatch(name)})


def next_version(model_folder: Path) -> int:
    """Return one more than the highest published version, 1 where there is none."""
    return max(published_versions(model_folder), default=0) + 1


class UnfinishedVersion:
    """A version being written: fill ``path``, then call ``publish``."""

    def __init__(self, path: Path, model_folder: Path, version: int | None) -> None:
        self.path = path
        self.model_folder = model_folder
        self.version = version
        self.published: Path | None = None

    def publish(self) -> Path:
        """Rename the folder to its number and return the published path.

        Without a fixed version the next free number is taken at this moment, so that two exports
        at once get two numbers.

        Raises:
            VersionExistsError: the fixed version was published by somebody else in the meantime.
        """
        _flush_to_disk(self.path)
        while True:
            version = next_version(self.model_folder) if self.version is None else self.version
            destination = self.model_folder / str(version)
            if version in published_versions(self.model_folder):
                raise _version_exists(self.model_folder, version)
            try:
                self.path.rename(destination)
            except OSError as error:
                # Another export took the number after our look; the kernel refused to replace it.
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                if self.version is not None:
                    raise _version_exists(self.model_folder, version) from None
                continue
            _flush_folder(self.model_folder)
            self.published = destination
            return destination


@contextlib.contextmanager
def unfinished_version(model_folder: Path, version: int | None = None) -> Iterator[UnfinishedVersion]:
    """Make a folder to write one version into; remove it at the end unless it was published.

    Args:
        model_folder: ``models/NAME``; made where missing.
        version: the number to publish, or None for the next free one.

    Yields:
        The unfinished version, on the file system of ``model_folder``.

    Raises:
        VersionExistsError: ``version`` is published already.
        LayoutError: ``model_folder`` cannot be made or written, or its name is a number.
    """
    check_destination(model_folder, version)
    made = _make_folders(model_folder)
    try:
        remove_abandoned(model_folder)
        with _locked_sibling(model_folder) as path:
            unfinished = UnfinishedVersion(path, model_folder, version)
            try:
                yield unfinished
            finally:
                if unfinished.published is None:
                    shutil.rmtree(path, ignore_errors=True)
    finally:
        for folder in reversed(made):  # a failed first export leaves no empty models/NAME behind
            with contextlib.suppress(OSError):
                folder.rmdir()


def check_destination(model_folder: Path, version: int | None = None) -> None:
    """Raise LayoutError where ``unfinished_version`` would fail; look only, write nothing."""
    if version is not None and version < 0:
        raise LayoutError(f"version {version}: TensorFlow Serving ignores negative versions; give 0 or more.")
    if _VERSION_NAME.fullmatch(model_folder.name):
        raise LayoutError(
            f"{model_folder}: the destination is the model's folder, models/NAME, and its own name "
            f"may not be a number. To choose the version, give {model_folder.parent} and "
            f"--version {int(model_folder.name)}."
        )
    if version is not None and version in published_versions(model_folder):
        raise _version_exists(model_folder, version)
    ancestor = existing_ancestor(model_folder)
    if not ancestor.is_dir():
        raise LayoutError(f"{model_folder}: {ancestor} is not a folder. {_CHOOSE}")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise LayoutError(f"{model_folder}: no permission to write in {ancestor}. {_CHOOSE}")


def existing_ancestor(folder: Path) -> Path:
    """Return ``folder`` itself or the closest of its parents that exists."""
    return next(path for path in (folder, *folder.absolute().parents) if path.exists())


def remove_abandoned(model_folder: Path) -> list[Path]:
    """Remove what exports that were killed left in ``model_folder``; return the removed paths.

    Folders of exports still running are left alone.
    """
    removed = []
    for path in sorted(model_folder.glob(f"{UNFINISHED_PREFIX}*")):
        with contextlib.suppress(OSError), _open_folder(path) as descriptor:
            if _lock(descriptor):
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
    return removed


@contextlib.contextmanager
def _locked_sibling(model_folder: Path) -> Iterator[Path]:
    """Yield a new, empty, locked folder in ``model_folder``."""
    while True:
        try:
            path = Path(tempfile.mkdtemp(prefix=UNFINISHED_PREFIX, dir=model_folder))
            path.chmod(
                0o755
            )  # mkdtemp's 0700 would survive the rename and lock out a server with another user
        except OSError as error:
            message = f"{model_folder}: cannot write there ({error.strerror}). {_CHOOSE}"
            raise LayoutError(message) from error
        with _open_folder(path) as descriptor:
            _lock(descriptor, wait=True)
            # Before it was locked another export may have taken it for abandoned and removed it.
            if path.exists():
                yield path
                return


@contextlib.contextmanager
def _open_folder(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)  # drops the lock, too


def _lock(descriptor: int, wait: bool = False) -> bool:
    """Lock an open folder; False where another process holds it, or where there are no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _make_folders(folder: Path) -> list[Path]:
    """Make ``folder`` and its parents; return those that were missing, outermost first."""
    missing = [path for path in (*reversed(folder.parents), folder) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LayoutError(f"{folder}: cannot be made ({error.strerror}). {_CHOOSE}") from error
    return missing


def _flush_to_disk(folder: Path) -> None:
    """Force all files to the disk: after a power cut no published file may be empty."""
    for directory, _, names in os.walk(folder):
        for name in names:
            descriptor = os.open(Path(directory) / name, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _flush_folder(Path(directory))


def _flush_folder(folder: Path) -> None:
    with (
        contextlib.suppress(OSError),
        _open_folder(folder) as descriptor,
    ):  # not every file system allows it
        os.fsync(descriptor)


def _version_exists(model_folder: Path, version: int) -> VersionExistsError:
    path, free = model_folder / str(version), next_version(model_folder)
    return VersionExistsError(
        f"{path} exists and is never overwritten: a server may be serving it. "
        f"Leave the version out to publish {free}, or remove the folder first."
    )
