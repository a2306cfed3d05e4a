"""Photographs beside their masks and what a model made of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tf_segformer.datasets.pairs import Pair
from tf_segformer.datasets.reading import MaskRules, read_image, read_mask
from tf_segformer.evaluation.predictions import Evaluation, Predict
from tf_segformer.labels import LabelSet
from tf_segformer.overlay import FAINT_INK, INK, PAPER, UNLABELLED

GAP = 8
CAPTION = 20


def coloured(labels: np.ndarray, label_set: LabelSet) -> Image.Image:
    """A label map (h, w) in the classes' colours; what is no class is gray."""
    table = np.full((max(256, len(label_set)), 3), UNLABELLED, np.uint8)
    table[: len(label_set)] = label_set.colors()
    return Image.fromarray(table[labels])


def row(
    image: np.ndarray, truth: np.ndarray, prediction: np.ndarray, label_set: LabelSet, height: int = 192
) -> Image.Image:
    """Photograph, mask, prediction and where they differ, side by side.

    Args:
        image: uint8 (h, w, 3).
        truth: (h, w), the mask's classes.
        prediction: (h, w), the model's.
        label_set: Names and colours.
        height: Of the picture, in pixels.
    """
    wrong = image // 3
    wrong[(truth != prediction) & (truth < len(label_set))] = (255, 64, 64)
    width = max(round(image.shape[1] * height / image.shape[0]), 1)
    parts = [Image.fromarray(image).resize((width, height))]
    parts += [
        coloured(labels, label_set).resize((width, height), Image.Resampling.NEAREST)
        for labels in (truth, prediction)
    ]
    parts.append(Image.fromarray(wrong).resize((width, height), Image.Resampling.NEAREST))
    sheet = Image.new("RGB", (len(parts) * (width + GAP) - GAP, height), PAPER)
    for place, part in enumerate(parts):
        sheet.paste(part, (place * (width + GAP), 0))
    return sheet


def sheet(rows: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    """Rows under each other, each below its caption."""
    width = max(row.width for row in rows)
    total = sum(row.height + CAPTION + GAP for row in rows)
    picture = Image.new("RGB", (width + 2 * GAP, total + GAP), PAPER)
    draw, font, top = ImageDraw.Draw(picture), ImageFont.load_default(13), GAP
    for entry, caption in zip(rows, captions, strict=True):
        draw.text((GAP, top), caption, INK if caption else FAINT_INK, font)
        picture.paste(entry, (GAP, top + CAPTION))
        top += entry.height + CAPTION + GAP
    return picture


def extremes(
    evaluation: Evaluation,
    pairs: Sequence[Pair],
    rules: MaskRules,
    predict: Predict,
    label_set: LabelSet,
    count: int,
) -> dict[str, Image.Image]:
    """Pictures of the photographs with the highest and the lowest mIoU of their own.

    Args:
        evaluation: Of `pairs`, in their order.
        pairs: The photographs and masks.
        rules: How masks are read.
        predict: See `predictions.predictor`.
        label_set: Names and colours of the classes.
        count: Photographs in each picture.

    Returns:
        `best` and `worst`; none of either where no photograph has a labelled pixel.
    """
    scored = [place for place, own in enumerate(evaluation.images) if np.isfinite(own.mean_iou)]
    scored.sort(key=lambda place: evaluation.images[place].mean_iou)
    pictures = {}
    for kind, places in (("worst", scored[:count]), ("best", scored[::-1][:count])):
        rows, captions = [], []
        for place in places:
            pair, own = pairs[place], evaluation.images[place]
            image, truth = read_image(pair.image), read_mask(pair.mask, rules)
            rows.append(row(image, truth, predict(image), label_set))
            captions.append(
                f"{pair.name} · mIoU {own.mean_iou:.1%} · pixel accuracy {own.pixel_accuracy:.1%}"
            )
        if rows:
            pictures[kind] = sheet(rows, captions)
    return pictures
