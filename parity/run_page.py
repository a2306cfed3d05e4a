"""The HTML report of `parity run` and `parity compare`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from parity import html
from parity.charts import bars_html, error_svg, histogram_svg
from parity.compare import Lane
from parity.evidence import Evidence, LabelEvidence
from parity.pictures import (
    FAILURE_COLOUR,
    TIE_COLOUR,
    data_uri,
    difference_picture,
    heat_picture,
    heat_scale,
    label_picture,
    palette_for,
    smaller,
)
from parity.pipeline import Run
from parity.report import LONG_LEVELS, failure_of, left_out_of
from parity.row import Row

# Classes shown as bars and in the legend of the label maps.
SHOWN_CLASSES = 12


@dataclass(frozen=True)
class Scene:
    """What a page shows besides the numbers.

    Attributes:
        model: the checkpoint as it was given.
        image: name of the image file.
        photograph: uint8 (H, W, 3); None if it is not at hand.
        class_names: one a class; numbers if empty.
    """

    model: str
    image: str = ""
    photograph: np.ndarray | None = None
    class_names: tuple[str, ...] = ()


def run_page(scene: Scene, run: Run | None, *, error: str | None = None) -> str:
    """The page of one run, or of one that broke down.

    Args:
        scene: what was compared.
        run: what was found; None if the run broke down.
        error: what broke down.
    """
    title = f"{Path(scene.model).name}" + (f" on {scene.image}" if scene.image else "")
    if run is None:
        return html.page(title, "error", error or "The comparison could not be made.", (), ())
    summary = run.first_difference
    passed = sum(row.passed for lane in run.lanes for row in lane.rows)
    total = sum(len(lane.rows) for lane in run.lanes)
    facts = [("Comparisons that pass", f"{passed:,} of {total:,}")]
    facts += [_headline(lane) for lane in run.lanes]
    facts += _versions(run)
    body = [
        html.section("What failed", html.checks(_failures(run))),
        *(_labels(scene, evidence) for evidence in run.evidence),
        *(_heat(evidence) for evidence in run.evidence),
        *(_histograms(evidence) for evidence in run.evidence),
        *(_tables(lane) for lane in run.lanes),
    ]
    return html.page(title, "equal" if run.equal else "different", summary, facts, body)


def class_names_of(model: str) -> tuple[str, ...]:
    """The class names in a checkpoint folder's config.json; none if they cannot be read there."""
    try:
        names = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))["id2label"]
        return tuple(str(names[str(label)]) for label in range(len(names)))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def label_gallery(
    photograph: np.ndarray | None,
    maps: Sequence[tuple[str, np.ndarray]],
    ties: np.ndarray,
    palette: np.ndarray,
    remark: str = "",
) -> str:
    """The photograph, label maps, and where the last two of the maps differ.

    Args:
        photograph: uint8 (H, W, 3), or None.
        maps: captions and label maps (H, W).
        ties: bool (H, W).
        palette: uint8 (K, 3).
        remark: said below the difference.
    """
    (_, ours), (_, theirs) = maps[-2:]
    ground = photograph if photograph is not None else np.full((*ours.shape, 3), 235, np.uint8)
    figures = []
    if photograph is not None:
        figures.append(html.figure(data_uri(smaller(photograph), photograph=True), "Photograph"))
    for caption, labels in maps:
        figures.append(html.figure(data_uri(label_picture(labels, palette)), caption, pixelated=True))
    different = ours != theirs
    picture = difference_picture(ground, different, ties)
    bad = bool((different & ~ties).any())
    figures.append(html.figure(data_uri(picture), "Difference", pixelated=True, remark=remark, bad=bad))
    return html.gallery(figures, "maps")


