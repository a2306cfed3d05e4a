"""transformers' last TensorFlow class, in the Python of `make legacy-environment`, over a pipe.

The other process measures itself, so that the pipe costs it nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Memory
from benchmarks.sides import ROOT, Network, legacy_python


class LegacyProcess:
    """The process of `benchmarks.sides.legacy_process`; a request is a line of JSON, and so is its answer."""

    def __init__(self, checkpoint: Path, threads: int) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TF_USE_LEGACY_KERAS": "1",
            "HF_HUB_OFFLINE": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        environment.pop("KERAS_BACKEND", None)
        command = [legacy_python(), "-m", "benchmarks.sides.legacy_process", checkpoint, str(threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=environment
        )
        self.versions: dict[str, str] = self._answer()

    def ask(self, command: str, content: np.ndarray | None = None, **request: Any) -> Any:
        """Send a request, with an array if there is one, and return the answer."""
        stdin = self.process.stdin
        assert stdin is not None
        shape = None if content is None else list(content.shape)
        stdin.write(json.dumps({"command": command, "shape": shape, **request}).encode() + b"\n")
        if content is not None:
            stdin.write(np.ascontiguousarray(content, np.float32).tobytes())
        stdin.flush()
        return self._answer()

    def array(self, command: str, content: np.ndarray) -> np.ndarray:
        """Send a request whose answer is an array."""
        shape = self.ask(command, content)
        stdout = self.process.stdout
        assert stdout is not None
        data = stdout.read(4 * int(np.prod(shape)))
        return np.frombuffer(data, np.float32).reshape(shape)

    def _answer(self) -> Any:
        stdout = self.process.stdout
        assert stdout is not None
        line = stdout.readline()
        if not line:
            raise RuntimeError(f"the legacy process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer["result"]


class LegacyNetwork(Network):
    """A network whose calls are made and measured in the other process."""

    def __init__(self, process: LegacyProcess) -> None:
        super().__init__(lambda values: process.array("logits", values))
        self.process, self.versions = process, process.versions
        self.given: Any = None

    def seconds(self, given: Any) -> float:
        """Return what the other process's clock says."""
        self._give(given)
        return float(self.process.ask("time"))

    def memory(self, given: Any) -> Memory:
        """Return the other process's memory."""
        self._give(given)
        return Memory(*self.process.ask("memory"))

    def _give(self, given: Any) -> None:
        if self.given is not given:
            self.process.ask("take", given)
            self.given = given


def legacy_class(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """`TFSegformerForSemanticSegmentation` of transformers 4.57.6 in a `tf.function`."""
    return LegacyNetwork(LegacyProcess(work / "legacy", threads))
