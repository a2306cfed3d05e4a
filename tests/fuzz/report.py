"""What a fuzz run found, and how it is shown and kept."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.fuzz.inputs import Input

OUTCOMES = ("read by both", "refused by both", "differs")
SAVED_PER_CLASS = 10


@dataclass
class Difference:
    """An input on which Pillow and the graph differ, and what each says ("" where it reads the file)."""

    input: Input
    what: str
    pillow: str
    graph: str
    explanation: str | None

    @property
    def group(self) -> tuple[str, str, str, str]:
        """The class of the difference: numbers in the messages do not matter."""
        pillow, graph = (re.sub(r"0x\w+|\d+", "#", text) for text in (self.pillow, self.graph))
        return self.input.file_format, self.what, pillow, graph


@dataclass
class Memory:
    """The resident memory of one process during a run, in bytes; `after_the_bombs` before each batch."""

    name: str
    warm: int = 0
    peak: int = 0
    after_the_bombs: list[int] = field(default_factory=list)

    @property
    def half_way(self) -> int:
        """The median of the first tenth of the batches in the second half."""
        half = self.after_the_bombs[len(self.after_the_bombs) // 2 :]
        return int(median(half[: len(half) // 10 + 1]))

    @property
    def end(self) -> int:
        """The median of as many batches at the end."""
        half = self.after_the_bombs[len(self.after_the_bombs) // 2 :]
        return int(median(half[-(len(half) // 10 + 1) :]))


@dataclass
class Report:
    """The counts and findings of a run. It passed where `failures` and `unexplained` are empty."""

    inputs: Counter[tuple[str, str]] = field(default_factory=Counter)  # by format and outcome
    differences: list[Difference] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    suspects: list[tuple[str, bytes]] = field(default_factory=list)  # names and files of failures
    memory: dict[str, Memory] = field(default_factory=dict)  # by process
    slowest: list[tuple[float, str]] = field(default_factory=list)  # seconds of a batch, its inputs
    batches: int = 0
    good_compared: int = 0
    seconds: float = 0.0

    @property
    def unexplained(self) -> list[Difference]:
        """The differences that no documented class covers."""
        return [found for found in self.differences if found.explanation is None]

    @property
    def passed(self) -> bool:
        """Whether nothing failed and every difference is explained."""
        return not self.failures and not self.unexplained

    def took(self, seconds: float, names: str) -> None:
        """Note how long a batch took; the slowest ones are kept."""
        self.slowest = sorted([*self.slowest, (seconds, names[:300])], reverse=True)[:5]


def show(report: Report, console: Console) -> None:
    """Print the tables."""
    table = Table("format", *OUTCOMES, "inputs", title="Inputs: Pillow and the graph")
    formats = sorted({name for name, _ in report.inputs})
    for name in formats:
        counts = [report.inputs[name, outcome] for outcome in OUTCOMES]
        table.add_row(name, *map(str, counts), str(sum(counts)))
    totals = [sum(report.inputs[name, outcome] for name in formats) for outcome in OUTCOMES]
    table.add_row("all", *map(str, totals), str(sum(totals)), style="bold")
    console.print(table)

    groups: dict[str | None, Counter] = defaultdict(Counter)
    for found in report.differences:
        groups[found.explanation][found.group] += 1
    if groups:
        table = Table("n", "format", "difference", "Pillow", "graph", title="Differences", show_lines=True)
        for group, count in groups.pop(None, Counter()).most_common():
            table.add_row(str(count), *group, style="red")
        for explanation, counts in sorted(groups.items()):
            by_format = Counter({name: 0 for name in formats})
            for (name, *_), count in counts.items():
                by_format[name] += count
            names = ", ".join(name for name in formats if by_format[name])
            table.add_row(str(counts.total()), names, f"explained: {explanation}", "", "")
        console.print(table)

    columns = ("process", "warm", "after the bombs", "half way", "end", "peak")
    table = Table(*columns, title="Resident memory, MB")
    for memory in report.memory.values():
        if memory.after_the_bombs:
            sizes = (memory.warm, memory.after_the_bombs[0], memory.half_way, memory.end, memory.peak)
            table.add_row(memory.name, *(str(size >> 20) for size in sizes))
    console.print(table)
    for seconds, names in report.slowest:
        console.print(f"slow batch: {seconds:.1f} s: {names}", markup=False)
    for failure in report.failures:
        console.print(f"failed: {failure}", style="red", markup=False)
    console.print(
        f"{sum(totals)} inputs in {report.batches} batches, {report.good_compared} good files among them "
        f"compared bit for bit, {report.seconds:.0f} s. {'Passed.' if report.passed else 'FAILED.'}"
    )


def save(report: Report, folder: Path) -> None:
    """Write the files that failed or differ, some of each class, and what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    groups: dict[tuple[str, ...], list[Difference]] = defaultdict(list)
    for found in report.differences:
        groups[found.explanation or "", *found.group].append(found)
    summary = []
    for number, (group, found) in enumerate(sorted(groups.items())):
        examples = folder / f"class-{number:03}"
        examples.mkdir()
        for one in found[:SAVED_PER_CLASS]:
            (examples / re.sub(r"\W+", "-", f"{one.input.name} {one.input.change}")[:100]).write_bytes(
                one.input.data
            )
        keys = ("explanation", "format", "difference", "pillow", "graph")
        names = [one.input.name for one in found]
        summary.append({"class": number, "count": len(found), **dict(zip(keys, group, strict=True))})
        summary[-1]["inputs"] = names[:100]
    for name, data in report.suspects:
        (folder / f"failed-{re.sub(r'[^A-Za-z0-9]+', '-', name)}").write_bytes(data)
    memory = [asdict(each) for each in report.memory.values()]
    content = {"failures": report.failures, "differences": summary, "memory": memory}
    (folder / "report.json").write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
