"""A fuzz run: every input through Pillow, through the decoders, and through an export in mixed batches."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests.fuzz.bombs import BOMBS
from tests.fuzz.explained import explanation
from tests.fuzz.inputs import WARM_UP, Input
from tests.fuzz.pillow_reference import difference, open_with_pillow
from tests.fuzz.report import Difference, Memory, Report
from tests.fuzz.served_checks import (
    BATCH,
    OK,
    SIGNATURES,
    UNFIT,
    Expected,
    broken_promise,
    good_files,
    item,
)
from tests.fuzz.session import MB, Answer, SessionDiedError, SessionProcess

FUZZED_IN_A_BATCH = 26
# Batches after which memory is looked at: when the process is warm, and when it has met every bomb.
WARM = WARM_UP // FUZZED_IN_A_BATCH
BOMBED = -(-(WARM_UP + len(BOMBS)) // FUZZED_IN_A_BATCH)
AT_ONCE = 2  # requests within the export's Session, as with two batching threads of a server
ENOUGH_DEATHS = 5
# How far the resident memory may rise at any moment above that of the warm process: the largest bombs have
# 20 MB, and a batch of them is in memory several times over.
PEAK_LIMIT = 700 * MB
# The allocator keeps what the bombs took, and takes more as large batches of other kinds meet; a leak goes on
# in the second half of what follows the bombs, between the medians of its first and its last tenth.
GROWTH_LIMIT = 75 * MB


class _Sent(NamedTuple):
    """A batch on its way through the export: an input or the index of a good file at each place."""

    signature: str
    slots: list[Input | int]
    outcomes: dict[str, tuple[bool, tuple[int, int]]]  # by input: readable, and its height and width


class Campaign:
    """A fuzz run.

    Args:
        pixels_model: what `pixels_model.save_pixels_model` wrote.
        export: a version of a model.
        max_pixels: with which both were made: images of more pixels must be refused.
        seed: of the places that the good files get in the batches.
        progress: called with the number of inputs done.
        session: the class of the processes.
        signatures: those of the export that are asked. Where images keep their shape, the logits of an image
            are padded to the largest of its batch, and cannot be compared with those of another batch.
        may_be_unfit: whether the export may refuse an image for its shape that it has decoded.
    """

    def __init__(
        self,
        pixels_model: Path,
        export: Path,
        max_pixels: int,
        seed: int = 0,
        progress: Callable[[int], None] = lambda done: None,
        session: Callable[..., SessionProcess] = SessionProcess,
        signatures: Sequence[str] = tuple(SIGNATURES),
        may_be_unfit: bool = False,
    ) -> None:
        self._models = (pixels_model, export)
        self._max_pixels = max_pixels
        self._random = np.random.default_rng(seed)
        self._progress = progress
        self._session = session
        self._signatures = signatures
        self._may_be_unfit = may_be_unfit
        self._waiting: dict[int, _Sent] = {}
        self.report = Report()

    def run(self, inputs: Iterable[Input]) -> Report:
        """Try every input. After a crash or a hang the run goes on in new processes, a few times."""
        stream, start = iter(inputs), time.perf_counter()
        for _ in range(ENOUGH_DEATHS):
            try:
                self._run(stream)
                break
            except SessionDiedError as error:
                number = len(self.report.failures)
                self.report.failures.append(f"{error}\nIts files were saved as failed-{number}-….")
                files = [file for batch in error.in_flight for file in batch]
                self.report.suspects += [(f"{number} {i}", file) for i, file in enumerate(files)]
                self._waiting.clear()
        self.report.seconds = time.perf_counter() - start
        return self.report

    def _run(self, stream: Iterator[Input]) -> None:
        with ExitStack() as stack:
            self._decoders = stack.enter_context(self._session(self._models[0], runs=1))
            self._served = stack.enter_context(self._session(self._models[1], runs=AT_ONCE))
            self._expected = Expected(self._served, good_files(), self._signatures)
            while batch := list(islice(stream, FUZZED_IN_A_BATCH)):
                self._look_at_memory()
                self._send(batch)
                while self._served.in_flight > AT_ONCE:
                    self._receive()
            while self._served.in_flight:
                self._receive()
            self._judge_memory()

    def _send(self, batch: list[Input]) -> None:
        good = self._random.integers(len(self._expected.good), size=BATCH)
        slots: list[Input | int] = [int(index) for index in good]
        for place, one in zip(self._random.permutation(BATCH), batch, strict=False):
            slots[place] = one
        files = [slot.data if isinstance(slot, Input) else self._expected.good[slot] for slot in slots]
        names = self._expected.signatures
        weights = np.array([SIGNATURES[name] for name in names], float)
        signature = names[int(self._random.choice(len(names), p=weights / weights.sum()))]
        number = self._served.send(signature, files)
        self._waiting[number] = _Sent(signature, slots, self._compare_with_pillow(batch))
        self.report.batches += 1

    def _compare_with_pillow(self, batch: list[Input]) -> dict[str, tuple[bool, tuple[int, int]]]:
        files = [one.data for one in batch]
        self._decoders.send("pixels", files)
        references = [open_with_pillow(file, self._max_pixels) for file in files]
        answer = self._decoders.receive()
        names = ", ".join(one.name for one in batch)
        self.report.took(answer["seconds"], f"decoders: {names}")
        if "error" in answer:
            self._fail(f"decoders: the batch failed: {answer['error']}", batch)
            return {}
        outcomes = {}
        pixels = answer["outputs"]["pixels_png_bytes"]
        for one, reference, png in zip(batch, references, pixels, strict=True):
            what = difference(reference, png)
            outcome = "refused by both" if reference.pixels is None else "read by both"
            if what is not None:
                outcome = "differs"
                graph = "" if png else self._reason(one.data)
                why = explanation(what, reference, one.data)
                self.report.differences.append(Difference(one, what, reference.error, graph, why))
            self.report.inputs[one.file_format, outcome] += 1
            size = tuple(int.from_bytes(png[at : at + 4], "big") for at in (20, 16)) if png else (0, 0)
            outcomes[one.name] = (bool(png), size)
        return outcomes

    def _reason(self, file: bytes) -> str:
        """The decoder's own error on a file that it refuses."""
        error = self._decoders.run("one", [file]).get("error", "it reads it alone")
        text = re.sub(r"(?s)^.*failed: (Graph execution error:)?", "", error)
        return " ".join(text.split("[[{{")[0].split())[:120]

    def _receive(self) -> None:
        answer = self._served.receive()
        sent = self._waiting.pop(answer["id"])
        batch = [slot for slot in sent.slots if isinstance(slot, Input)]
        self.report.took(answer["seconds"], "export: " + ", ".join(one.name for one in batch))
        if "error" in answer:
            self._fail(f"{sent.signature}: the batch failed: {answer['error']}", batch)
        else:
            self._check_served(sent, answer, batch)
        self._progress(len(batch))

    def _check_served(self, sent: _Sent, answer: Answer, batch: list[Input]) -> None:
        for place, slot in enumerate(sent.slots):
            if isinstance(slot, int):
                self.report.good_compared += 1
                changed = self._expected.changed(sent.signature, slot, place, answer["outputs"])
                if changed:
                    self._fail(
                        f"{sent.signature}: good file {slot} at place {place} got other {changed}", batch
                    )
                continue
            one = item(answer["outputs"], place)
            problem = broken_promise(one)
            readable, size = sent.outcomes.get(slot.name, (None, None))
            served = (one["status_bytes"] == OK, (int(one["height"]), int(one["width"])))
            if self._may_be_unfit and one["status_bytes"].startswith(UNFIT):
                served = (readable, size)
            if problem is None and readable is not None and served != (readable, size):
                problem = f"{served} where the decoders alone say {(readable, size)}"
            if problem is not None:
                self._fail(f"{sent.signature}: {slot.name} ({slot.kind}, {slot.change}): {problem}", [slot])

    def _fail(self, message: str, batch: list[Input]) -> None:
        number = len(self.report.failures)
        if number < 100:
            self.report.failures.append(f"{message} [failed-{number}-…]")
            self.report.suspects += [(f"{number} {one.name}", one.data) for one in batch]

    def _processes(self) -> Iterator[tuple[SessionProcess, Memory]]:
        for name, process in (("decoders", self._decoders), ("export", self._served)):
            yield process, self.report.memory.setdefault(name, Memory(name))

    def _look_at_memory(self) -> None:
        for process, memory in self._processes():
            if self.report.batches == WARM:
                process.peak = memory.warm = process.memory()
            elif self.report.batches >= BOMBED:
                memory.after_the_bombs.append(process.memory())

    def _judge_memory(self) -> None:
        for process, memory in self._processes():
            memory.peak = process.peak
            if len(memory.after_the_bombs) < 2:
                self.report.failures.append(f"{memory.name}: too few batches to judge its memory")
                continue
            rise, growth = memory.peak - memory.warm, memory.end - memory.half_way
            if rise > PEAK_LIMIT or growth > GROWTH_LIMIT:
                self.report.failures.append(
                    f"{memory.name}: memory rose by {rise >> 20} MB (allowed {PEAK_LIMIT >> 20}) above that "
                    f"of the warm process, and by {growth >> 20} MB (allowed {GROWTH_LIMIT >> 20}) in the "
                    "second half of what followed the bombs"
                )
