"""The table of the README: seeded checkpoints of every variant, both lanes, as Markdown."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parity.compare import Lane
from parity.pipeline import Run, Settings, run_parity
from parity.row import Row
from parity.running import Say
from parity.thresholds import Thresholds

# Every variant at a size that takes seconds, the smallest and the most used one at full size too.
DEFAULT_CASES = "b0@512,b4@512,b0@128,b1@128,b2@128,b3@128,b4@128,b5@128"


@dataclass(frozen=True)
class Case:
    """One line of the table: a variant at one image size."""

    variant: str
    size: int


def parse_cases(text: str) -> list[Case]:
    """Read `b0@512,b4@128`.

    Raises:
        ValueError: a part is not of the form variant@size.
    """
    cases = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(b[0-5])@(\d+)\s*", part)
        if match is None:
            raise ValueError(f"cannot read the case {part!r}; expected a variant and a size: b0@512")
        cases.append(Case(match[1], int(match[2])))
    return cases


def run_cases(
    cases: Iterable[Case],
    image: Path,
    work: Path,
    *,
    isolate: bool = True,
    seed: int = 0,
    thresholds: Thresholds = Thresholds(),  # noqa: B008
    say: Say,
) -> Iterator[tuple[Case, Run]]:
    """Write each variant's seeded checkpoint, run both lanes, and release both again.

    Args:
        cases: what to run.
        image: image file.
        work: folder for checkpoints and results; both are large and are deleted after each case.
        isolate: run each framework in its own process.
        seed: of the checkpoints.
        thresholds: the gates.
        say: told about each step.
    """
    from torch_ref import write_seeded_checkpoint

    for case in cases:
        folder = work / f"{case.variant}-{case.size}"
        say(f"{case.variant} at {case.size}: writing the seeded checkpoint")
        write_seeded_checkpoint(folder / "checkpoint", case.variant, seed=seed)
        settings = Settings(isolate=isolate, thresholds=thresholds, without=("gradients",))
        model = str(folder / "checkpoint")
        yield (
            case,
            run_parity(model, image, folder / "results", settings, size=case.size, say=say),
        )
        shutil.rmtree(folder)


def markdown(found: Sequence[tuple[Case, Run]]) -> str:
    """The table, one line per case."""
    gates = found[0][1].thresholds if found else Thresholds()
    lines = [
        _line(
            "variant",
            "size",
            "float32 logits, error ÷ scale",
            "reference's own noise ÷ scale",
            "float32 taps, worst error ÷ noise",
            "float64 logits, error ÷ scale",
            "float64 taps, worst error ÷ scale",
            "labels that agree",
            "of the rest, ties",
            "verdict",
        ),
        _line("---", *["---:"] * 8, "---"),
        _line(
            "*gate*",
            "",
            f"{gates.logits_float32:.0e}",
            "",
            f"{gates.taps_float32:g}",
            f"{gates.float64:.0e}",
            f"{gates.float64:.0e}",
            "",
            "all",
            "",
        ),
    ]
    for case, run in found:
        float32, float64 = (next(x for x in run.lanes if x.dtype == d) for d in _DTYPES)
        labels = [row.labels for row in float32.rows if row.labels is not None]
        pixels = sum(_count(each.shape) for each in labels)
        apart = sum(each.disagreeing for each in labels)
        lines.append(
            _line(
                case.variant.upper(),
                f"{case.size}×{case.size}",
                _of_scale(float32.of_level("logits")),
                _logits_noise(float32),
                f"{_worst_multiple(float32):.2f} ({len(float32.of_level('taps'))} taps)",
                _of_scale(float64.of_level("logits")),
                _of_scale(float64.of_level("taps")),
                f"{pixels - apart:,} of {pixels:,}",
                f"{sum(each.ties for each in labels)} of {apart}",
                "equal" if run.equal else "**different**",
            )
        )
    return "\n".join(lines)


_DTYPES = ("float32", "float64")


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _of_scale(rows: Iterable[Row]) -> str:
    """The largest error ÷ scale of some rows."""
    return f"{max(r.errors.error_over_scale for r in rows if r.errors is not None):.1e}"


def _logits_noise(lane: Lane) -> str:
    """The reference's float32 noise at its logits, ÷ their scale."""
    row = lane.of_level("taps")[-1]
    if row.gate is None or row.errors is None:
        return ""
    return f"{row.gate.unit_value / row.errors.scale:.1e}"


def _worst_multiple(lane: Lane) -> float:
    """The multiple of the noise floor that would have passed every tap."""
    return max(
        row.errors.max_abs / row.gate.unit_value if row.gate.unit_value else 0.0
        for row in lane.of_level("taps")
        if row.errors is not None and row.gate is not None
    )


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
