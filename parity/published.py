"""NVIDIA's published checkpoints, each compared from the files of one commit of the Hub.

The list is `published.json`. A checkpoint that is pinned has the commit that it is to be read from; of one
that is not, the newest is taken, and said. What a run has compared stands in its report, and a run with the
same report and settings goes on where the last one stopped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from parity.pipeline import Run
from parity.results import ResultError
from parity.running import HarnessError
from parity.tolerances import ToleranceError

LIST_VERSION = 1
# What is read of a repository: the config files and PyTorch's weights, whole or sharded.
FILES = ("config.json", "preprocessor_config.json", "model*.safetensors*", "pytorch_model*.bin*")


class ListError(ValueError):
    """A list of checkpoints cannot be used."""


@dataclass(frozen=True)
class Published:
    """A checkpoint of the list.

    Attributes:
        id: of the Hub's repository.
        revision: the commit to read, 40 hexadecimal digits; None: the newest.
    """

    id: str
    revision: str | None


@dataclass(frozen=True)
class Outcome:
    """What became of one checkpoint.

    Attributes:
        id: of the Hub's repository.
        revision: the commit that was read; empty if it could not be found out.
        pinned: whether the list names it.
        verdict: ``equal``, ``different`` or ``error``.
        finding: where a difference begins, or what broke down, in words.
        logits_float32: largest error of a float32 logit ÷ their scale; None where there is none.
        logits_float64: the same in float64.
        compared: comparisons made.
        labels: pixels of the label maps that were compared.
        disagreeing: how many of them differ, all of them ties if the verdict is ``equal``.
    """

    id: str
    revision: str
    pinned: bool
    verdict: str
    finding: str
    logits_float32: float | None = None
    logits_float64: float | None = None
    compared: int = 0
    labels: int = 0
    disagreeing: int = 0


def read_list(path: Path | None = None) -> list[Published]:
    """Read a list of checkpoints; NVIDIA's by default.

    Raises:
        ListError: it is missing, of another version, empty, or has an entry that makes no sense.
    """
    name = "published.json" if path is None else str(path)
    try:
        file = resources.files("parity").joinpath("published.json") if path is None else path
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["version"] != LIST_VERSION:
            raise ListError(f"{name} is of version {content['version']}, this parity reads {LIST_VERSION}")
        entries = [Published(**entry) for entry in content["checkpoints"]]
    except ListError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ListError(
            f"cannot read the list {name}: {type(error).__name__}: {error}; expected "
            '{"version": 1, "checkpoints": [{"id": "owner/name", "revision": null or a commit}]}'
        ) from error
    for entry in entries:
        if not isinstance(entry.id, str) or not re.fullmatch(r"[\w.-]+/[\w.-]+", entry.id):
            raise ListError(f"{name}: {entry.id!r} is no id of a repository; expected owner/name")
        if entry.revision is not None and not re.fullmatch(r"[0-9a-f]{40}", str(entry.revision)):
            raise ListError(
                f"{name}: the revision of {entry.id} is {entry.revision!r}; expected a commit of 40 "
                "hexadecimal digits, or null: a branch would not pin anything"
            )
    if len({entry.id for entry in entries}) < len(entries) or not entries:
        raise ListError(f"{name} lists {'a checkpoint twice' if entries else 'no checkpoint'}")
    return entries


def list_text(entries: Sequence[Published]) -> str:
    """The list as a file, one line a checkpoint."""
    lines = ",\n".join(f"    {json.dumps(asdict(entry))}" for entry in entries)
    return f'{{\n  "version": {LIST_VERSION},\n  "checkpoints": [\n{lines}\n  ]\n}}\n'


def chosen(entries: Sequence[Published], only: str | None) -> list[Published]:
    """The entries whose id has one of some comma-separated words in it; all by default.

    Raises:
        ListError: a word fits none.
    """
    if only is None:
        return list(entries)
    words = [word.strip() for word in only.split(",") if word.strip()]
    idle = [word for word in words if not any(word in entry.id for entry in entries)]
    if idle or not words:
        raise ListError(f"--only {only!r} fits no checkpoint of the list: {', '.join(idle) or 'it is empty'}")
    return [entry for entry in entries if any(word in entry.id for word in words)]


def fetch(entry: Published) -> tuple[str, Path]:
    """The commit of a checkpoint and the folder with its files, downloaded if they are not in the cache.

    Raises:
        HarnessError: the Hub cannot be asked, or does not have it.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        commit = entry.revision or HfApi().model_info(entry.id).sha
        if not commit:
            raise HarnessError(f"the Hub names no commit of {entry.id}")
        folder = snapshot_download(entry.id, revision=commit, allow_patterns=list(FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        text = " ".join(str(error).split())
        raise HarnessError(f"cannot fetch {entry.id}: {type(error).__name__}: {text[:300]}") from error
    return commit, Path(folder)


def run_published(
    entries: Sequence[Published],
    compare: Callable[[Path], Run],
    known: Sequence[Outcome] = (),
    get: Callable[[Published], tuple[str, Path]] = fetch,
) -> Iterator[Outcome]:
    """Compare one checkpoint after the other; one that cannot be compared does not stop the others.

    Args:
        entries: what to compare.
        compare: runs both frameworks on a folder.
        known: outcomes of an earlier run with the same settings; those with a verdict are taken over,
            unless their checkpoint is now to be read from another commit.
        get: finds out the commit and downloads it.
    """
    done = {each.id: each for each in known if each.verdict != "error"}
    for entry in entries:
        earlier = done.get(entry.id)
        if earlier is not None and entry.revision in (None, earlier.revision):
            yield replace(earlier, pinned=entry.revision is not None)
            continue
        commit = entry.revision or ""
        try:
            commit, folder = get(entry)
            yield _outcome(entry, commit, compare(folder))
        except (HarnessError, ResultError, ToleranceError) as error:
            yield Outcome(entry.id, commit, entry.revision is not None, "error", str(error))


def pinned(entries: Sequence[Published], outcomes: Sequence[Outcome]) -> list[Published]:
    """The list with the commits that were read; an entry that was not compared stays as it was."""
    found = {each.id: each.revision for each in outcomes if each.verdict != "error"}
    return [replace(entry, revision=found.get(entry.id, entry.revision)) for entry in entries]


def markdown(outcomes: Sequence[Outcome]) -> str:
    """The table, one line a checkpoint."""
    lines = [
        "| checkpoint | commit | float32 logits, error ÷ scale | float64 | labels that agree | verdict |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for each in outcomes:
        numbers = [
            "" if value is None else f"{value:.1e}" for value in (each.logits_float32, each.logits_float64)
        ]
        commit = (each.revision[:12] or "unknown") + ("" if each.pinned else " (not pinned)")
        labels = f"{each.labels - each.disagreeing:,} of {each.labels:,}" if each.labels else ""
        verdict = each.verdict if each.verdict == "equal" else f"**{each.verdict}**"
        lines.append(f"| {each.id} | {commit} | {' | '.join(numbers)} | {labels} | {verdict} |")
    return "\n".join(lines)


def _outcome(entry: Published, commit: str, run: Run) -> Outcome:
    errors: dict[str, float] = {}
    for lane in run.lanes:
        for row in lane.of_level("logits"):
            if row.errors is not None and row.errors.finite:
                errors[lane.dtype] = row.errors.error_over_scale
    labels = [row.labels for lane in run.lanes for row in lane.rows if row.labels is not None]
    return Outcome(
        entry.id,
        commit,
        entry.revision is not None,
        "equal" if run.equal else "different",
        run.first_difference,
        errors.get("float32"),
        errors.get("float64"),
        sum(len(lane.rows) for lane in run.lanes),
        sum(math.prod(each.shape) for each in labels),
        sum(each.disagreeing for each in labels),
    )


def outcomes_of(report: dict[str, Any]) -> list[Outcome]:
    """The outcomes in a report.

    Raises:
        TypeError, KeyError: it is none.
    """
    return [Outcome(**entry) for entry in report["checkpoints"]]
