"""Replaces the files of a folder so that a crash at any moment leaves the old ones or the new ones.

A folder of several files cannot be replaced in one step without moving the folder itself, with whatever
else lies in it. So the new files are a log to be redone, as in a database:

    1. they are written into FOLDER/.save_pretrained.partial and flushed to the disk;
    2. it is renamed to FOLDER/.save_pretrained.complete: from here on the new files count;
    3. the marker (config.json) and the obsolete files are removed, the new ones linked into the folder, the
       marker last;
    4. .save_pretrained.complete is removed.

A crash before 2 leaves the old files. After 2, a folder without its marker is read from
.save_pretrained.complete, and the next writer goes on with 3; other programs find no config.json and refuse.
Only the standard library is used.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARKER = "config.json"
PARTIAL = ".save_pretrained.partial"
COMPLETE = ".save_pretrained.complete"
SET_ASIDE_SUFFIX = ".replaced"
_DISCARDED = ".save_pretrained.discarded"
_PLAN = ".plan.json"


@dataclass
class Replacement:
    """What is to happen to a folder.

    Attributes:
        new: An empty folder to write the new files into.
        remove: Names in the folder to remove, in this order, before the new files come in.
        set_aside: Names in the folder to give the suffix `.replaced`.
    """

    new: Path
    remove: list[str] = field(default_factory=list)
    set_aside: list[str] = field(default_factory=list)


@contextlib.contextmanager
def replacing(folder: Path) -> Iterator[Replacement]:
    """Fill in a `Replacement`; at the end of the block it happens.

    A new subfolder is merged with one of the same name; what lies in it is replaced, each entry as a whole.
    Writers of one folder wait for each other. If the block raises, `folder` is as it was.

    Args:
        folder: Made if it does not exist.

    Raises:
        OSError: the folder cannot be made or written.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder, exclusive=True):
        try:
            _finish(folder)
            partial = folder / PARTIAL
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            replacement = Replacement(partial)
            yield replacement
            plan = {"remove": replacement.remove, "set_aside": replacement.set_aside}
            (partial / _PLAN).write_text(json.dumps(plan), encoding="utf-8")
            _flush_tree(partial)
            partial.rename(folder / COMPLETE)
            flush(folder)
            _move_in(folder)
        except BaseException:
            shutil.rmtree(folder / PARTIAL, ignore_errors=True)
            if made:
                with contextlib.suppress(OSError):
                    folder.rmdir()
            raise


def readable_folder(folder: Path) -> Path:
    """Where to read a folder's files: the folder, or what an interrupted replacement left complete."""
    complete = folder / COMPLETE
    if not (folder / MARKER).exists() and (complete / MARKER).exists():
        return complete
    return folder


@contextlib.contextmanager
def lock(folder: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold the folder's lock, shared by readers; without one where the file system has none."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Have a file, or a folder's list of names, written to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_tree(folder: Path) -> None:
    for root, _, files in os.walk(folder, topdown=False):
        for name in files:
            flush(Path(root, name))
        flush(Path(root))


def _finish(folder: Path) -> None:
    """Redo a replacement that was interrupted; one that got as far as its marker only needs tidying up."""
    shutil.rmtree(folder / _DISCARDED, ignore_errors=True)
    if readable_folder(folder) != folder:
        _move_in(folder)
    shutil.rmtree(folder / COMPLETE, ignore_errors=True)


def _move_in(folder: Path) -> None:
    """Steps 3 and 4; doing them again from any point comes to the same."""
    complete = folder / COMPLETE
    plan = json.loads((complete / _PLAN).read_text(encoding="utf-8"))
    _remove(folder / MARKER)
    flush(folder)
    for name in plan["remove"]:
        _remove(folder / name)
    for name in plan["set_aside"]:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).replace(folder / f"{name}{SET_ASIDE_SUFFIX}")
    flush(folder)
    for name in sorted({path.name for path in complete.iterdir()} - {MARKER, _PLAN}):
        source, target = complete / name, folder / name
        if source.is_dir():
            _merge(source, target, folder / _DISCARDED)
        else:
            _link(source, target)
    flush(folder)
    if (complete / MARKER).exists():
        _link(complete / MARKER, folder / MARKER)
        flush(folder)
    shutil.rmtree(complete)
    shutil.rmtree(folder / _DISCARDED, ignore_errors=True)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy where the file system knows no links."""
    _remove(target)
    try:
        os.link(source, target)
    except OSError:
        temporary = target.with_name(f"{PARTIAL}.{target.name}")
        shutil.copyfile(source, temporary)
        flush(temporary)
        temporary.replace(target)


def _merge(source: Path, target: Path, discarded: Path) -> None:
    """Move the folders in `source` into `target`, each in the place of one of the same name."""
    target.mkdir(exist_ok=True)
    for entry in sorted(source.iterdir()):
        if (target / entry.name).exists():
            discarded.mkdir(exist_ok=True)
            shutil.rmtree(discarded / entry.name, ignore_errors=True)
            (target / entry.name).rename(discarded / entry.name)
        entry.rename(target / entry.name)
    flush(target)