def label_legend(maps: Sequence[np.ndarray], palette: np.ndarray, names: Sequence[str]) -> str:
    """The most frequent classes of some label maps, and the marks of the difference."""
    counts = sum(np.bincount(m[m >= 0].ravel(), minlength=len(palette))[: len(palette)] for m in maps)
    order = np.argsort(-np.asarray(counts), kind="stable")[:SHOWN_CLASSES]
    entries: list[tuple[tuple[int, ...], str]] = [
        (tuple(int(c) for c in palette[label]), names[label]) for label in order if np.asarray(counts)[label]
    ]
    marks = [(FAILURE_COLOUR, "different, and no tie"), (TIE_COLOUR, "different, a tie")]
    return html.legend(entries) + html.legend(marks)


def _versions(run: Run) -> list[tuple[str, str]]:
    found = {name: version for each in run.manifests for name, version in each.versions.items()}
    return [(name, found[name]) for name in ("torch", "tensorflow", "transformers", "keras") if name in found]


def _headline(lane: Lane) -> tuple[str, str]:
    for row in lane.of_level("logits"):
        if row.errors is not None:
            found = f"{row.errors.error_over_scale:.1e}" if row.errors.finite else "not finite"
            return f"logits, error ÷ scale: {lane.candidate}, {lane.dtype}", found
    return f"{lane.candidate}, {lane.dtype}", f"{len(lane.rows) - len(lane.failures):,} pass"


def _failures(run: Run, shown: int = 6) -> Iterator[tuple[bool, str, str]]:
    # As in `localize`: a float64 tap fails only if a formula or a weight is wrong.
    lanes = sorted(run.lanes, key=lambda lane: lane.dtype != "float64")
    failures = [(lane, row) for lane in lanes for row in lane.failures]
    for lane, row in failures[:shown]:
        yield False, f"{row.name} ({lane.dtype}, {lane.candidate})", failure_of(row)
    if len(failures) > shown:
        yield False, f"and {len(failures) - shown:,} more", "see the tables below"


def _labels(scene: Scene, evidence: Evidence) -> str:
    labels = evidence.labels
    if labels is None:
        return ""
    palette = palette_for(labels.num_classes)
    names = scene.class_names if len(scene.class_names) == labels.num_classes else ()
    names = names or tuple(f"class {label}" for label in range(labels.num_classes))
    maps = [("PyTorch", labels.reference), (evidence.candidate, labels.candidate)]
    different = labels.reference != labels.candidate
    remark = f"{different.sum():,} of {different.size:,} pixels differ, {labels.ties.sum():,} are ties"
    photograph = scene.photograph
    if photograph is not None and photograph.shape[:2] != different.shape:
        photograph = None
    return html.section(
        f"Label maps: {evidence.candidate}",
        label_gallery(photograph, maps, labels.ties, palette, remark),
        label_legend([labels.reference, labels.candidate], palette, names),
        "<h3>Share of the pixels, per class</h3>",
        f"<div>{bars_html(_shares(labels, names), ('PyTorch', evidence.candidate))}</div>",
        sides_legend(evidence.candidate),
    )


def _shares(labels: LabelEvidence, names: Sequence[str]) -> list[tuple[str, float, float, str]]:
    counts = [
        np.bincount(np.clip(m, 0, labels.num_classes - 1).ravel(), minlength=labels.num_classes) / m.size
        for m in (labels.reference, labels.candidate)
    ]
    order = np.argsort(-np.maximum(*counts), kind="stable")[:SHOWN_CLASSES]
    return [
        (names[k], float(counts[0][k]), float(counts[1][k]), f"{counts[0][k]:.2%} and {counts[1][k]:.2%}")
        for k in order
        if max(counts[0][k], counts[1][k]) > 0
    ]


