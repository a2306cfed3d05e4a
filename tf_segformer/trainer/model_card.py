"""The README.md of a trained checkpoint: data, recipe, numbers, limits."""

from __future__ import annotations

from collections.abc import Sequence

from tf_segformer.datasets.checks import Contents
from tf_segformer.evaluation.predictions import Evaluation
from tf_segformer.labels import LabelSet
from tf_segformer.trainer.plan import Plan

TEMPLATE = """---
library_name: transformers
pipeline_tag: image-segmentation
tags:
- segformer
- semantic-segmentation
---

# SegFormer, {classes} classes, {parameters:.2f} M parameters

Trained by `tf-segformer train`: {origin}. The layout is the published PyTorch one:
`SegformerForSemanticSegmentation.from_pretrained(folder)` reads it, and
`TFSegformerForSemanticSegmentation.from_pretrained(folder, from_pt=True)`.

## Data

Trained on {training.images} photographs ({training_pixels:.1f} M labelled pixels), validated on others:
{validation.images} in all. {present} of the {classes} classes occur in the training data.
SHA-256 of the training data: `{training.digest}`.

## Recipe

{steps} of {all_steps} steps of AdamW, {batch} crops of {crop} × {crop} pixels each. Learning rate {rate:g}
(head × {head:g}), linear warm-up of {warm_up} steps, then polynomial to 0 (power {power:g});
weight decay {decay:g}, none on normalisation layers; stochastic depth {drop_path:g}; {average}; seed {seed}.
Augmentation: scale {low:g} to {high:g}, crop with at most {most:.0%} of one class, flip, {photometric}.

## Numbers

Whole photographs, resized to {height} × {width} as `preprocessor_config.json` says, label maps at the
photographs' own size; mmsegmentation's definitions; {images} validation photographs.

| mIoU | mean accuracy | pixel accuracy |
|---|---|---|
| {mean_iou:.2%} | {mean_accuracy:.2%} | {pixel_accuracy:.2%} |

| class | IoU | accuracy | share of the labelled pixels |
|---|---|---|---|
{rows}

## Limits

These numbers hold for photographs like the validation data. Classes that did not occur in the training
data are never predicted rightly.
"""


def model_card(
    plan: Plan,
    step: int,
    contents: Sequence[Contents],
    evaluation: Evaluation,
    label_set: LabelSet,
    parameters: int,
) -> str:
    """The card as Markdown.

    Args:
        plan: Of the training.
        step: Steps done.
        contents: What the training and the validation data hold.
        evaluation: The validation.
        label_set: Names of the classes.
        parameters: Of the model.
    """
    recipe, scores, processing = plan.recipe, evaluation.scores, plan.image_processing()
    training, validation = contents
    total = max(int(scores.true_pixels.sum()), 1)
    rows = [
        f"| {label_set.names[index]} | {scores.iou[index]:.1%} | {scores.accuracy[index]:.1%} "
        f"| {scores.true_pixels[index] / total:.1%} |"
        for index in range(len(label_set))
        if scores.true_pixels[index]
    ]
    return TEMPLATE.format(
        classes=len(label_set),
        parameters=parameters / 1e6,
        origin=f"begun with the weights of `{plan.origin}`" if plan.origin else "from scratch",
        training=training,
        training_pixels=training.pixels.sum() / 1e6,
        present=int((training.pixels > 0).sum()),
        validation=validation,
        steps=step,
        all_steps=recipe.steps,
        batch=recipe.batch_size,
        crop=recipe.augmentation.crop,
        rate=recipe.learning_rate,
        head=recipe.head_factor,
        warm_up=recipe.warm_up,
        power=recipe.power,
        decay=recipe.weight_decay,
        drop_path=recipe.drop_path,
        average=f"moving average of the weights, momentum {recipe.ema:g}"
        if recipe.ema
        else "no moving average",
        seed=recipe.seed,
        low=recipe.augmentation.scales[0],
        high=recipe.augmentation.scales[1],
        most=recipe.augmentation.most_of_one_class,
        photometric="photometric distortion"
        if recipe.augmentation.photometric
        else "no photometric distortion",
        height=processing.height,
        width=processing.width,
        images=len(evaluation.images),
        mean_iou=scores.mean_iou,
        mean_accuracy=scores.mean_accuracy,
        pixel_accuracy=scores.pixel_accuracy,
        rows="\n".join(rows),
    )
