"""Where the training data lies, and the names of its classes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from tf_segformer.datasets.pairs import (
    Dataset,
    DatasetError,
    find_folders,
    find_training,
    held_back,
    is_ade20k,
)


@dataclass(frozen=True)
class Source:
    """Where photographs and masks lie: one folder, or two or four.

    Attributes:
        data: A folder in ADE20K's layout, or with `images/` and `masks/`.
        images: Folder of photographs, instead of `data`.
        masks: Folder of their masks.
        validation_images: Folder of photographs to validate on; None: some are held back.
        validation_masks: Folder of their masks.
        palette: Whether the indices of palette masks are labels.
        reduce_zero_label: Whether 0 means "not labelled", classes begin at 1; None: as the layout says.
    """

    data: str | None = None
    images: str | None = None
    masks: str | None = None
    validation_images: str | None = None
    validation_masks: str | None = None
    palette: bool = False
    reduce_zero_label: bool | None = None

    def __post_init__(self) -> None:
        for images, masks in (("images", "masks"), ("validation_images", "validation_masks")):
            if (getattr(self, images) is None) != (getattr(self, masks) is None):
                raise DatasetError(f"give both of {_option(images)} and {_option(masks)}, or neither")
        if (self.data is None) == (self.images is None):
            raise DatasetError("give the training data either as --data DIR or as --images DIR --masks DIR")

    def find(self, seed: int) -> tuple[Dataset, Dataset]:
        """What to train on and what to validate on.

        Raises:
            DatasetError: a folder is missing, empty or of no known layout.
        """
        if self.images and self.masks:
            training = find_folders(Path(self.images), Path(self.masks))
            validation = None
        else:
            training, validation = find_training(Path(str(self.data)), seed=seed)
        if self.validation_images and self.validation_masks:
            own = find_folders(Path(self.validation_images), Path(self.validation_masks))
            validation = replace(own, reduce_zero_label=training.reduce_zero_label)
        elif validation is None:
            training, validation = held_back(training, seed)
        if self.reduce_zero_label is not None:
            training, validation = (
                replace(dataset, reduce_zero_label=self.reduce_zero_label)
                for dataset in (training, validation)
            )
        return training, validation

    @property
    def holds_ade20k(self) -> bool:
        """Whether the data has ADE20K's layout, and with it, unless said otherwise, its classes."""
        return self.data is not None and is_ade20k(Path(self.data))

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        return cls(**values)


def read_labels(path: Path) -> dict[int, str]:
    """Read the names of the classes from a JSON file.

    Args:
        path: A list of names, an object of class numbers to names, or a `config.json` with `id2label`.

    Raises:
        DatasetError: it is none of these, or the numbers are not 0, 1, 2, …
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: is not a readable JSON file ({error})") from error
    if isinstance(content, dict) and isinstance(content.get("id2label"), dict):
        content = content["id2label"]
    if isinstance(content, list):
        content = dict(enumerate(content))
    expected = 'expected a list of class names, ["sky", …], or an object, {"0": "sky", …}'
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content.values()):
        raise DatasetError(f"{path}: holds no class names; {expected}")
    try:
        names = {int(number): name for number, name in content.items()}
    except ValueError as error:
        raise DatasetError(f"{path}: has a class number that is none ({error}); {expected}") from error
    if not names or sorted(names) != list(range(len(names))):
        raise DatasetError(
            f"{path}: numbers its {len(names)} classes {sorted(names)[:5]}…; expected 0, 1, 2, …"
        )
    return dict(sorted(names.items()))


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