def _heat(evidence: Evidence) -> str:
    figures = [
        html.figure(
            data_uri(heat_picture(tensor.in_gates)),
            tensor.name.removeprefix("segformer."),
            pixelated=True,
            remark=tensor.remark,
            bad=not tensor.passed,
        )
        for tensor in evidence.tensors
    ]
    if not figures:
        return ""
    scale = f"<p class=scale>0.001 × gate {_scale(failing=False)} gate"
    if not all(tensor.passed for tensor in evidence.tensors):
        scale += f" {_scale(failing=True)} the map's largest error"
    return html.section(
        f"Where the errors are: {evidence.candidate}, {evidence.dtype}",
        html.gallery(figures, "heat"),
        f"{scale}</p>",
        note="For each position the largest error over the channels, as a share of the tensor's own gate.",
    )


def _scale(*, failing: bool) -> str:
    return f'<img src="{data_uri(heat_scale(failing=failing))}" alt="colours of the errors">'


def _histograms(evidence: Evidence) -> str:
    figures = []
    for tensor in evidence.tensors:
        name = tensor.name.removeprefix("segformer.")
        if tensor.values is not None:
            figures.append(html.chart(histogram_svg(tensor.values, f"values of {name}"), f"{name}: values"))
        figures.append(
            html.chart(error_svg(tensor.errors, tensor.gate, f"errors of {name}"), f"{name}: absolute errors")
        )
    if not figures:
        return ""
    return html.section(
        f"Histograms: {evidence.candidate}, {evidence.dtype}",
        html.gallery(figures, "wide"),
        sides_legend(evidence.candidate),
        note="Values of both sides in the same bins; errors on a logarithmic axis, heights by their root.",
    )


def sides_legend(candidate: str) -> str:
    """Whose colour is whose, in charts and bars."""
    return (
        '<p class=legend><span><i style="background:var(--reference)"></i>PyTorch</span>'
        f'<span><i style="background:var(--candidate)"></i>{candidate}</span></p>'
    )


def _tables(lane: Lane) -> str:
    rows = [row for row in lane.rows if row.level not in LONG_LEVELS or not row.passed]
    nearest = [row for level in LONG_LEVELS for row in lane.nearest(level, 8)]
    chosen = [row for row in lane.rows if row in rows or row in nearest]
    hidden = len(lane.rows) - len(chosen)
    shown = html.table(_HEADINGS, ((row.passed, _cells(row)) for row in chosen[:60]))
    everything = html.table(_HEADINGS, ((row.passed, _cells(row)) for row in lane.rows))
    return html.section(
        f"Numbers: {lane.candidate} against {lane.reference}, {lane.dtype}",
        shown,
        html.folded(f"all {len(lane.rows):,} comparisons", everything) if hidden else "",
        note=left_out_of(lane),
    )


# What decides comes first: the rest of the row may need scrolling to.
_HEADINGS = (
    *("tensor", "", "max error", "would have passed", "gate", "error ÷ scale", "scale"),
    *("mean", "median", "p99", "relative: median", "p99", "max"),
)


def _cells(row: Row) -> list[str]:
    verdict = "ok" if row.passed else "FAILS"
    if row.labels is not None:
        found = f"{row.labels.disagreeing:,} differ, {row.labels.ties:,} ties"
        return [row.name, verdict, found, "", f"ties below {row.labels.tie_margin:.2g}", *[""] * 8]
    if row.errors is None or row.gate is None:
        return [f"{row.name}: {row.note}", verdict, *[""] * 11]
    errors, gate = row.errors, row.gate
    unit = f"× {gate.unit}"
    absolute, relative = errors.absolute, errors.relative
    shares = [""] * 3 if relative is None else map(_short, (relative.median, relative.p99, relative.max))
    return [
        row.name,
        verdict,
        _short(errors.max_abs) if errors.finite else "not finite",
        f"{gate.required(errors.max_abs):.3g} {unit}",
        f"{gate.multiple:.2g} {unit}",
        _short(errors.error_over_scale),
        f"{errors.scale:.3g}",
        *map(_short, (absolute.mean, absolute.median, absolute.p99)),
        *shares,
    ]


def _short(error: float) -> str:
    return "0" if error == 0.0 else f"{error:.1e}"
