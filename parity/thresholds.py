"""What passes: the tolerances of the harness, or those that a project sets for itself in `parity.toml`.

    [tolerances]             # of `parity run` and `parity compare`
    logits_float32 = 2e-6    # × scale, the largest absolute value of the reference
    taps_float32 = 8         # × the tap's noise floor
    float64 = 1e-12          # × scale
    pixels = 2.4e-7          # × scale
    gradients_float32 = 1e-4   # × scale, the largest gradient of the parameter
    gradients_float64 = 1e-10  # × scale

    [miou]                   # of `parity miou`
    max_unexplained = 0      # share of pixels whose labels may differ without being ties
    max_difference = 0.0005  # of the two mIoUs, which are 0 to 1; not required by default
    min_agreement = 0.9999   # share of pixels with the same label; not required by default

Every line may be left out. What is unknown or makes no sense is refused, never ignored.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from parity.tolerances import (
    FLOAT64_MULTIPLE,
    GRADIENTS_FLOAT32_MULTIPLE,
    GRADIENTS_FLOAT64_MULTIPLE,
    LOGITS_FLOAT32_MULTIPLE,
    PIXELS_MULTIPLE,
    TAP_NOISE_MULTIPLE,
)

FILE_NAME = "parity.toml"


class ThresholdError(ValueError):
    """A `parity.toml` cannot be used."""


@dataclass(frozen=True)
class Thresholds:
    """The gates of a comparison.

    Attributes:
        logits_float32: largest error of float32 logits, × scale.
        taps_float32: largest error of a float32 tap, × its noise floor.
        float64: largest error of a float64 tensor, × scale.
        pixels: largest error of preprocessed pixels, × scale.
        gradients_float32: largest error of a float32 gradient, × scale: see `parity/gradient_rows.py`.
        gradients_float64: largest error of a float64 gradient, × scale.
        max_unexplained: share of pixels whose labels may differ without being ties.
        max_miou_difference: largest difference of the two mIoUs; None: not required.
        min_agreement: smallest share of pixels with the same label; None: not required.
        source: where they come from.
    """

    logits_float32: float = LOGITS_FLOAT32_MULTIPLE
    taps_float32: float = TAP_NOISE_MULTIPLE
    float64: float = FLOAT64_MULTIPLE
    pixels: float = PIXELS_MULTIPLE
    gradients_float32: float = GRADIENTS_FLOAT32_MULTIPLE
    gradients_float64: float = GRADIENTS_FLOAT64_MULTIPLE
    max_unexplained: float = 0.0
    max_miou_difference: float | None = None
    min_agreement: float | None = None
    source: str = "the defaults"

    def to_dict(self) -> dict[str, Any]:
        """JSON values, for reports."""
        return asdict(self)


def _positive(value: float) -> bool:
    return value > 0.0


def _share(value: float) -> bool:
    return 0.0 <= value <= 1.0


# section → key → (attribute, what is allowed, in words)
_KEYS: dict[str, dict[str, tuple[str, Callable[[float], bool], str]]] = {
    "tolerances": {
        name: (name, _positive, "a number above 0")
        for name in (
            *("logits_float32", "taps_float32", "float64", "pixels"),
            *("gradients_float32", "gradients_float64"),
        )
    },
    "miou": {
        "max_unexplained": ("max_unexplained", _share, "a share, 0 to 1"),
        "max_difference": ("max_miou_difference", _share, "a difference of mIoUs, 0 to 1"),
        "min_agreement": ("min_agreement", _share, "a share, 0 to 1"),
    },
}


def find_thresholds(path: Path | None) -> Thresholds:
    """Read the file that was named, or `parity.toml` of the working directory, or take the defaults.

    Raises:
        ThresholdError: the file is missing or cannot be used.
    """
    if path is not None:
        return load_thresholds(path)
    here = Path(FILE_NAME)
    return load_thresholds(here) if here.is_file() else Thresholds()


def load_thresholds(path: Path) -> Thresholds:
    """Read a `parity.toml`.

    Raises:
        ThresholdError: it is missing, no TOML, or has an unknown key or a value that makes no sense.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ThresholdError(f"cannot read {path}: {error}") from error
    values: dict[str, Any] = {}
    for section, entries in content.items():
        if section not in _KEYS or not isinstance(entries, dict):
            raise ThresholdError(f"{path}: unknown section {section!r}; known are {', '.join(_KEYS)}")
        for key, value in entries.items():
            if key not in _KEYS[section]:
                known = ", ".join(_KEYS[section])
                raise ThresholdError(f"{path}: unknown key {key!r} in [{section}]; known are {known}")
            attribute, allowed, words = _KEYS[section][key]
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or not allowed(value):
                raise ThresholdError(f"{path}: {key} in [{section}] is {value!r}; expected {words}")
            values[attribute] = float(value)
    return replace(Thresholds(source=path.name), **values)
