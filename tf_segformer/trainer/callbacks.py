"""What happens beside the steps of `fit`: log, validation, pictures, state. None of it changes a weight."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from tf_segformer.trainer.recipe import Schedule
from tf_segformer.trainer.state import append_line
from tf_segformer.trainer.tensorboard import EventFile

LOG_FILE = "log.csv"
COLUMNS = (
    "step",
    "loss",
    "learning_rate",
    "images_per_second",
    "mean_iou",
    "mean_accuracy",
    "pixel_accuracy",
)


class TrainingError(RuntimeError):
    """The training cannot go on."""


class Journal(keras.callbacks.Callback):
    """Writes `log.csv` and TensorBoard's events, validates and saves, when the schedule says so.

    Args:
        folder: Of the training.
        schedule: When.
        batch_size: For the speed.
        first_step: Steps done before.
        last_step: Of the training.
        validate: Called with the step; returns scores for the log.
        save: Called with the step.
        report: Called with each line of the log, by column.
        stepped: Called after each step.
    """

    def __init__(
        self,
        folder: Path,
        schedule: Schedule,
        batch_size: int,
        first_step: int,
        last_step: int,
        validate: Callable[[int], dict[str, float]],
        save: Callable[[int], None],
        report: Callable[[dict[str, Any]], None],
        stepped: Callable[[], None],
    ) -> None:
        super().__init__()
        self.log, self.schedule, self.batch_size = folder / LOG_FILE, schedule, batch_size
        self.step, self.last_step = first_step, last_step
        self.validate, self.save, self.report, self.stepped = validate, save, report, stepped
        self.events = EventFile(folder / "events")
        self._seconds, self._steps, self._loss = 0.0, 0, math.nan
        cut_log(self.log, first_step)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: D102
        self._begun = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: D102
        if batch:  # the first step of a run also builds the graph
            self._seconds, self._steps = self._seconds + time.perf_counter() - self._begun, self._steps + 1
        self.step += 1
        self._loss = float(logs["loss"])  # the mean since the metrics were last reset
        if not math.isfinite(self._loss):
            raise TrainingError(
                f"The loss became {self._loss} at step {self.step}. Lower --learning-rate, lengthen "
                "--warm-up or go on from the last saved state with --resume to see whether it happens again."
            )
        self.stepped()
        last = self.step == self.last_step
        scores: dict[str, float] = {}
        if last or self.step % self.schedule.validate_every == 0:
            scores = self.validate(self.step)
        if scores or self.step % self.schedule.log_every == 0:
            self._write(scores)
        if last or self.step % self.schedule.save_every == 0:
            self.save(self.step)

    def on_train_end(self, logs: Any = None) -> None:  # noqa: D102
        self.events.close()

    def _write(self, scores: dict[str, float]) -> None:
        values = {
            "loss": self._loss,
            "learning_rate": float(self.model.optimizer.learning_rate),
            "images_per_second": self._steps * self.batch_size / max(self._seconds, 1e-9),
            **scores,
        }
        line = {"step": self.step, **values}
        append_line(self.log, ",".join(_cell(line.get(column)) for column in COLUMNS))
        self.events.scalars({name: float(value) for name, value in values.items()}, self.step)
        self.report(line)
        self._seconds, self._steps = 0.0, 0
        self.model.reset_metrics()


def cut_log(path: Path, step: int) -> None:
    """Begin the log, or leave out the lines after `step`, which a resumed training writes again."""
    lines = [list(COLUMNS)]
    if step and path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            lines += [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= step]
    path.write_text("".join(",".join(row) + "\n" for row in lines), encoding="utf-8")


def read_log(path: Path) -> list[dict[str, float]]:
    """The lines of a log, by column; empty cells are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def captions(names: Sequence[str], accuracies: Sequence[float]) -> list[str]:
    """Captions of sample pictures."""
    return [
        f"{name} · photograph, mask, prediction, wrong pixels · {accuracy:.1%} of pixels right"
        for name, accuracy in zip(names, accuracies, strict=True)
    ]
