"""Make a virtual environment from a constraints file, or find that it is up to date.

python tools/environment.py FOLDER --constraints FILE --install REQUIREMENT... [--torch-index URL]

Only the standard library is used: this runs before anything is installed. An environment counts as
made only when its last step has written ``complete.json``, so that an interrupted set-up is never
used; it is made anew instead (what was downloaded is in pip's cache). The file holds a fingerprint
of what the environment was made from, and a change of that makes it anew too.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLATFORMS = {("Linux", "x86_64"), ("Linux", "aarch64"), ("Darwin", "arm64")}


class SetUpError(Exception):
    """A set-up that cannot go on; the message says what to do."""


def check_machine() -> None:
    """Refuse a machine or settings that cannot work, before anything is downloaded."""
    machine = (platform.system(), platform.machine())
    if machine not in PLATFORMS:
        raise SetUpError(
            f"there are no TensorFlow 2.21 and PyTorch 2.13 packages for {' '.join(machine)}; "
            "use Linux on x86_64 or aarch64, or macOS on arm64"
        )
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise SetUpError(
            f"KERAS_BACKEND is {backend!r}, but a TensorFlow SavedModel needs Keras' TensorFlow "
            "backend; run `unset KERAS_BACKEND`"
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in {"1", "true"}:
        raise SetUpError(
            "TF_USE_LEGACY_KERAS is set, but this project is written for Keras 3; "
            "run `unset TF_USE_LEGACY_KERAS`"
        )


def fingerprint(constraints: Path, install: list[str]) -> str:
    """SHA-256 of everything that decides what is installed.

    Of ``pyproject.toml`` only the parts that an installation reads count, so that a change of the
    lint settings does not make the environment anew. The interpreter and the torch index do not
    count: `make demo TORCH_INDEX=…` followed by `make test` must keep the environment.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    parts = [install, constraints.read_text(encoding="utf-8")]
    if any(requirement.startswith(".") for requirement in install):
        parts += [project["build-system"], project["project"], project["tool"]["setuptools"]]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_complete(folder: Path, expected: str) -> bool:
    """Whether ``folder`` holds a finished environment with this fingerprint that still runs."""
    try:
        stamp = json.loads((folder / "complete.json").read_text(encoding="utf-8"))
        runs = subprocess.run([folder / "bin/python", "-c", ""], capture_output=True, check=False)
    except (OSError, ValueError):
        return False
    # An environment cannot be moved: its scripts hold its absolute path.
    return stamp == {"fingerprint": expected, "folder": str(folder)} and runs.returncode == 0


def remove(folder: Path) -> None:
    """Delete an environment that this script began; refuse anything else."""
    if not folder.exists():
        return
    if not (folder / "made-by-make").exists():
        raise SetUpError(
            f"{folder} exists and was not made by this project's make; "
            "move it away, or name another folder: make VENV=.venv-make ..."
        )
    print(f"Removing {folder}: it is unfinished or out of date.", flush=True)
    shutil.rmtree(folder)


def announce_download(constraints: Path, torch_index: str | None) -> None:
    """Print the download sizes that ``tools/pin.py`` wrote into the constraints file."""
    system = f"{platform.system()} {platform.machine()}"
    for line in constraints.read_text(encoding="utf-8").splitlines():
        if not line.startswith(f"# download, {system}"):
            continue
        print(f"To download, unless pip has it already: {line.partition(': ')[2]}", flush=True)
    if torch_index:
        print(f"torch comes from {torch_index}", flush=True)
    elif "torch==" in constraints.read_text(encoding="utf-8") and system.startswith("Linux"):
        print(
            "PyPI's torch for Linux is the CUDA build. Without a GPU, a CPU build saves most of that:\n"
            "  make TORCH_INDEX=https://download.pytorch.org/whl/cpu ...",
            flush=True,
        )


def make(folder: Path, constraints: Path, install: list[str], torch_index: str | None) -> None:
    """Make the environment; ``complete.json`` is written last."""
    folder.mkdir(parents=True)
    (folder / "made-by-make").touch()
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def pip(*arguments: str) -> None:
        command: list[str | Path]
        command = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install"]
        command += ["--constraint", constraints]
        subprocess.run([*command, *arguments], check=True, cwd=ROOT)

    if torch_index:
        # Alone and without its dependencies, so that nothing else can come from that index.
        pip("--no-deps", "--index-url", torch_index, "torch")
    # The build backend comes from the same pins, so that no build environment is downloaded unpinned.
    if any(requirement.startswith(".") for requirement in install):
        pip("setuptools")
        pip("--no-build-isolation", "--editable", *install)
    else:
        pip(*install)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Let a second set-up of the same folder wait for the first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another set-up in {folder.parent}.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(description="Make a virtual environment from pinned versions.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--constraints", type=Path, required=True)
    parser.add_argument("--install", nargs="+", required=True, metavar="REQUIREMENT")
    parser.add_argument("--torch-index", metavar="URL")
    arguments = parser.parse_args()
    folder, constraints = arguments.folder.absolute(), arguments.constraints.absolute()
    try:
        check_machine()
        expected = fingerprint(constraints, arguments.install)
        with only_one(folder):
            if is_complete(folder, expected):
                return 0
            started = time.monotonic()
            remove(folder)
            print(f"Making {folder} with Python {platform.python_version()}.", flush=True)
            announce_download(constraints, arguments.torch_index)
            make(folder, constraints, arguments.install, arguments.torch_index)
            stamp = {"fingerprint": expected, "folder": str(folder)}
            (folder / "complete.json").write_text(json.dumps(stamp), encoding="utf-8")
        print(f"Made {folder} in {time.monotonic() - started:.0f} s.", flush=True)
    except SetUpError as error:
        print(f"error: {error}.", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(
            f"error: the set-up of {folder} failed (exit status {error.returncode}; the reason stands "
            "above). It will be made anew the next time.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted. {folder} will be made anew the next time.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
