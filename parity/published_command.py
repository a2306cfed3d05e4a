"""`parity published`: NVIDIA's checkpoints from the Hub, for whoever has the network."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from parity.circumstances import library_versions
from parity.junit import Case
from parity.options import Dtype, Image, InProcess, Levels, Without, lanes_of, levels_of
from parity.outputs import Config, Json, Junit, Outputs, json_text, prepared, write_text
from parity.pipeline import Settings, run_parity
from parity.published import (
    ListError,
    Outcome,
    chosen,
    list_text,
    markdown,
    outcomes_of,
    pinned,
    read_list,
    run_published,
)
from parity.results import plain, sha256_of
from parity.terminal import DIFFERENT, EQUAL, HARNESS, Progress, workplace

SCHEMA_NAME, SCHEMA_VERSION = "parity-published", 1


def published_command(
    image: Image = None,
    size: Annotated[
        int, typer.Option(min=32, help="Side of the preprocessed image: a fault shows at any size.")
    ] = 128,
    dtype: Dtype = "both",
    levels: Levels = None,
    without: Without = None,
    only: Annotated[
        str | None, typer.Option(help="Comma-separated parts of ids, such as b0,cityscapes.")
    ] = None,
    listed: Annotated[
        Path | None, typer.Option("--list", help="A list of other checkpoints.", exists=True, dir_okay=False)
    ] = None,
    pin: Annotated[
        Path | None, typer.Option(help="Write the list with the commits that were read to this file.")
    ] = None,
    config: Config = None,
    report: Json = None,
    junit: Junit = None,
    in_process: InProcess = False,
) -> int:
    """Compare NVIDIA's published checkpoints. Needs the network; --report makes it resumable."""
    lanes, wanted = lanes_of(dtype), levels_of(levels)
    try:
        everything = read_list(listed)
        entries = chosen(everything, only)
    except ListError as error:
        raise typer.BadParameter(str(error)) from error
    thresholds, outputs = prepared(config, Outputs(report, junit))
    less = levels_of(without) or ()
    settings = Settings(lanes, wanted, without=less, isolate=not in_process, thresholds=thresholds)
    say, outcomes = Progress(), list[Outcome]()
    with (
        tempfile.TemporaryDirectory(prefix="parity-") as temporary,
        workplace(".", image, Path(temporary)) as (work, picture),
    ):
        circumstances = {
            "size": size,
            "dtypes": list(lanes),
            "levels": list(wanted or ()),
            "without": list(less),
            "image_sha256": sha256_of([picture]),
            "thresholds": thresholds.to_dict(),
            "versions": library_versions(),
        }
        known = _known(outputs.json, circumstances)
        found = run_published(
            entries,
            lambda folder: run_parity(str(folder), picture, work, settings, size=size, say=say),
            known,
        )
        for number, outcome in enumerate(found, 1):
            say(f"{number} of {len(entries)}: {outcome.id}: {outcome.verdict}: {outcome.finding}")
            outcomes.append(outcome)
            if outputs.json is not None:
                # What was known of checkpoints still to come stays.
                left = [each for each in known if each.id not in {o.id for o in outcomes}]
                write_text(outputs.json, json_text(_report(circumstances, outcomes + left)))
    code = _exit_code(outcomes)
    outputs = Outputs(None, outputs.junit)
    outputs.write(report=dict, cases=lambda: list(map(_case, outcomes)), page=str, error=None)
    if pin is not None:
        write_text(pin, list_text(pinned(everything, outcomes)))
    print(markdown(outcomes))
    loose = [each.id for each in outcomes if not each.pinned]
    if loose:
        print(
            f"{len(loose)} of {len(outcomes)} are not pinned: their newest commit was read. "
            "--pin FILE writes a list with it, and --list FILE reads it."
        )
    return code


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    verdicts = {outcome.verdict for outcome in outcomes}
    if "different" in verdicts:
        return DIFFERENT
    return EQUAL if verdicts == {"equal"} else HARNESS


def _report(circumstances: dict[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return plain(
        {
            "schema": SCHEMA_NAME,
            "version": SCHEMA_VERSION,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "circumstances": circumstances,
            "checkpoints": [asdict(outcome) for outcome in outcomes],
        }
    )


def _known(path: Path | None, circumstances: dict[str, Any]) -> list[Outcome]:
    """What a report of the same circumstances has already found.

    Raises:
        typer.BadParameter: there is a file, and it is the report of something else.
    """
    if path is None or not path.exists():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if (content["schema"], content["version"]) != (SCHEMA_NAME, SCHEMA_VERSION):
            raise ValueError(f"it is {content['schema']} of version {content['version']}")
        before = content["circumstances"]
        different = sorted(name for name, value in plain(circumstances).items() if before.get(name) != value)
        if different:
            raise ValueError(f"it was made with other {', '.join(different)}")
        return outcomes_of(content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise typer.BadParameter(
            f"cannot go on from the report {path}: {error}. Delete it to begin afresh, or give another one"
        ) from error


def _case(outcome: Outcome) -> Case:
    return Case("published", outcome.id, None if outcome.verdict == "equal" else outcome.finding)
