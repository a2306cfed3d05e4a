"""Reports: the table on the console and the JSON file; both are written on failure too."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from parity.compare import LEVELS, Lane
from parity.faults import Outcome
from parity.pipeline import Run
from parity.results import Manifest, plain
from parity.row import Row
from parity.thresholds import Thresholds

SCHEMA_NAME = "parity-report"
SCHEMA_VERSION = 2
# Levels of hundreds of rows. When not all are asked for, those nearest to their gates are shown, or the first
# failures: what follows a failing tap mostly fails because of it.
LONG_LEVELS = ("taps", "gradients")
SHOWN = 6


def schema() -> dict[str, Any]:
    """The JSON schema of the report (draft 2020-12)."""
    text = resources.files("parity").joinpath("report.schema.json").read_text(encoding="utf-8")
    return json.loads(text)


def report_dict(
    *,
    model: str,
    image: str,
    run: Run | None,
    exit_code: int,
    error: str | None = None,
    created: str | None = None,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
) -> dict[str, Any]:
    """The report as strict JSON values.

    Args:
        model: the checkpoint as it was given.
        image: name of the image file.
        run: what was found; None if the run broke down.
        exit_code: the code that the command ends with.
        error: what broke down.
        created: ISO time; now by default.
        thresholds: the gates of a run that broke down; a run knows its own.
    """
    gates = thresholds if run is None else run.thresholds
    verdict = "error" if run is None else "equal" if run.equal else "different"
    return plain(
        {
            "schema": SCHEMA_NAME,
            "version": SCHEMA_VERSION,
            "created": created or datetime.now(UTC).isoformat(timespec="seconds"),
            "model": model,
            "image": image,
            "verdict": verdict,
            "exit_code": exit_code,
            "error": error,
            "first_difference": None if run is None else run.first_difference,
            "tolerances": {
                "logits_float32_of_scale": gates.logits_float32,
                "float64_of_scale": gates.float64,
                "taps_float32_of_noise": gates.taps_float32,
                "pixels_of_scale": gates.pixels,
                "gradients_float32_of_scale": gates.gradients_float32,
                "gradients_float64_of_scale": gates.gradients_float64,
                "source": gates.source,
                "noise_source": "" if run is None else run.noise_source,
            },
            "runs": [] if run is None else [_manifest(each) for each in run.manifests],
            "lanes": [] if run is None else [_lane(each) for each in run.lanes],
        }
    )


def print_run(run: Run, console: Console, *, all_taps: bool = False) -> None:
    """Print one table per lane, the failures in full, and the verdict.

    Args:
        run: what was found.
        console: where to print.
        all_taps: show every tap, not only the failures and those nearest to their gates.
    """
    for lane in run.lanes:
        print_lane(lane, console, all_taps=all_taps)
    if run.noise_source:
        console.print(
            f"float32 taps: gate = {run.thresholds.taps_float32:g} × noise floor "
            f"(reference float32 against float64; from {escape(run.noise_source)})",
            style="dim",
        )
    if run.thresholds != Thresholds():
        console.print(f"thresholds: {escape(run.thresholds.source)}", style="dim")
    console.print(escape(run.first_difference))
    verdict = "[bold green]EQUAL[/]" if run.equal else "[bold red]DIFFERENT[/]"
    console.print(f"{verdict}: {escape(', '.join(_counts(lane) for lane in run.lanes))}")


def print_lane(lane: Lane, console: Console, *, all_taps: bool = False) -> None:
    """Print the table of one lane."""
    table = Table(title=f"{lane.dtype}: {lane.candidate} against {lane.reference}", title_justify="left")
    table.add_column("tensor", overflow="fold")
    headings = ("max error", "mean", "median", "p99", "scale", "error/scale", "required", "gate", "agreement")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    shown = _shown(lane, all_taps)
    for row in shown:
        table.add_row(*_cells(row))
    console.print(table)
    hidden = [row for row in lane.rows if row not in shown]
    if hidden:
        failing = sum(not row.passed for row in hidden)
        what = f"{failing} of them fail too" if failing else "all of them pass"
        kinds = " and ".join(level for level in LONG_LEVELS if any(row.level == level for row in hidden))
        console.print(f"and {len(hidden)} more {kinds}: {what} (--all-taps shows them)", style="dim")
    if lane.left_out:
        console.print(left_out_of(lane), style="dim", highlight=False)
    for row in shown:
        if not row.passed:
            console.print(f"[red]✗[/] {escape(row.name)}: {escape(failure_of(row))}", highlight=False)


def faults_table(outcomes: Iterable[Outcome]) -> Table:
    """One line per planted fault and lane: where it was seen first, and how clearly."""
    table = Table("planted fault", "lane", title="Planted faults", title_justify="left")
    table.add_column("first failing row", overflow="fold")
    for heading in ("error", "gate", "error/gate", "logits error/scale"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for outcome in outcomes:
        seen = (f"{outcome.error:.2e}", f"{outcome.gate:.1e}", f"{outcome.ratio:.3g}")
        mark = "[green]caught[/]" if outcome.caught else "[yellow]seen[/]" if outcome.place else "-"
        table.add_row(
            escape(outcome.fault.name),
            outcome.dtype,
            outcome.place or "-",
            *(seen if outcome.place else ("-", "-", "-")),
            f"{outcome.logits_error_over_scale:.1e}",
            mark,
        )
    return table


def _shown(lane: Lane, all_taps: bool) -> list[Row]:
    some: list[Row] = []
    for level in LONG_LEVELS:
        failing = [row for row in lane.of_level(level) if not row.passed]
        some += failing[:SHOWN] or lane.nearest(level, SHOWN)
    return [row for row in lane.rows if row.level not in LONG_LEVELS or all_taps or row in some]


def _cells(row: Row) -> list[str]:
    mark = "[green]ok[/]" if row.passed else "[red]FAILS[/]"
    if row.labels is not None:
        labels = row.labels
        ties = f", {labels.ties} ties" if labels.disagreeing else ""
        agreement = f"{labels.agreement:.6f}{ties}"
        return [escape(row.name), *[""] * 7, f"< {labels.tie_margin:.2g}", agreement, mark]
    if row.errors is None or row.gate is None:
        return [escape(row.name), *[""] * 9, mark]
    errors, gate = row.errors, row.gate
    unit = "× scale" if gate.unit == "scale" else "× noise"
    return [
        escape(row.name),
        f"{errors.max_abs:.2e}",
        f"{errors.absolute.mean:.2e}",
        f"{errors.absolute.median:.2e}",
        f"{errors.absolute.p99:.2e}",
        f"{errors.scale:.3g}",
        f"{errors.error_over_scale:.2e}",
        f"{gate.required(errors.max_abs):.3g} {unit}",
        f"{gate.multiple:g} {unit}",
        "",
        mark,
    ]


def left_out_of(lane: Lane) -> str:
    """What the candidate's runner declares not to have, in a sentence; empty if that is nothing."""
    if not lane.left_out:
        return ""
    levels = [name for name in lane.left_out if name in LEVELS]
    taps = len(lane.left_out) - len(levels)
    parts = levels + [f"{taps} of the taps"] * bool(taps)
    return f"Not compared, because {lane.candidate} declares not to have it: {', '.join(parts)}."


