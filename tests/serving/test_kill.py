"""An export that is killed at any moment leaves nothing that a server would load."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from serving import layout
from serving.session_check import ServedModel
from tests.serving.server_scan import REQUIRED, ServerScan, content

MOMENTS = 20
AROUND_THE_RENAME = 8

# Both programs print a line before each step, and take the name of a moment at which to kill themselves:
# right before or right after the rename, which no clock hits reliably.
KILL_AT_RENAME = """
import os, pathlib, signal, sys
rename, moment = pathlib.Path.rename, sys.argv[1]
def killed(path, target):
    if moment == "before the rename":
        os.kill(os.getpid(), signal.SIGKILL)
    rename(path, target)
    if moment == "after the rename":
        os.kill(os.getpid(), signal.SIGKILL)
pathlib.Path.rename = killed
"""

# The publishing code on its own, with a model that is written in many small steps.
PUBLISH = """
import pathlib, sys, time
from serving.layout import unfinished_version
folder, names = pathlib.Path(sys.argv[2]), sys.argv[3:]
with unfinished_version(folder) as unfinished:
    print("Writing", flush=True)
    for name in names:
        path = unfinished.path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            for number in range(20):
                file.write(bytes([number]) * 9000)
                time.sleep(0.002)
    print("Publishing", flush=True)
    unfinished.publish()
print("done", flush=True)
"""

EXPORT = """
import sys
from serving.export import export_saved_model
export_saved_model(sys.argv[3], sys.argv[2], batch_sizes=[1], progress=lambda step: print(step, flush=True))
print("done", flush=True)
"""


class Trial:
    """A program that publishes a version, in a process group of its own."""

    def __init__(self, program: str, moment: str, folder: Path, *arguments: str | Path) -> None:
        command = [sys.executable, "-c", KILL_AT_RENAME + program, moment, str(folder), *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
        )

    def steps(self) -> list[tuple[str, float]]:
        """Let it run; return its steps with the seconds that each took."""
        marks = [("Starting", time.perf_counter())]
        marks += [(line.strip(), time.perf_counter()) for line in self.process.stdout]
        assert self.wait() == 0
        return [(name, after - now) for (name, now), (_, after) in itertools.pairwise(marks)]

    def kill(self, step: str, seconds: float, whole_group: bool) -> bool:
        """Kill it some seconds into a step; return whether it was still running.

        With its group die the processes that it started, such as the check of the written model.
        """
        if step != "Starting":
            assert any(line.strip() == step for line in self.process.stdout)
        time.sleep(seconds)
        if whole_group:
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        return self.wait() == -signal.SIGKILL

    def wait(self) -> int:
        self.process.communicate()
        return self.process.returncode


def moments(steps: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return steps and seconds into them: spread over all, and close together over the publishing."""
    total = sum(seconds for _, seconds in steps)
    spread = []
    for number in range(MOMENTS - AROUND_THE_RENAME):
        left = total * (number + 0.5) / (MOMENTS - AROUND_THE_RENAME)
        for step, seconds in steps:
            if left <= seconds:
                spread.append((step, left))
                break
            left -= seconds
    publishing = dict(steps)["Publishing"]
    shares = np.linspace(0, 1.2, AROUND_THE_RENAME)
    return spread + [("Publishing", float(share) * publishing) for share in shares]


def try_every_moment(program: str, folder: Path, *arguments: str | Path) -> None:
    """Publish once, then kill the program at every moment while a server looks on, then publish again."""
    with ServerScan(folder) as scan:
        planned = moments(Trial(program, "", folder, *arguments).steps())
        assert len(planned) == MOMENTS
        assert layout.published_versions(folder) == [1]
        killed = 0
        for number, (step, seconds) in enumerate(planned):
            killed += Trial(program, "", folder, *arguments).kill(step, seconds, number % 3 > 0)
            assert_nothing_half(folder)
        before = layout.published_versions(folder)
        assert Trial(program, "before the rename", folder, *arguments).wait() == -signal.SIGKILL
        assert layout.published_versions(folder) == before
        assert Trial(program, "after the rename", folder, *arguments).wait() == -signal.SIGKILL
        assert layout.published_versions(folder) == [*before, before[-1] + 1]
        assert Trial(program, "", folder, *arguments).wait() == 0
        last = before[-1] + 2
    assert killed > MOMENTS // 2  # else the moments were no moments of the export
    assert {int(name) for name in scan.seen} == set(range(1, last + 1))
    scan.assert_only_whole_versions()
    # The last one swept up what the killed ones had left.
    assert sorted(path.name for path in folder.iterdir()) == sorted(map(str, range(1, last + 1)))


def assert_nothing_half(folder: Path) -> None:
    for version in layout.published_versions(folder):
        assert set(content(folder / str(version))) >= set(REQUIRED)
    others = [path.name for path in folder.iterdir() if not path.name.isdigit()]
    assert all(name.startswith(layout.UNFINISHED_PREFIX) for name in others)
    assert len(others) <= 1  # each export removes what the killed one before it left


def test_publishing_killed_at_any_moment(tmp_path):
    try_every_moment(PUBLISH, tmp_path / "models" / "b0", *REQUIRED)


@pytest.mark.slow
def test_an_export_killed_at_any_moment(checkpoint, tmp_path):
    folder = tmp_path / "models" / "b0"
    try_every_moment(EXPORT, folder, checkpoint)
    image = tf.io.encode_png(np.zeros((8, 8, 3), np.uint8)).numpy()
    for version in layout.published_versions(folder):
        with ServedModel(folder / str(version)) as model:
            answer = model.run("serving_default", {"image_bytes": np.array([image], object)})
        assert answer["height"].tolist() == [8]


def test_the_scan_finds_a_version_that_is_written_in_place(tmp_path):
    """What an exporter without the rename does."""
    with ServerScan(tmp_path) as scan:
        for name in REQUIRED:
            path = tmp_path / "1" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            time.sleep(0.05)
    assert "1 had no variables/variables.index" in scan.incomplete
    with pytest.raises(AssertionError):
        scan.assert_only_whole_versions()
