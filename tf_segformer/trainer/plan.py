"""A training as a whole: recipe, data, network; what a state file records, and how its model is built."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import keras
from transformers import SegformerConfig

from tf_segformer.configuration import config_from, read_config, variant_config
from tf_segformer.datasets.pairs import DatasetError
from tf_segformer.labels import ADE20K
from tf_segformer.modeling import TFSegformerForSemanticSegmentation
from tf_segformer.preprocessing import ImageProcessing
from tf_segformer.segmentation import load_image_processing
from tf_segformer.trainer.initialisation import initialise_convolutions
from tf_segformer.trainer.optimizer import HEAD, RecipeAdamW, WarmUpPoly
from tf_segformer.trainer.recipe import Recipe, Schedule
from tf_segformer.trainer.source import Source


@dataclass(frozen=True)
class Plan:
    """All that a training needs to begin or to go on.

    Attributes:
        recipe: What is computed.
        schedule: When something is written.
        source: Where the data lies.
        config: The network's config, as in `config.json`.
        processing: The checkpoint's preprocessing, as in `preprocessor_config.json`.
        origin: The checkpoint whose weights it begins with; None: from scratch.
        digests: Of the checked datasets.
    """

    recipe: Recipe
    schedule: Schedule
    source: Source
    config: dict[str, Any]
    processing: dict[str, Any]
    origin: str | None = None
    digests: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "recipe": self.recipe.to_dict(),
            "schedule": vars(self.schedule),
            "source": self.source.to_dict(),
            "config": self.config,
            "processing": self.processing,
            "origin": self.origin,
            "digests": list(self.digests),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        return cls(
            recipe=Recipe.from_dict(values["recipe"]),
            schedule=Schedule(**values["schedule"]),
            source=Source.from_dict(values["source"]),
            config=values["config"],
            processing=values["processing"],
            origin=values["origin"],
            digests=tuple(values["digests"]),
        )

    def image_processing(self) -> ImageProcessing:
        """The checkpoint's preprocessing."""
        return ImageProcessing.from_dict(self.processing)

    def compiled(self, model: TFSegformerForSemanticSegmentation) -> TFSegformerForSemanticSegmentation:
        """The model, compiled by the recipe with an optimizer that is built."""
        recipe = self.recipe
        optimizer = RecipeAdamW(
            WarmUpPoly(recipe.learning_rate, recipe.steps, recipe.warm_up, recipe.power),
            weight_decay=recipe.weight_decay,
            multipliers={HEAD: recipe.head_factor},
            use_ema=recipe.ema > 0,
            ema_momentum=recipe.ema or 0.99,
        )
        optimizer.build(model.trainable_variables)
        model.compile(optimizer)
        return model


def new_plan(
    recipe: Recipe,
    schedule: Schedule,
    source: Source,
    *,
    model: str | None = None,
    variant: str | None = None,
    config: Path | None = None,
    labels: dict[int, str] | None = None,
) -> tuple[Plan, TFSegformerForSemanticSegmentation]:
    """Plan a training and build its model with the weights that it begins with.

    Args:
        recipe: What is computed.
        schedule: When something is written.
        source: Where the data lies.
        model: A checkpoint to fine-tune; an encoder alone, or other classes, get a new head or classifier.
        variant: `"b0"` to `"b5"` from scratch, if no `model` is given; default `"b0"`.
        config: A `config.json` instead of a variant.
        labels: Names of the classes; default: the checkpoint's own, or ADE20K's for data in its layout.

    Raises:
        ConfigError: config or variant cannot be used.
        CheckpointError: the checkpoint cannot be loaded.
        DatasetError: the classes are not known.
    """
    if sum(given is not None for given in (model, variant, config)) > 1:
        raise DatasetError("give one of --model, --variant and --config: each names the network")
    keras.utils.set_random_seed(recipe.seed)
    names = labels or (dict(enumerate(ADE20K.names)) if source.holds_ade20k and not model else None)
    if names is None and model is None:
        raise DatasetError(
            "the names of the classes are not known: give --labels FILE.json, a list of names, or "
            "--model with a checkpoint that names them. (Data in ADE20K's layout has ADE20K's 150 classes by "
            "default.)"
        )
    overrides: dict[str, Any] = {"drop_path_rate": recipe.drop_path}
    if names is not None:
        overrides["id2label"] = names
    processing = ImageProcessing()
    if model is not None:
        built = TFSegformerForSemanticSegmentation.from_pretrained(
            model, ignore_mismatched_sizes=labels is not None, data_format="channels_last", **overrides
        )
        processing = load_image_processing(model)
    else:
        if config is not None:
            fields = read_config(config).to_dict()
        else:
            fields = variant_config(variant or "b0").to_dict()
        built = TFSegformerForSemanticSegmentation(
            config_from(fields, overrides, source=str(config or variant)), data_format="channels_last"
        )
        initialise_convolutions(built, recipe.seed)
    side = recipe.size or recipe.augmentation.crop
    processing = replace(
        processing, do_resize=True, height=side, width=side, shortest_edge=None, longest_edge=None
    )
    built.config.architectures = ["SegformerForSemanticSegmentation"]
    plan = Plan(recipe, schedule, source, built.config.to_dict(), processing.to_dict(), model)
    return plan, built


def model_of(plan: Plan) -> TFSegformerForSemanticSegmentation:
    """The plan's model with new weights, into which a state is loaded."""
    keras.utils.set_random_seed(plan.recipe.seed)
    return TFSegformerForSemanticSegmentation(
        SegformerConfig.from_dict(plan.config), data_format="channels_last"
    )
