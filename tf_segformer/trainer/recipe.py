"""All that decides what a training computes, as one value that is written beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tf_segformer.trainer.augmentation import Augmentation


@dataclass(frozen=True)
class Recipe:
    """The numbers of a training; the defaults are the paper's for ADE20K (arXiv 2105.15203, section 4.1).

    Attributes:
        steps: Optimizer steps.
        batch_size: Examples a step.
        learning_rate: Peak of the encoder's; the head's is `head_factor` times as much.
        warm_up: Steps of the linear warm-up.
        power: Of the polynomial fall to 0.
        head_factor: See `learning_rate`.
        weight_decay: Of all variables but those of normalisation layers.
        drop_path: Greatest rate of stochastic depth.
        ema: Momentum of the moving average of the weights that is kept in the end; 0: none.
        augmentation: What is drawn for an example.
        size: Height and width in pixels to which the checkpoint's preprocessing brings photographs;
            None: the crop's side.
        seed: Of the initial weights, the order, the augmentation and the dropout; 0 to 2^31 - 1.
        deterministic: Whether TensorFlow only uses operations that give the same bits each time.
        threads: Of TensorFlow, which add up in another order if they are more; None: one for each core.
    """

    steps: int = 160_000
    batch_size: int = 16
    learning_rate: float = 6e-5
    warm_up: int = 1500
    power: float = 1.0
    head_factor: float = 10.0
    weight_decay: float = 0.01
    drop_path: float = 0.1
    ema: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    size: int | None = None
    seed: int = 0
    deterministic: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        lowest: dict[str, float] = {
            "steps": 1,
            "batch_size": 1,
            "warm_up": 0,
            "power": 0,
            "head_factor": 0,
            "weight_decay": 0,
            "drop_path": 0,
            "ema": 0,
            "learning_rate": 0,
        }
        for name, least in lowest.items():
            value = getattr(self, name)
            if not value >= least:
                raise ValueError(f"{name} is {value}; expected at least {least:g}.")
        if self.drop_path >= 1 or self.ema >= 1:
            raise ValueError(f"drop_path is {self.drop_path}, ema {self.ema}; expected both below 1.")
        if self.warm_up > self.steps:
            raise ValueError(f"warm_up is {self.warm_up} steps; expected at most all {self.steps}.")
        if not 0 <= self.seed < 1 << 31:
            raise ValueError(f"seed is {self.seed}; expected 0 to {(1 << 31) - 1}.")
        low, high = self.augmentation.scales
        if not 0 < low <= high:
            raise ValueError(f"scales are {low} to {high}; expected two positive numbers, the smaller first.")
        if self.augmentation.crop < 32:
            raise ValueError(f"crop is {self.augmentation.crop}; expected at least 32 pixels.")

    def to_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        values = asdict(self)
        values["augmentation"]["scales"] = list(self.augmentation.scales)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` returned."""
        augmentation = dict(values["augmentation"])
        augmentation["scales"] = tuple(augmentation["scales"])
        return cls(**{**values, "augmentation": Augmentation(**augmentation)})


@dataclass(frozen=True)
class Schedule:
    """When something is written during a training, in steps; none of it changes what is computed.

    Attributes:
        log_every: A line of `log.csv`.
        validate_every: Scores and pictures of the validation photographs, and the checkpoint folder; also at
            the end.
        save_every: The state from which `resume` goes on.
        validation_images: At most so many photographs are validated on before the end; None: all.
        pictures: Sample photographs in the logs.
    """

    log_every: int = 50
    validate_every: int = 2000
    save_every: int = 500
    validation_images: int | None = 100
    pictures: int = 4

    def __post_init__(self) -> None:
        for name in ("log_every", "validate_every", "save_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least 1 step.")
