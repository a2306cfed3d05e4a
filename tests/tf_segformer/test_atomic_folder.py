"""A process killed at any file operation leaves the old files or the new ones, and the next one goes on."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tf_segformer import atomic_folder
from tf_segformer.atomic_folder import COMPLETE, PARTIAL, lock, readable_folder, replacing

# Without this package and TensorFlow, so that a process takes some hundredths of a second.
CHILD = """
import importlib.util, os, signal, sys
os.fsync = lambda descriptor: None  # a killed process loses nothing that it has written
spec = importlib.util.spec_from_file_location("atomic_folder", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["atomic_folder"] = module
spec.loader.exec_module(module)
folder, word, shards, fatal = module.Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
events = 0
def count(event, arguments):
    global events
    changes = event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link")
    if changes or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        events += 1
        if events == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(count)
with module.replacing(folder) as replacement:
    for name in ["config.json", "index.json", *(f"shard-{i}-of-{shards}" for i in range(shards))]:
        (replacement.new / name).write_text(word)
    (replacement.new / "saved_model" / "1").mkdir(parents=True)
    (replacement.new / "saved_model" / "1" / "graph").write_text(word)
    replacement.remove = [name for name in sorted(os.listdir(folder)) if name.startswith(("index", "shard"))]
    replacement.set_aside = [name for name in os.listdir(folder) if name == "other.bin"]
print(events)
"""


def save(folder, word, shards, fatal=0):
    """Replace the folder's files in a process that is killed at its operation number `fatal`."""
    command = [
        sys.executable,
        "-I",
        "-c",
        CHILD,
        atomic_folder.__file__,
        folder,
        word,
        str(shards),
        str(fatal),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode in (0, -signal.SIGKILL), result.stderr
    return result.returncode == 0


def model(folder):
    """What a reader finds: the names and contents of one save."""
    source = readable_folder(folder)
    if not (source / "config.json").exists():
        return None
    paths = [path for path in source.iterdir() if path.name.startswith(("config", "index", "shard"))]
    return {path.name: path.read_text() for path in paths}


def expected(word, shards):
    names = ["config.json", "index.json", *(f"shard-{i}-of-{shards}" for i in range(shards))]
    return dict.fromkeys(names, word)


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A folder with a save in it and files of others."""
    folder = tmp_path_factory.mktemp("old") / "folder"
    assert save(folder, "old", 1)
    (folder / "notes.txt").write_text("mine")
    (folder / "other.bin").write_text("another model's")
    return folder


@pytest.fixture(scope="module")
def interrupted(old, tmp_path_factory):
    """The same after a save that was killed when config.json was gone."""
    for fatal in range(1, 100):
        folder = shutil.copytree(old, tmp_path_factory.mktemp("interrupted") / "folder")
        save(folder, "new", 2, fatal)
        if not (folder / "config.json").exists():
            return folder
    raise AssertionError("no kill left the folder without config.json")


def test_killed_at_every_operation(old, tmp_path):
    outcomes = []
    for fatal in range(1, 100):
        folder = shutil.copytree(old, tmp_path / str(fatal))
        finished = save(folder, "new", 2, fatal)
        found = model(folder)
        assert found in (expected("old", 1), expected("new", 2)), (fatal, found)
        outcomes.append(found["config.json"])
        assert (folder / "notes.txt").read_text() == "mine"
        assert {"other.bin", "other.bin.replaced"} & {path.name for path in folder.iterdir()}
        if finished:
            break
        if readable_folder(folder) != folder:
            assert save(folder, "newest", 1)
            assert model(folder) == expected("newest", 1)
            assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]
    assert finished
    assert outcomes == sorted(outcomes, reverse=True)  # once it is the new, it is the new from then on
    assert set(outcomes) == {"old", "new"}
    assert len(outcomes) > 20
    assert (folder / "other.bin.replaced").read_text() == "another model's"
    assert (folder / "saved_model" / "1" / "graph").read_text() == "new"


def test_killed_while_going_on_after_a_kill(interrupted, tmp_path):
    for fatal in range(1, 100):
        folder = shutil.copytree(interrupted, tmp_path / str(fatal))
        finished = save(folder, "newest", 1, fatal)
        assert model(folder) in (expected("new", 2), expected("newest", 1)), fatal
        if finished:
            break
    assert finished
    assert fatal > 20


def test_a_new_folder_appears_whole(tmp_path):
    for fatal in range(1, 200):
        folder = tmp_path / str(fatal)
        finished = save(folder, "new", 2, fatal)
        if folder.exists():
            assert model(folder) in (None, expected("new", 2)), fatal
        if finished:
            break
    assert finished


@pytest.mark.parametrize("exists", [True, False])
def test_an_error_while_writing_changes_nothing(tmp_path, exists):
    folder = tmp_path / "folder"
    if exists:
        assert save(folder, "old", 2)
    with pytest.raises(ZeroDivisionError), replacing(folder) as replacement:
        (replacement.new / "config.json").write_text("new")
        1 / 0  # noqa: B018
    assert folder.exists() == exists
    if exists:
        assert model(folder) == expected("old", 2)
        assert not (folder / PARTIAL).exists()


def test_without_links_files_are_copied(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", no_links)
    with replacing(tmp_path / "folder") as replacement:
        (replacement.new / "config.json").write_text("new")
    assert (tmp_path / "folder" / "config.json").read_text() == "new"
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["config.json"]


def test_a_config_written_by_others_counts_more_than_an_interrupted_save(interrupted, tmp_path):
    folder = shutil.copytree(interrupted, tmp_path / "folder")
    assert readable_folder(folder) == folder / COMPLETE
    (folder / "config.json").write_text("theirs")
    assert readable_folder(folder) == folder


def test_writers_and_readers_wait_for_each_other(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with lock(folder, exclusive=False):
        command = [sys.executable, "-I", "-c", CHILD, atomic_folder.__file__, folder, "new", "1", "0"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=1)
        assert model(folder) is None
    assert process.wait(timeout=60) == 0
    assert model(folder) == expected("new", 1)


def test_only_the_standard_library_is_imported():
    source = Path(atomic_folder.__file__).read_text()
    assert "import tf_segformer" not in source and "from tf_segformer" not in source
