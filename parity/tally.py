"""What is known so far of a run over a dataset, and its file, from which the run goes on.

The file is replaced as a whole: it is written beside, synced, and renamed. Whenever the process is
killed, the file holds the state after some image, and the images after it are run again.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from parity.datasets import Labels
from parity.miou import ConfusionMatrix

STATE_VERSION = 1
MOST_BYTES = 1 << 30
MATRICES = ("reference", "candidate", "agreement")


class StateError(RuntimeError):
    """A state file cannot be gone on from."""


@dataclass(frozen=True)
class ImageRecord:
    """One photograph on both sides.

    Attributes:
        name: of the photograph.
        pixels: of its label map.
        scored: pixels whose true label is not ignored.
        reference_correct: scored pixels that the reference labels as the truth does.
        candidate_correct: the same of the candidate.
        reference_miou: mIoU of this image alone; None if nothing was scored.
        candidate_miou: the same of the candidate.
        different: pixels whose labels differ between the sides.
        unexplained: those of them that are no ties.
        worst_margin: by how much the reference prefers its own label over the candidate's, at most,
            where they differ.
        logits_error: largest error of a logit; None if the candidate gives none, or if `finite` is False.
        logits_scale: largest absolute logit of the reference.
        finite: whether all logits are.
    """

    name: str
    pixels: int
    scored: int
    reference_correct: int
    candidate_correct: int
    reference_miou: float | None
    candidate_miou: float | None
    different: int
    unexplained: int
    worst_margin: float
    logits_error: float | None
    logits_scale: float
    finite: bool

    @property
    def error_over_scale(self) -> float | None:
        """Error of the logits as a share of their scale; None without logits."""
        if self.logits_error is None:
            return None
        if self.logits_error == 0.0:
            return 0.0
        return self.logits_error / self.logits_scale if self.logits_scale > 0 else float("inf")


@dataclass
class Tally:
    """The counts of a run.

    Attributes:
        settings: whatever decides about the numbers, JSON values; a state of other settings is refused.
        reference: the reference's labels against the truth.
        candidate: the candidate's labels against the truth.
        agreement: the candidate's labels against the reference's, all pixels.
        images: what is done, in order.
    """

    settings: Mapping[str, Any]
    reference: ConfusionMatrix
    candidate: ConfusionMatrix
    agreement: ConfusionMatrix
    images: list[ImageRecord] = field(default_factory=list)

    @classmethod
    def empty(cls, settings: Mapping[str, Any], labels: Labels) -> Tally:
        """A tally of no image, whose annotations are read by these rules."""
        agreement = ConfusionMatrix(labels.num_classes, ignore_index=None)
        return cls(settings, labels.matrix(), labels.matrix(), agreement)

    @property
    def consistent(self) -> bool:
        """Whether the matrices have the pixels of the images that are done, no more and no fewer."""
        pixels, scored = (sum(getattr(image, name) for image in self.images) for name in ("pixels", "scored"))
        return int(self.agreement.counts.sum()) == pixels and all(
            int(matrix.counts.sum()) == scored and matrix.ignored == pixels - scored
            for matrix in (self.reference, self.candidate)
        )

    def save(self, path: Path) -> None:
        """Replace the state file by the present state, at once or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {name: getattr(self, name).counts for name in MATRICES}
        metadata = {
            "state": json.dumps(
                {
                    "version": STATE_VERSION,
                    "settings": dict(self.settings),
                    "ignored": {name: getattr(self, name).ignored for name in MATRICES},
                    "images": [list(asdict(record).values()) for record in self.images],
                },
                allow_nan=False,
            )
        }
        partial = path.with_name(f".{path.name}.partial")
        try:
            with partial.open("wb") as file:
                file.write(save(arrays, metadata))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise StateError(f"cannot write the state file {path}: {error.strerror or error}") from error
        # The rename itself must survive a power cut, too.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def resume(self, path: Path) -> None:
        """Take over what a state file holds, if there is one.

        Raises:
            StateError: the file is damaged, of another version, or of a run with other settings.
        """
        if not path.exists():
            return
        try:
            if path.stat().st_size > MOST_BYTES:
                raise ValueError(f"it has {path.stat().st_size:,} bytes")
            with safe_open(path, framework="np") as file:
                state = json.loads((file.metadata() or {})["state"])
                counts = {name: file.get_tensor(name) for name in MATRICES}
            if state["version"] != STATE_VERSION:
                raise ValueError(f"it is of version {state['version']}, this parity reads {STATE_VERSION}")
            self._require_same(state["settings"], path)
            records = [
                ImageRecord(**dict(zip((f.name for f in fields(ImageRecord)), values, strict=True)))
                for values in state["images"]
            ]
            self._take(counts, state["ignored"], records)
        except StateError:
            raise
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StateError(
                f"cannot go on from the state file {path}: {type(error).__name__}: {error}. Delete it to "
                "begin afresh, or give another one with --state"
            ) from error

    def _require_same(self, saved: Mapping[str, Any], path: Path) -> None:
        ours, theirs = json.loads(json.dumps(dict(self.settings))), dict(saved)
        different = sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))
        if different:
            lines = [f" - {name}: was {theirs.get(name)!r}, is {ours.get(name)!r}" for name in different]
            raise StateError(
                f"the state file {path} belongs to a run with other settings:\n" + "\n".join(lines) + "\n"
                "Its counts and new ones would not add up to anything. Run with the same settings to go on, "
                "or give another --state to begin afresh"
            )

    def _take(
        self, counts: dict[str, np.ndarray], ignored: dict[str, int], records: list[ImageRecord]
    ) -> None:
        """Take over what was read; on an error nothing is."""
        reference, candidate, agreement = (copy.copy(getattr(self, name)) for name in MATRICES)
        read = Tally(self.settings, reference, candidate, agreement, records)
        for name in MATRICES:
            matrix, found = getattr(read, name), counts[name]
            if found.dtype != np.int64 or found.shape != matrix.counts.shape or found.min() < 0:
                raise ValueError(f"its matrix {name} is {found.dtype} {found.shape}")
            matrix.counts, matrix.ignored = found, ignored[name]
        if not read.consistent:
            raise ValueError(f"its matrices do not have the pixels of its {len(records)} images")
        self.reference, self.candidate, self.agreement = read.reference, read.candidate, read.agreement
        self.images = records