def failure_of(row: Row) -> str:
    """Everything about a failure: the reason, the worst place, both values."""
    parts = [row.note] if row.note else []
    if row.errors is not None:
        errors = row.errors
        parts.append(
            f"worst at {list(errors.worst_index)}: reference {errors.worst_reference!r}, "
            f"candidate {errors.worst_candidate!r}"
        )
        if errors.finite and errors.relative is not None:
            parts.append(
                f"absolute errors: median {errors.absolute.median:.2e}, p99 {errors.absolute.p99:.2e}; "
                f"relative: median {errors.relative.median:.2e}, p99 {errors.relative.p99:.2e}"
            )
    labels = row.labels
    if labels is not None and labels.worst_index is not None:
        parts.append(
            f"worst at {list(labels.worst_index)}: reference {labels.worst_reference}, candidate "
            f"{labels.worst_candidate}, preferred by {labels.worst_margin:.3g}"
        )
    return "; ".join(parts)


def _counts(lane: Lane) -> str:
    passed = len(lane.rows) - len(lane.failures)
    who = "" if lane.candidate == "tf_segformer" else f" {lane.candidate}"
    return f"{lane.dtype}{who} {passed} of {len(lane.rows)} comparisons pass"


def _manifest(manifest: Manifest) -> dict[str, Any]:
    content = asdict(manifest)
    # The rows name all that was required; the lists here would only repeat them.
    del content["expected_taps"], content["expected_gradients"]
    return content


def _lane(lane: Lane) -> dict[str, Any]:
    return {
        "dtype": lane.dtype,
        "reference": lane.reference,
        "candidate": lane.candidate,
        "levels": list(lane.levels),
        "left_out": list(lane.left_out),
        "equal": lane.equal,
        "rows": [_row(row) for row in lane.rows],
    }


def _row(row: Row) -> dict[str, Any]:
    content: dict[str, Any] = {
        "level": row.level,
        "name": row.name,
        "passed": row.passed,
        "note": row.note,
        "error_over_gate": row.ratio,
        "errors": None,
        "gate": None,
        "labels": None,
    }
    if row.errors is not None:
        content["errors"] = asdict(row.errors) | {"error_over_scale": row.errors.error_over_scale}
    if row.gate is not None:
        content["gate"] = asdict(row.gate) | {
            "limit": row.gate.limit,
            "required_multiple": (row.gate.required(row.errors.max_abs) if row.errors is not None else None),
        }
    if row.labels is not None:
        content["labels"] = asdict(row.labels) | {
            "agreement": row.labels.agreement,
            "unexplained": row.labels.unexplained,
        }
    return content
