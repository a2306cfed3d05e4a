"""The benchmark of pixels and labels: its arithmetic, its tables, and where they are written."""

import json
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measuring import memory_of, ratio
from benchmarks.pixels import BEGIN, DEFAULTS, END, between_markers, circumstances, command

ROOT = Path(__file__).parents[2]


def test_a_ratio_is_that_of_pairs():
    """While the machine was slow, both sides were: the ratio of each pair is 2 or 3."""
    assert ratio([2, 20, 300], [1, 10, 100]) == (2, 2, 2.5)
    assert ratio([3], [2]) == (1.5, 1.5, 1.5)
    assert str(ratio([3], [2])) == "1.50 (1.50–1.50)"
    with pytest.raises(ValueError):
        ratio([1, 2], [1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_is_given_back_counts():
    size = 200 << 20
    taken = memory_of(lambda: np.ones(size, np.uint8).max())
    assert 0.9 * size < taken.extra < 2 * size
    assert taken.peak > taken.extra


def test_tables_replace_what_is_between_the_markers():
    page = f"above\n{BEGIN}\nold\n{END}\nbelow\n"
    once = between_markers(page, "new")
    assert once == f"above\n{BEGIN}\n\nnew\n\n{END}\nbelow\n"
    assert between_markers(once, "new") == once


@pytest.mark.parametrize("page", ["", BEGIN, f"{END}{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_pages_without_the_markers_are_refused(page):
    with pytest.raises(ValueError, match="expected one line"):
        between_markers(page, "new")


def test_the_documents_tables_can_be_written():
    between_markers((ROOT / "docs/performance.md").read_text(encoding="utf-8"), "")


def test_the_command_is_the_one_that_was_run():
    assert command(Namespace(**DEFAULTS)) == "python -m benchmarks.pixels"
    options = Namespace(**{**DEFAULTS, "sizes": ["64x48"], "repeats": 9, "no_memory": True})
    assert command(options) == "python -m benchmarks.pixels --sizes 64x48 --repeats 9 --no-memory"


@pytest.mark.parametrize(("load", "busy"), [(0.1, False), (1.4, True)])
def test_a_busy_machine_is_mentioned(load, busy):
    result = {
        **{"machine": {"processor": "CPU", "cores": "2"}, "versions": {"pillow": "13"}, "load_before": load},
        **{"command": "run", "threads": 2, "repeats": 5},
    }
    assert ("The machine was busy" in circumstances(result)) == busy


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.pixels", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_a_page_that_cannot_be_written_is_refused_before_anything_is_measured(tmp_path):
    (tmp_path / "page.md").write_text("no markers")
    failed = run("--write", tmp_path / "page.md")
    assert failed.returncode == 2
    assert "page.md: expected one line" in failed.stderr
    assert "resize" not in failed.stderr.splitlines()[-1]


def test_one_question_at_a_small_size(tmp_path):
    page, times = tmp_path / "page.md", tmp_path / "times.json"
    page.write_text(f"{BEGIN}\n{END}\n")
    done = run(
        *("--questions", "resize", "--sizes", "64x48", "--repeats", 1, "--no-memory"),
        *("--json", times, "--write", page),
    )
    assert done.returncode == 0, done.stderr
    assert "| resize | BILINEAR | 64x48 |" in page.read_text(encoding="utf-8")
    result = json.loads(times.read_text())
    assert [row["different"] for row in result["resize"]] == [0, 0]
    assert set(result["machine"]) == {"platform", "processor", "cores"}
    assert str(ROOT) not in times.read_text() and str(tmp_path) not in times.read_text()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_every_question_with_memory(tmp_path):
    done = run("--sizes", "64x48", "--repeats", 1, "--json", tmp_path / "times.json")
    assert done.returncode == 0, done.stderr
    for row in ("| resize | BILINEAR | 64x48 |", "| labels | regions | 64x48 |", "| whole request |"):
        assert row in done.stdout
    assert done.stdout.count(" MB |") >= 8
    result = json.loads((tmp_path / "times.json").read_text())
    assert set(result["request"]["different_pixels"]) == {"64x48"}
