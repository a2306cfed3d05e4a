"""Runs a training: checks the data, fits, and writes checkpoint, log and state.

OUTPUT/
model/              the checkpoint: config.json, model.safetensors, preprocessor_config.json, README.md
log.csv             a line each `log_every` steps
events/             the same for TensorBoard, with sample pictures
samples/            the sample pictures
evaluation.json     the last validation, class by class
state.safetensors   from which `resume` goes on
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from tf_segformer.datasets.checks import Contents, check
from tf_segformer.datasets.pairs import Dataset
from tf_segformer.datasets.reading import IGNORE_INDEX, MaskRules, read_image, read_mask
from tf_segformer.evaluation.pictures import row, sheet
from tf_segformer.evaluation.predictions import Evaluation, evaluate, predictor
from tf_segformer.evaluation.report import report_dict
from tf_segformer.labels import label_set_for
from tf_segformer.modeling import TFSegformerForSemanticSegmentation
from tf_segformer.trainer.batches import training_batches
from tf_segformer.trainer.callbacks import LOG_FILE, Journal, TrainingError, captions, read_log
from tf_segformer.trainer.curve import curve
from tf_segformer.trainer.model_card import model_card
from tf_segformer.trainer.plan import Plan, model_of
from tf_segformer.trainer.recipe import Recipe
from tf_segformer.trainer.state import (
    STATE_FILE,
    StateError,
    load_state,
    read_state,
    remove_partial,
    save_state,
)

MODEL_FOLDER = "model"
CARD = "README.md"
CURVE = "curve.svg"


@dataclass(frozen=True)
class Listener:
    """What is told while a training runs; the defaults keep quiet.

    Attributes:
        checking: Called with the number of pairs that will be looked through.
        checked: Called after each.
        begun: Called with the first step and the last.
        stepped: Called after each step.
        logged: Called with each line of the log, by column.
    """

    checking: Callable[[int], None] = lambda pairs: None
    checked: Callable[[], None] = lambda: None
    begun: Callable[[int, int], None] = lambda first, last: None
    stepped: Callable[[], None] = lambda: None
    logged: Callable[[dict[str, Any]], None] = lambda line: None


def set_up(recipe: Recipe) -> None:
    """Set TensorFlow up for a recipe; before anything is computed in this process, if it names threads.

    Raises:
        RuntimeError: too late.
    """
    threading = tf.config.threading
    if recipe.threads and recipe.threads != threading.get_intra_op_parallelism_threads():
        threading.set_intra_op_parallelism_threads(recipe.threads)
        threading.set_inter_op_parallelism_threads(recipe.threads)
    if recipe.deterministic:
        tf.config.experimental.enable_op_determinism()


def begin(
    output: Path, plan: Plan, model: TFSegformerForSemanticSegmentation, listener: Listener = Listener()
) -> Evaluation:
    """Train from the model's weights, to the end.

    Args:
        output: A folder without a training; made if it does not exist.
        plan: See `plan.new_plan`, and call `set_up` before it.
        model: The plan's model.
        listener: Told what happens.

    Returns:
        The validation at the end.

    Raises:
        StateError: `output` already holds a training.
        DatasetError: something is wrong with the data; the message names every file. Nothing is written.
        TrainingError: the loss is no longer a number.
    """
    if (output / STATE_FILE).exists():
        raise StateError(
            f"{output} already holds a training. Go on with it by --resume, or give another --output."
        )
    data = _Data.checked(plan, listener)
    plan = replace(plan, digests=tuple(contents.digest for contents in data.contents))
    plan.compiled(model)
    output.mkdir(parents=True, exist_ok=True)
    save_state(output / STATE_FILE, model, 0, plan.to_dict())
    return _fit(output, plan, model, data, 0, listener)


def resume(output: Path, listener: Listener = Listener()) -> Evaluation:
    """Go on with an interrupted training, with the batches and draws that it would have had.

    Args:
        output: The training's folder.
        listener: Told what happens.

    Returns:
        The validation at the end.

    Raises:
        StateError: `output` holds no training, or its data has changed.
        DatasetError, TrainingError: as `begin`.
    """
    step, values = read_state(output / STATE_FILE)
    plan = Plan.from_dict(values)
    data = _Data.checked(plan, listener)
    if tuple(contents.digest for contents in data.contents) != plan.digests:
        raise StateError(
            f"The data of {output} is not what its training began with: photographs or masks were added, "
            "removed or changed. Restore them, or begin anew in another folder."
        )
    set_up(plan.recipe)
    model = plan.compiled(model_of(plan))
    load_state(output / STATE_FILE, model)
    remove_partial(output)
    return _fit(output, plan, model, data, step, listener)


@dataclass(frozen=True)
class _Data:
    """The checked datasets and how their masks are read."""

    training: Dataset
    validation: Dataset
    rules: MaskRules
    contents: list[Contents]

    @classmethod
    def checked(cls, plan: Plan, listener: Listener) -> _Data:
        training, validation = plan.source.find(plan.recipe.seed)
        rules = MaskRules(len(plan.config["id2label"]), training.reduce_zero_label, plan.source.palette)
        listener.checking(len(training.pairs) + len(validation.pairs))
        return cls(training, validation, rules, check([training, validation], rules, listener.checked))


def _fit(
    output: Path,
    plan: Plan,
    model: TFSegformerForSemanticSegmentation,
    data: _Data,
    first: int,
    listener: Listener,
) -> Evaluation:
    recipe, schedule = plan.recipe, plan.schedule
    reporter = _Reporter(output, plan, model, data)
    if first >= recipe.steps:
        reporter.validate(recipe.steps)
        return reporter.last
    journal = Journal(
        output,
        schedule,
        recipe.batch_size,
        first,
        recipe.steps,
        validate=reporter.validate,
        save=lambda step: save_state(output / STATE_FILE, model, step, plan.to_dict()),
        report=listener.logged,
        stepped=listener.stepped,
    )
    reporter.events = journal.events
    batches = training_batches(
        data.training.pairs,
        data.rules,
        recipe.augmentation,
        plan.image_processing(),
        batch_size=recipe.batch_size,
        steps=range(first, recipe.steps),
        seed=recipe.seed,
    )
    listener.begun(first, recipe.steps)
    steps = recipe.steps - first
    model.fit(batches, epochs=1, steps_per_epoch=steps, callbacks=[journal], verbose=0, shuffle=False)
    if journal.step != recipe.steps:
        raise TrainingError(f"The data ended after step {journal.step} of {recipe.steps}.")
    (output / CURVE).write_text(curve(read_log(output / LOG_FILE)), encoding="utf-8")
    return reporter.last


class _Reporter:
    """Validates, draws the samples and writes the checkpoint folder."""

    def __init__(
        self, output: Path, plan: Plan, model: TFSegformerForSemanticSegmentation, data: _Data
    ) -> None:
        self.output, self.plan, self.model, self.data = output, plan, model, data
        self.predict = predictor(model, plan.image_processing())
        self.labels = label_set_for(model.config)
        self.events: Any = None
        self.last: Evaluation

    def validate(self, step: int) -> dict[str, float]:
        """Scores for the log; writes samples, checkpoint and model card."""
        pairs = self.data.validation.pairs
        if step < self.plan.recipe.steps:
            pairs = pairs[: self.plan.schedule.validation_images]
        with self.model.optimizer.averaged(self.model.trainable_variables):
            evaluation = evaluate(self.predict, pairs, self.data.rules)
            self._samples(step)
            self._write(step, evaluation)
        self.last = evaluation
        scores = evaluation.scores
        return {
            "mean_iou": scores.mean_iou,
            "mean_accuracy": scores.mean_accuracy,
            "pixel_accuracy": scores.pixel_accuracy,
        }

    def _samples(self, step: int) -> None:
        pairs = self.data.validation.pairs[: self.plan.schedule.pictures]
        if not pairs:
            return
        rows, right = [], []
        for pair in pairs:
            image, truth = read_image(pair.image), read_mask(pair.mask, self.data.rules)
            prediction = self.predict(image)
            rows.append(row(image, truth, prediction, self.labels))
            labelled = truth != IGNORE_INDEX
            right.append(float((truth == prediction)[labelled].mean()) if labelled.any() else float("nan"))
        picture = sheet(rows, captions([pair.name for pair in pairs], right))
        folder = self.output / "samples"
        folder.mkdir(exist_ok=True)
        picture.save(folder / f"step-{step:06d}.png")
        if self.events is not None:
            self.events.picture("samples", picture, step)

    def _write(self, step: int, evaluation: Evaluation) -> None:
        folder = self.output / MODEL_FOLDER
        report = report_dict(evaluation, self.labels, self.data.validation.name, "checkpoint")
        self.model.save_pretrained(folder, to_pt=True)
        self.plan.image_processing().save_pretrained(folder)
        parameters = self.model.num_parameters()
        card = model_card(self.plan, step, self.data.contents, evaluation, self.labels, parameters)
        (folder / CARD).write_text(card, encoding="utf-8")
        (self.output / "evaluation.json").write_text(
            json.dumps({"step": step, **report}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
