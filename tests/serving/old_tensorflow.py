"""Runs `serving/session_check.py` on an export under the TensorFlow versions of `make environments`."""

import json
import os
import subprocess
from pathlib import Path

from serving import session_check

ENVIRONMENTS = Path(__file__).parents[2] / ".venvs"
VERSIONS = os.environ.get("OLD_TENSORFLOW", "2.20 2.18").split()


def check(version, export, inputs, folder, *arguments):
    """Run an export on inputs, arrays by "signature/input"; `folder` is for the files of this run."""
    session_check.write_npz(folder / "inputs.npz", inputs)
    python = ENVIRONMENTS / f"tensorflow-{version}" / "bin" / "python"
    assert python.exists(), f"{python} is missing; run `make environments`"
    command = [python, session_check.__file__, export, "--inputs", folder / "inputs.npz", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def compare(version, export, inputs, expected, folder):
    """Hold an export's answers against the expected ones, arrays by "signature/output"; return the report."""
    session_check.write_npz(folder / "expected.npz", expected)
    report_file = folder / "report.json"
    check(version, export, inputs, folder, "--expect", folder / "expected.npz", "--json", report_file)
    report = json.loads(report_file.read_text())
    assert report["tensorflow"].startswith(f"{version}.")
    assert set(report["compared"]) == set(expected)
    return report
