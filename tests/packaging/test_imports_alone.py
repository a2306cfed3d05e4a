"""Each package imports alone, in a process of its own where whatever it must not need cannot be found.

import-linter (`make check`) reads the source; this runs it, third parties included. Looking into
`sys.modules` afterwards would not do: transformers imports torch by itself wherever it is installed.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

TEST_TOOLS = "pytest hypothesis ruff mypy"
# `parity` imports both sides inside functions only.
WORKS_WITHOUT = {
    "tf_segformer": f"torch torchvision torch_ref parity serving {TEST_TOOLS}",
    "torch_ref": f"tensorflow keras tf_segformer parity serving {TEST_TOOLS}",
    "parity": "tensorflow keras torch transformers tf_segformer torch_ref serving",
    "serving": f"torch torchvision torch_ref parity {TEST_TOOLS}",
}

IMPORT_ALL = """
import importlib, pkgutil, sys

class Hiding:
    def __init__(self, finder, hidden):
        self.finder, self.hidden = finder, hidden
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in self.hidden:
            return self.finder.find_spec(name, path, target)
    def __getattr__(self, name):
        return getattr(self.finder, name)

package, *hidden = sys.argv[1:]
sys.meta_path[:] = [Hiding(finder, hidden) for finder in sys.meta_path]
imported = importlib.import_module(package)
for module in pkgutil.walk_packages(imported.__path__, package + "."):
    if not module.name.endswith(".__main__"):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize("package", sorted(WORKS_WITHOUT))
def test_a_package_imports_alone_without_what_it_must_not_need(package):
    command = [sys.executable, "-W", "error", "-c", IMPORT_ALL, package, *WORKS_WITHOUT[package].split()]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
