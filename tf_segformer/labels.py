"""Class names and colours: ADE20K, Cityscapes, and any label set a checkpoint names itself.

The lists are data (`data/*.json`). The names are those of the published checkpoints' `id2label`,
without the blank that ADE20K's "bed " carries there; the colours are the ones the field draws
these data sets with.
"""

from __future__ import annotations

import colorsys
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np

Color = tuple[int, int, int]

_WORD = re.compile(r"\w+")
_PLACEHOLDER = re.compile(r"LABEL_\d+")


@dataclass(frozen=True)
class LabelSet:
    """The classes of a model, in the order of its logits.

    Attributes:
        name: What the set is called, e.g. "ade20k"; "custom" for a checkpoint's own.
        names: One name per class.
        palette: One (red, green, blue) per class, each 0 to 255.

    Raises:
        ValueError: If there is no class, or not one colour per name, or a colour is out of range.
    """

    name: str
    names: tuple[str, ...]
    palette: tuple[Color, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise ValueError(f"Label set {self.name!r} has no class; expected at least one name.")
        if len(self.names) != len(self.palette):
            raise ValueError(
                f"Label set {self.name!r} has {len(self.names)} names and {len(self.palette)} "
                "colours; expected one colour per name."
            )
        for class_name, color in zip(self.names, self.palette, strict=True):
            if len(color) != 3 or not all(0 <= channel <= 255 for channel in color):
                raise ValueError(
                    f"Class {class_name!r} of label set {self.name!r} has the colour {color}; "
                    "expected (red, green, blue), each 0 to 255."
                )

    def __len__(self) -> int:
        return len(self.names)

    def colors(self) -> np.ndarray:
        """Return the palette as a uint8 array [classes, 3], to be indexed by a label map."""
        return np.array(self.palette, np.uint8)


def _read(resource: str) -> LabelSet:
    data = json.loads(resources.files(__package__).joinpath("data", resource).read_text("utf-8"))
    return LabelSet(
        name=data["name"],
        names=tuple(entry["name"] for entry in data["classes"]),
        palette=tuple(tuple(entry["color"]) for entry in data["classes"]),
    )


ADE20K = _read("ade20k.json")
CITYSCAPES = _read("cityscapes.json")


def label_set_for(config: Any) -> LabelSet:
    """Return the label set of a checkpoint.

    The checkpoint's own `id2label` decides. Where every name in it means the class of the same
    number in ADE20K or Cityscapes, in whichever spelling ("building", "building;edifice" and
    "building, edifice" are one class), that set is returned with its usual colours. Where it
    holds only the placeholders LABEL_0, LABEL_1, …, the number of classes decides: 150 is
    ADE20K, 19 is Cityscapes. Any other set keeps the checkpoint's names and gets colours from
    `distinct_palette`.

    Args:
        config: A `SegformerConfig`, or a mapping with the content of a `config.json`.

    Raises:
        ValueError: If `id2label` does not map the class numbers 0, 1, 2, … to names.
    """
    names = _names_of(config)
    placeholders = all(_PLACEHOLDER.fullmatch(name) for name in names)
    for known in (ADE20K, CITYSCAPES):
        same_size = len(known) == len(names)
        if same_size and (placeholders or all(map(_means, names, known.names))):
            return known
    return LabelSet("custom", names, distinct_palette(len(names)))


def distinct_palette(classes: int) -> tuple[Color, ...]:
    """Return `classes` colours, all different, the same ones every time.

    Hues step by the golden ratio, so that neighbouring class numbers are far apart; brightness
    and saturation change more slowly. A longer palette begins with the shorter one.

    Raises:
        ValueError: If more colours are asked for than 24 bits can tell apart.
    """
    if classes > 1 << 24:
        raise ValueError(f"{classes} classes have no distinct 8-bit colours; expected at most 2^24.")
    palette: dict[Color, None] = {}  # a dictionary keeps the order and finds repetitions
    for index in range(classes):
        hue = (0.58 + index * 0.618033988749895) % 1.0
        value = (0.93, 0.72, 0.84, 0.60)[index // 8 % 4]
        saturation = (0.72, 0.45, 0.95)[index // 32 % 3]
        red, green, blue = (round(255 * v) for v in colorsys.hsv_to_rgb(hue, saturation, value))
        while (red, green, blue) in palette:
            number = (red << 16 | green << 8 | blue) + 1
            red, green, blue = number >> 16 & 255, number >> 8 & 255, number & 255
        palette[red, green, blue] = None
    return tuple(palette)


def _names_of(config: Any) -> tuple[str, ...]:
    def field(name: str) -> Any:
        return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)

    id2label = field("id2label")
    if not id2label:
        classes = field("num_labels")
        if not classes:
            raise ValueError(
                "The config names no classes: expected `id2label` or `num_labels` in config.json."
            )
        return tuple(f"LABEL_{index}" for index in range(classes))
    if not isinstance(id2label, Mapping):
        raise ValueError(
            f"The config's id2label is a {type(id2label).__name__}; expected a mapping of class "
            "numbers to names. Correct id2label in config.json."
        )
    try:
        by_index = {int(index): str(name).strip() for index, name in id2label.items()}
    except ValueError as error:
        raise ValueError(
            f"The config's id2label has a key that is no number ({error}); expected a class "
            "number for each name. Correct id2label in config.json."
        ) from error
    if sorted(by_index) != list(range(len(by_index))):
        missing = sorted(set(range(len(by_index))) - set(by_index))
        raise ValueError(
            f"The config's id2label has {len(by_index)} entries but none for class "
            f"{', '.join(map(str, missing[:5]))}; expected the classes 0 to {len(by_index) - 1}. "
            "Correct id2label in config.json."
        )
    return tuple(by_index[index] for index in range(len(by_index)))


def _means(given: str, known: str) -> bool:
    """Whether a checkpoint's label, perhaps a list of synonyms, names the class `known`.

    Separators differ between sources ("pool table, billiard table", "pool;table;billiard;table",
    "traffic_light"), so the words of the known name are looked for in a row.
    """
    words, wanted = (_WORD.findall(name.lower().replace("_", " ")) for name in (given, known))
    starts = range(len(words) - len(wanted) + 1)
    return any(words[start : start + len(wanted)] == wanted for start in starts)
