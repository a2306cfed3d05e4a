"""What is chosen when a model is exported, and then fixed in its graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from tf_segformer.confidence import Measure
from tf_segformer.resampling import PASS_ORDERS, PassOrder
from tf_segformer.resizing import Resizing

MAX_PIXELS = 50_000_000
MAX_BYTES = 200_000_000
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Weights = Literal["float32", "float16"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
MEASURES: tuple[Measure, ...] = get_args(Measure)


@dataclass(frozen=True)
class ExportOptions:
    """The choices of an export.

    Attributes:
        resizing: to which size images are brought for the network; see `tf_segformer.resizing`.
        exif_orientation: whether an image is turned upright as its camera noted in the file. The
            reference does not turn it, and so segments many a phone's photograph sideways.
        max_pixels: the largest image that is decoded, in pixels (height × width). A larger one is
            refused by its header, before memory is taken for it: 3 bytes a pixel for each image of a
            batch until they are resized, and 5 for the label map being made.
        max_bytes: the longest file that is looked at. A longer one is refused before any work.
        webp: whether WebP files are read. Their decoder came with TensorFlow 2.20: an older server
            refuses each as it does a damaged file.
        pillow: the Pillow that resizing follows: the order of its two passes changed in version 13.
        confidence: the measure of `segment_with_confidence`; see `tf_segformer.confidence`.
        precision: of the network's matrix products and weights; see `tf_segformer.inference`.
        weights: how the weights of a float32 network lie on disk; see `serving.float16_weights`. None for as
            they are computed with: float32, or bfloat16 with that precision.

    Raises:
        ValueError: a choice has no usable value.
    """

    resizing: Resizing = field(default_factory=Resizing)
    exif_orientation: bool = False
    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES
    webp: bool = True
    pillow: PassOrder = "pillow>=13"
    confidence: Measure = "probability"
    precision: Precision = "float32"
    weights: Weights | None = None

    def __post_init__(self) -> None:
        for name in ("max_pixels", "max_bytes"):
            value = getattr(self, name)
            if not 1 <= value < 1 << 31:
                raise ValueError(f"{name} is {value}; expected a number from 1 to {(1 << 31) - 1}.")
        if self.pillow not in PASS_ORDERS:
            raise ValueError(f"pillow is {self.pillow!r}; expected one of {', '.join(PASS_ORDERS)}.")
        if self.confidence not in MEASURES:
            raise ValueError(f"confidence is {self.confidence!r}; expected one of {', '.join(MEASURES)}.")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}.")
        if self.weights not in (None, *WEIGHTS):
            raise ValueError(f"weights is {self.weights!r}; expected one of {', '.join(WEIGHTS)}.")
        if self.weights is not None and self.precision == "bfloat16":
            raise ValueError(
                f"weights is {self.weights!r} and precision 'bfloat16', whose weights lie in bfloat16, 2 "
                "bytes each. Leave one of the two out."
            )

    @property
    def rounding(self) -> str | None:
        """What rounds the network to less than float32: ``bfloat16``, ``float16 weights``, or None."""
        if self.precision != "float32":
            return self.precision
        return "float16 weights" if self.weights == "float16" else None

    def to_dict(self) -> dict[str, Any]:
        """Return the choices, ready for JSON."""
        return {**vars(self), "resizing": self.resizing.to_dict()}
