import sys
from pathlib import Path

import pytest

from parity import processes
from parity.processes import record, record_command
from parity.running import HarnessError, Request

REQUEST = Request("model", Path("picture.png"), "float32", ("logits",), 64)


def run_child(monkeypatch, tmp_path, code):
    monkeypatch.setattr(processes, "record_command", lambda *args: [sys.executable, "-c", code])
    said = []
    record("torch_ref", REQUEST, tmp_path / "out", say=said.append)
    return said


def test_the_command_can_be_repeated_by_hand():
    command = record_command("tf_segformer", REQUEST, Path("out"), Path("given"))
    assert " ".join(command[1:]) == (
        "-m parity record model --runner tf_segformer --image picture.png --dtype float32 "
        "--levels logits --output out --size 64 --given given"
    )


def test_a_child_s_own_words_are_passed_on(monkeypatch, tmp_path):
    code = "import sys; print('noise\\nparity: no weights', file=sys.stderr); sys.exit(3)"
    with pytest.raises(HarnessError, match=r"^no weights$"):
        run_child(monkeypatch, tmp_path, code)


def test_a_child_that_crashes_shows_its_last_words(monkeypatch, tmp_path):
    with pytest.raises(HarnessError, match=r"(?s)exited with code 1.*ZeroDivisionError"):
        run_child(monkeypatch, tmp_path, "1 / 0")


def test_a_child_that_is_killed_is_explained(monkeypatch, tmp_path):
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    with pytest.raises(HarnessError, match=r"killed by signal 9 .*out of memory"):
        run_child(monkeypatch, tmp_path, code)


def test_a_child_that_leaves_no_result_is_an_error(monkeypatch, tmp_path):
    with pytest.raises(RuntimeError, match="no complete parity result"):
        run_child(monkeypatch, tmp_path, "print('done')")


def test_progress_is_passed_on(monkeypatch, tmp_path):
    said = []
    monkeypatch.setattr(
        processes,
        "record_command",
        lambda *args: [sys.executable, "-c", "print('one'); print('two'); raise SystemExit(5)"],
    )
    with pytest.raises(HarnessError):
        record("torch_ref", REQUEST, tmp_path / "out", say=said.append)
    assert said == ["one", "two"]


def test_levels_of_another_lane_are_refused(tmp_path):
    request = Request("model", Path("picture.png"), "float64", ("pixels",))
    with pytest.raises(HarnessError, match="no level pixels"):
        record("torch_ref", request, tmp_path, say=print)
