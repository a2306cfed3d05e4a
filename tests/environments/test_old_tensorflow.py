"""Exports of the current TensorFlow, executed by the older ones that servers run.

Each export is run in a Session of this TensorFlow first; the older ones, each in an environment with
nothing but TensorFlow and numpy, must give the same label maps on the same photographs. Which
versions: the variable OLD_TENSORFLOW, as `make test-old-tensorflow` sets it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CHECK = ROOT / "serving" / "session_check.py"
PHOTOS = [
    ROOT / "tests" / "fixtures" / "photos" / name for name in ("china.jpg", "coffee.png", "astronaut.png")
]
# Label maps of two versions differ where two logits are nearly equal: at most this share of pixels.
TIES = "1e-4"

pytestmark = pytest.mark.old_tensorflow


@pytest.fixture(scope="module", params=["b0", "b4"])
def export(request, tmp_path_factory):
    """A version folder, and the answers of this TensorFlow's Session to the photographs."""
    from serving.export import export_saved_model
    from torch_ref import write_seeded_checkpoint

    folder = tmp_path_factory.mktemp(request.param)
    write_seeded_checkpoint(folder / "checkpoint", request.param)
    version = export_saved_model(folder / "checkpoint", folder / "models" / "seeded", batch_sizes=[1])
    answers = folder / "answers.npz"
    run(sys.executable, version, "--outputs", answers)
    return version, answers


def run(python, version, *arguments):
    """Run the check with the photographs; return its report."""
    images = [part for photo in PHOTOS for part in ("--image", photo)]
    answer = subprocess.run(
        [python, CHECK, version, *images, *arguments], capture_output=True, text=True, cwd="/"
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return json.loads(answer.stdout[answer.stdout.index("{") :])


@pytest.mark.parametrize("release", os.environ.get("OLD_TENSORFLOW", "2.20 2.18").split())
def test_an_export_gives_the_same_answers_under_an_older_tensorflow(export, release):
    python = ROOT / ".venvs" / f"tensorflow-{release}" / "bin" / "python"
    assert python.exists(), f"{python} is missing: run `make environments`"
    version, answers = export
    report = run(python, version, "--expect", answers, "--ties", TIES)
    assert report["tensorflow"].startswith(f"{release}.")
    assert report["foreign_modules"] == []
    assert report["compared"]
