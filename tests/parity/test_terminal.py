"""The progress of long commands: a bar in a terminal, some lines elsewhere."""

import pytest

from parity.terminal import progress_bar


@pytest.mark.parametrize(("total", "lines"), [(3, 3), (10, 10), (1000, 10), (1, 1)])
def test_some_lines_where_there_is_no_terminal(total, lines, capsys):
    said = []
    with progress_bar("segmenting", total, said.append) as step:
        for number in range(total):
            step(f"image {number}")
    assert len(said) == lines
    assert said[-1] == f"segmenting: {total:,} of {total:,}, image {total - 1}"
    assert capsys.readouterr().err == ""


def test_a_bar_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes any stream for a terminal
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar("segmenting", 4, pytest.fail) as step:
        for _ in range(4):
            step("mIoU 0.4321")
    shown = capsys.readouterr().err
    assert "4/4" in shown and "mIoU 0.4321" in shown
