"""The parent's side of `session_process`: it sends batches, watches for crashes and hangs, and memory."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from serving import session_check

Answer = dict[str, Any]
MB = 1 << 20
SAMPLE_SECONDS = 0.05


class SessionDiedError(RuntimeError):
    """The process of the Session crashed, hung or grew beyond its limit; `in_flight` are the suspects."""

    def __init__(self, message: str, in_flight: list[list[bytes]]) -> None:
        super().__init__(message)
        self.in_flight = in_flight


class SessionProcess:
    """A model in a Session in a process of its own. Use as a context manager.

    Args:
        version_dir: the model.
        runs: how many requests it works on at once.
        threads: intra-op and inter-op threads, 0 for one a core.
        patience: seconds without an answer after which it counts as hung.
        memory_limit: bytes of resident memory at which it is killed.
        checker: the module that runs the model, with the names of `serving.session_check`.
    """

    def __init__(
        self,
        version_dir: Path,
        runs: int = 2,
        threads: int = 0,
        patience: float = 120.0,
        memory_limit: int = 6 << 30,
        checker: Path = Path(session_check.__file__),
    ) -> None:
        self.patience, self.memory_limit = patience, memory_limit
        self.peak = 0  # bytes of resident memory, sampled; set it to 0 to start again
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        script = Path(__file__).with_name("session_process.py")
        arguments = [str(checker), str(version_dir), str(runs), str(threads)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
        )
        self._waiting: dict[int, list[bytes]] = {}
        self._answers: queue.Queue[Answer | None] = queue.Queue()
        self._sent = 0
        self._too_large = False
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read, self._sample)]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> SessionProcess:
        try:
            ready = self._next_answer()
            if ready.get("id") != "ready" or ready["foreign_modules"]:
                raise RuntimeError(f"The process is not what a server is: {ready}")
            self.signatures: list[str] = ready["signatures"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join()
        self._process.stdout.close()  # type: ignore[union-attr]
        self._log.close()

    @property
    def in_flight(self) -> int:
        """The number of requests without an answer."""
        return len(self._waiting)

    def send(self, signature: str, files: list[bytes]) -> int:
        """Send a batch of files and return the request's number."""
        self._sent += 1
        self._waiting[self._sent] = files
        data = pickle.dumps({"id": self._sent, "signature": signature, "files": files})
        try:
            self._process.stdin.write(struct.pack("<Q", len(data)) + data)  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except OSError:
            raise self._died("It crashed") from None
        return self._sent

    def receive(self) -> Answer:
        """Return the next answer: its ``id``, ``seconds``, and ``outputs`` by name or an ``error``.

        Raises:
            SessionDiedError: the process crashed, hung or became too large.
        """
        answer = self._next_answer()
        del self._waiting[answer["id"]]
        return answer

    def run(self, signature: str, files: list[bytes]) -> Answer:
        """Send a batch and wait for its answer; nothing else may be in flight."""
        self.send(signature, files)
        return self.receive()

    def memory(self) -> int:
        """Return the resident memory in bytes, 0 where it cannot be known."""
        try:
            pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGE_SIZE")

    def log_bytes(self) -> int:
        """Return how much the process wrote to its log."""
        return os.fstat(self._log.fileno()).st_size

    def _next_answer(self) -> Answer:
        try:
            answer = self._answers.get(timeout=self.patience)
        except queue.Empty:
            self._process.kill()
            raise self._died(f"It hung: no answer for {self.patience:.0f} s") from None
        if answer is None:
            raise self._died("It grew too large" if self._too_large else "It crashed")
        return answer

    def _died(self, what: str) -> SessionDiedError:
        code = self._process.wait()
        self._log.seek(max(self.log_bytes() - 3000, 0))
        log = self._log.read().decode(errors="replace")
        return SessionDiedError(
            f"{what} (exit code {code}, peak {self.peak >> 20} MB). Its log ends:\n{log}",
            list(self._waiting.values()),
        )

    def _read(self) -> None:
        output = self._process.stdout
        while head := output.read(8):  # type: ignore[union-attr]
            length = struct.unpack("<Q", head)[0]
            data = output.read(length)  # type: ignore[union-attr]
            if len(data) < length:
                break
            self._answers.put(pickle.loads(data))
        self._answers.put(None)

    def _sample(self) -> None:
        while self._process.poll() is None:
            now = self.memory()
            self.peak = max(self.peak, now)
            if now > self.memory_limit:
                self._too_large = True
                self._process.kill()
            time.sleep(SAMPLE_SECONDS)
