import os
import signal
import subprocess
import sys
import time

import pytest

from serving import layout
from serving.layout import LayoutError, VersionExistsError, unfinished_version


def publish(folder, version=None, text="whole"):
    with unfinished_version(folder, version) as unfinished:
        (unfinished.path / "saved_model.pb").write_text(text)
        return unfinished.publish()


def test_versions_count_up_from_the_highest(tmp_path):
    folder = tmp_path / "deep" / "b0"
    assert publish(folder) == folder / "1"
    assert publish(folder, 7) == folder / "7"
    assert publish(folder) == folder / "8"
    assert publish(folder, 0) == folder / "0"
    assert layout.published_versions(folder) == [0, 1, 7, 8]
    assert (folder / "8" / "saved_model.pb").read_text() == "whole"


@pytest.mark.parametrize("name", ["12", "0012", "+12", " 12"])
def test_counts_every_name_that_the_server_reads_as_a_number(tmp_path, name):
    (tmp_path / name).touch()
    assert layout.published_versions(tmp_path) == [12]
    assert publish(tmp_path) == tmp_path / "13"


@pytest.mark.parametrize("name", ["v1", "1.0", "-1", ".unfinished-1", "1_0", "١"])
def test_ignores_names_that_are_no_number(tmp_path, name):
    (tmp_path / name).mkdir()
    assert layout.published_versions(tmp_path) == []


@pytest.mark.parametrize("existing", ["2", "002"])
def test_refuses_to_overwrite(tmp_path, existing):
    (tmp_path / existing).mkdir()
    (tmp_path / existing / "saved_model.pb").write_text("served")
    with pytest.raises(VersionExistsError, match="never overwritten"), unfinished_version(tmp_path, 2):
        pytest.fail("must refuse before anything is written")
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing / "saved_model.pb").read_text() == "served"


def test_refuses_a_version_that_another_export_published_meanwhile(tmp_path):
    with unfinished_version(tmp_path, 3) as unfinished:
        publish(tmp_path, 3, text="first")
        with pytest.raises(VersionExistsError):
            unfinished.publish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3"]
    assert (tmp_path / "3" / "saved_model.pb").read_text() == "first"


def test_the_kernel_refuses_what_a_stale_look_allowed(tmp_path, monkeypatch):
    with unfinished_version(tmp_path, 1) as fixed, unfinished_version(tmp_path) as free:
        publish(tmp_path, 1, text="first")
        numbers = iter([1, 2])
        monkeypatch.setattr(layout, "published_versions", lambda folder: [])
        monkeypatch.setattr(layout, "next_version", lambda folder: next(numbers, 3))
        with pytest.raises(VersionExistsError):
            fixed.publish()
        numbers = iter([1, 2])
        assert free.publish() == tmp_path / "2"
    assert (tmp_path / "1" / "saved_model.pb").read_text() == "first"


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), unfinished_version(tmp_path / "new" / "b0") as unfinished:
        (unfinished.path / "variables").mkdir()
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_what_was_there(tmp_path):
    publish(tmp_path / "b0")
    with pytest.raises(KeyError), unfinished_version(tmp_path / "b0"):
        raise KeyError
    assert layout.published_versions(tmp_path / "b0") == [1]


def test_published_folders_can_be_read_by_another_user(tmp_path):
    assert publish(tmp_path).stat().st_mode & 0o055 == 0o055


def test_two_exports_at_once_do_not_disturb_each_other(tmp_path):
    with unfinished_version(tmp_path) as first, unfinished_version(tmp_path) as second:
        assert first.path.exists()
        assert second.publish() == tmp_path / "1"
        assert first.publish() == tmp_path / "2"


@pytest.mark.parametrize("name", ["1", "007"])
def test_a_destination_named_like_a_version_is_refused(tmp_path, name):
    with pytest.raises(LayoutError, match="--version"):
        layout.check_destination(tmp_path / name)


def test_a_destination_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LayoutError, match="not a folder"), unfinished_version(tmp_path / "file" / "b0"):
        pass
    with pytest.raises(LayoutError, match="cannot be made"), unfinished_version(layout.Path("/proc/b0")):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_destination_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LayoutError, match="permission"):
        layout.check_destination(tmp_path / "b0")


def test_a_negative_version_is_refused(tmp_path):
    with pytest.raises(LayoutError, match="negative"):
        layout.check_destination(tmp_path / "b0", -1)


# Publishes versions as fast as it can, each with many files, until it is killed.
PUBLISHER = """
import itertools, sys
from pathlib import Path
from serving.layout import unfinished_version
for _ in itertools.count():
    with unfinished_version(Path(sys.argv[1])) as unfinished:
        for number in range(20):
            (unfinished.path / f"file{number}").write_text("whole")
        print("publishing", flush=True)
        unfinished.publish()
"""


def test_kill_at_any_moment_leaves_only_whole_versions(tmp_path):
    folder = tmp_path / "b0"
    for moment in range(20):
        command = [sys.executable, "-c", PUBLISHER, str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        for _ in range(2):  # at the second, one version is out
            process.stdout.readline()
        time.sleep(moment * 0.005)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for version in layout.published_versions(folder):
            whole = folder / str(version)
            assert [(whole / f"file{n}").read_text() for n in range(20)] == ["whole"] * 20
    left = [path for path in folder.iterdir() if path.name.startswith(layout.UNFINISHED_PREFIX)]
    assert len(left) <= 1  # each export removed what the killed one before it had left
    assert layout.remove_abandoned(folder) == left
    assert len(layout.published_versions(folder)) >= 1
