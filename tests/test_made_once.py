"""What the workers of a run share is made by one of them, whole."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.made_once import made_once


def test_many_at_a_time_get_what_one_has_made(tmp_path_factory):
    made = []

    def make(folder):
        made.append(folder)
        for number in range(50):
            (folder / str(number)).touch()

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(made_once, tmp_path_factory, "shared", make) for _ in range(8)]
        found = [(future.result(), len(list(future.result().iterdir()))) for future in asked]
    assert made == [found[0][0]]
    assert found == [(made[0], 50)] * 8


class Worker(NamedTuple):
    """What pytest's factory is to a worker."""

    base: Path

    def getbasetemp(self):
        return self.base


def test_the_folder_is_the_runs_and_not_the_workers(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_XDIST_WORKER", "gw1")
    folders = {made_once(Worker(tmp_path / name), "shared", lambda folder: None) for name in ("gw0", "gw1")}
    assert folders == {tmp_path / "shared"}


def test_after_an_error_the_next_one_tries_again(tmp_path_factory):
    with pytest.raises(OSError, match="full"):
        made_once(tmp_path_factory, "tried", fails)
    folder = made_once(tmp_path_factory, "tried", lambda folder: (folder / "file").touch())
    assert [path.name for path in folder.iterdir()] == ["file"]


def fails(folder):
    raise OSError("the disk is full")
