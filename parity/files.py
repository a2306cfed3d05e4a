"""The whole path, from an image file's bytes to its label map: the export against the PyTorch pipeline.

On one side an exported version in a TF1 Session, which is given nothing but bytes. On the other Pillow,
transformers' PIL processor, PyTorch, and `post_process_semantic_segmentation`. A pixel on which they
differ is a tie if the reference's two best classes are closer there than twice the measured error of
the logits; any other is a failure, as are logits beyond the gate.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from parity.images import write_test_image
from parity.running import HarnessError, mask_labels
from parity.thresholds import Thresholds

# Kinds of generated files: what Pillow's `save` is told.
KINDS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 75},
    "JPEG 4:4:4": {"quality": 92, "subsampling": 0},
    "JPEG progressive": {"quality": 60, "progressive": True},
    "JPEG gray": {"quality": 80, "mode": "L"},
    "JPEG CMYK": {"quality": 90, "mode": "CMYK"},
    "PNG": {},
    "PNG palette": {"mode": "P"},
    "PNG RGBA": {"mode": "RGBA"},
    "GIF": {"mode": "P"},
    "BMP": {},
    "WebP": {"quality": 80},
    "WebP lossless": {"lossless": True},
}
SMALLEST, LARGEST = 24, 800  # sides of generated images in pixels


@dataclass(frozen=True)
class FileResult:
    """One file on both sides.

    Attributes:
        name: of the file.
        kind: the format, or one of `KINDS`.
        pixels: of the label map.
        different: pixels whose labels differ.
        ties: how many of them are ties.
        margin: the largest difference of the reference's two best classes at a pixel that differs.
        error: the largest difference of a logit.
        scale: the largest absolute logit of the reference.
        thresholds: what passes.
    """

    name: str
    kind: str
    pixels: int
    different: int
    ties: int
    margin: float
    error: float
    scale: float
    thresholds: Thresholds = field(default_factory=Thresholds)

    @property
    def agrees(self) -> bool:
        """Whether the logits pass their gate, and no more labels differ without a tie than are allowed.

        The gate comes first: by a large error of the logits, any pixel would be a tie.
        """
        gates = self.thresholds
        unexplained = self.different - self.ties
        return (
            self.error <= gates.logits_float32 * self.scale
            and unexplained <= gates.max_unexplained * self.pixels
        )


def generated_files(count: int, seed: int, folder: Path) -> Iterator[tuple[str, str, bytes]]:
    """Yield name, kind and bytes of seeded images of random sizes, the kinds in turn.

    Args:
        count: how many.
        seed: of sizes and pictures.
        folder: for the pictures they are made of.
    """
    from PIL import Image

    random = np.random.default_rng(seed)
    for number, (kind, options) in zip(range(count), cycle(KINDS.items()), strict=False):
        height, width = (int(side) for side in random.integers(SMALLEST, LARGEST + 1, 2))
        path = write_test_image(folder / "picture.png", height=height, width=width, seed=seed + number)
        picture = Image.open(path)
        options = dict(options)
        mode = options.pop("mode", "RGB")
        file = io.BytesIO()
        picture.convert(mode).save(file, kind.split()[0], **options)
        yield f"{number:04d} {kind}, {width}×{height}", kind, file.getvalue()


def compare_files(
    reference: Any,
    served: Any,
    files: Iterable[tuple[str, str, bytes]],
    thresholds: Thresholds = Thresholds(),  # noqa: B008
) -> Iterator[FileResult]:
    """Yield the comparison of each file.

    Args:
        reference: a `torch_ref.Reference`.
        served: a `serving.session_check.ServedModel` of the same checkpoint.
        files: name, kind and bytes of each.
        thresholds: what passes.

    Raises:
        HarnessError: the export refused a file.
    """
    from torch_ref.pipeline import decode_image, top_two_margins

    for name, kind, file in files:
        batch = np.array([file], dtype=object)
        answer = served.run("serving_default", {"image_bytes": batch})
        labels = mask_labels(answer, name)
        logits = np.moveaxis(served.run("logits_from_bytes", {"image_bytes": batch})["logits"], -1, 1)
        image = decode_image(file)
        size = image.height, image.width
        expected_logits = reference.forward(reference.preprocess(image), with_attentions=False).logits
        expected = reference.label_map(expected_logits, size)
        if labels.shape != expected.shape:
            raise HarnessError(f"{name}: the export's label map is {labels.shape}, the reference's {size}")
        error = float(np.abs(logits - expected_logits).max())
        differ = labels != expected
        margins = top_two_margins(expected_logits, size)[differ] if differ.any() else np.zeros(0)
        yield FileResult(
            name=name,
            kind=kind,
            pixels=labels.size,
            different=int(differ.sum()),
            ties=int((margins < 2 * error).sum()),
            margin=float(margins.max(initial=0.0)),
            error=error,
            scale=float(np.abs(expected_logits).max()),
            thresholds=thresholds,
        )


def files_table(results: Iterable[FileResult]) -> str:
    """Return a Markdown table, a row a kind and their sum."""
    groups: dict[str, list[FileResult]] = {}
    for result in results:
        groups.setdefault(result.kind, []).append(result)
    groups["all"] = [result for group in list(groups.values()) for result in group]
    lines = [
        "| kind | files | pixels | labels that differ | of these, ties | largest margin there ÷ scale "
        "| logits, error ÷ scale |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for kind, group in groups.items():
        sums = {name: sum(getattr(r, name) for r in group) for name in ("pixels", "different", "ties")}
        margin = max(result.margin / result.scale for result in group)
        error = max(result.error / result.scale for result in group)
        lines.append(
            f"| {kind} | {len(group)} | {sums['pixels']:,} | {sums['different']} | {sums['ties']} "
            f"| {margin:.1e} | {error:.1e} |"
        )
    return "\n".join(lines)
