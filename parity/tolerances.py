"""Gates: how large an error may be, and why.

Two lanes answer two questions:

* **float64** asks "is the formula right?". Both frameworks compute the same real numbers with
  roundings of 1e-16 each, so every tensor must agree to ``FLOAT64_MULTIPLE`` × its scale. A wrong
  epsilon (3e-6 of the logits) or a tanh GELU stands out by many orders of magnitude.
* **float32** asks "is what people run as good as the reference?". Rounding accumulates differently
  in every layer, so one number for all taps would be loose in most places. The gate of a tap is a
  multiple of that tap's own *noise floor*: the difference between the reference in float32 and the
  reference in float64. Only the logits have a fixed gate, because a promise is made about them; it
  gives way where the reference itself cannot keep it.

Why ``run`` measures the floor on the fly: it depends on the weights, the image size and the
kernels that the reference picked on this machine, so a number from elsewhere would be either loose
or a false alarm, and the float64 reference is computed for its own lane anyway. What a measured
floor cannot see is a reference that has itself become noisier, since its gates grow along. For that
there is ``parity calibrate``: it freezes the floors of one checkpoint and size into a file with
date, machine and reason, and ``run --tolerances FILE`` then uses those.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# One multiple of the logits' scale, promised for every variant (see the README's table).
LOGITS_FLOAT32_MULTIPLE = 2e-6
# Where the reference's own float32 logits are further than half of that from its float64 ones, as they can
# be in a network of a few channels: two implementations that are as good differ by twice that, at worst.
LOGITS_NOISE_MULTIPLE = 2.0
# Measured on B0 to B5: 3e-15 at most; 1e-12 leaves room for longer sums, and none for a mistake.
FLOAT64_MULTIPLE = 1e-12
# Two frameworks with equally good but different float32 kernels differ by the sum of their noises,
# at worst; TAP_NOISE_MULTIPLE says how much noisier than the reference the candidate may be.
TAP_NOISE_MULTIPLE = 8.0
# A tap may come out of the reference almost exactly rounded (a bias-free first layer, say); no
# float32 implementation can be asked for less than the rounding of its largest value.
NOISE_FLOOR_OF_SCALE = 2.0**-24
# Preprocessed pixels: three float32 operations per value. One 8-bit level is 1.7e-2, i.e. 6e-3 of
# the scale, so this gate is far from hiding a wrong resize, filter or order of channels.
PIXELS_MULTIPLE = 4 * 2.0**-24

# Of each parameter's largest gradient (docs/decisions/0004-tolerances.md). In float64 measured 2e-13 at most.
GRADIENTS_FLOAT64_MULTIPLE = 1e-10
GRADIENTS_FLOAT32_MULTIPLE = 1e-4
# Where the float32 reference itself is far from its float64 gradients: of that distance.
GRADIENTS_NOISE_MULTIPLE = 8.0

Unit = Literal["scale", "noise"]
FILE_VERSION = 1


class ToleranceError(ValueError):
    """A tolerance is missing, or the file it should come from does not fit."""


@dataclass(frozen=True)
class Gate:
    """The largest error that passes: ``multiple`` × ``unit_value``.

    Attributes:
        multiple: the stated number, e.g. 2e-6.
        unit: what it multiplies: the tensor's scale or its noise floor.
        unit_value: that unit's absolute size for this tensor.
    """

    multiple: float
    unit: Unit
    unit_value: float

    @property
    def limit(self) -> float:
        """Largest absolute error that passes."""
        return self.multiple * self.unit_value

    def required(self, error: float) -> float:
        """The multiple that would have passed, rounded up to three digits."""
        if error == 0.0:
            return 0.0
        if self.unit_value == 0.0 or not math.isfinite(error):
            return math.inf
        ratio = error / self.unit_value
        digit = 10.0 ** (math.floor(math.log10(ratio)) - 2)
        return math.ceil(ratio / digit) * digit

    def ratio(self, error: float) -> float:
        """Error ÷ gate: above 1 fails. An exact match is 0 even where the gate is 0."""
        if error == 0.0:
            return 0.0
        return error / self.limit if self.limit > 0.0 else math.inf


def scale_gate(multiple: float, scale: float) -> Gate:
    """A gate of ``multiple`` × the tensor's largest absolute reference value."""
    return Gate(multiple, "scale", scale)


def noise_gate(noise: float, scale: float, multiple: float = TAP_NOISE_MULTIPLE) -> Gate:
    """A gate of ``multiple`` × the tap's noise floor.

    Noise below half a unit in the last place of the tap's largest value counts as that half unit.
    """
    return Gate(multiple, "noise", max(noise, NOISE_FLOOR_OF_SCALE * scale))


@dataclass(frozen=True)
class NoiseFloors:
    """The noise floor of every tap: max |float32 − float64| of the reference, absolute.

    Attributes:
        taps: tap name → noise, in forward order.
        source: where the numbers come from, for the report.
        input_sha256: hash of the pixel values that they were measured with.
        checkpoint_sha256: hash of the weights that they were measured with.
    """

    taps: Mapping[str, float]
    source: str
    input_sha256: str
    checkpoint_sha256: str

    def gate(self, name: str, scale: float, multiple: float = TAP_NOISE_MULTIPLE) -> Gate:
        """The gate of one tap.

        Raises:
            ToleranceError: no noise was measured for this tap; nothing passes without a gate.
        """
        if name not in self.taps:
            raise ToleranceError(f"no noise floor for tap {name} in {self.source}")
        return noise_gate(self.taps[name], scale, multiple)


def save_noise_floors(
    path: Path, floors: NoiseFloors, *, date: str, machine: Mapping[str, object], reason: str
) -> None:
    """Write a tolerance file: the floors and how they came about.

    Args:
        path: JSON file to write.
        floors: what was measured.
        date: ISO date of the measurement.
        machine: description of the machine and of the library versions.
        reason: why the file was (re)made, in a sentence; it may not be empty.
    """
    if not reason.strip():
        raise ToleranceError("a tolerance file needs a reason: say why it is (re)made")
    content = {
        "version": FILE_VERSION,
        "date": date,
        "reason": reason,
        "machine": dict(machine),
        "method": "max |reference float32 - reference float64| of each tap, same pixel values",
        "multiple": TAP_NOISE_MULTIPLE,
        "input_sha256": floors.input_sha256,
        "checkpoint_sha256": floors.checkpoint_sha256,
        "taps": dict(floors.taps),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_noise_floors(path: Path) -> NoiseFloors:
    """Read a tolerance file written by ``parity calibrate``.

    Raises:
        ToleranceError: the file is missing, is no tolerance file, or is of another version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != FILE_VERSION:
            raise ToleranceError(
                f"{path} is of version {content['version']}, this parity reads {FILE_VERSION}: "
                "make it anew with `parity calibrate`"
            )
        if content["multiple"] != TAP_NOISE_MULTIPLE:
            raise ToleranceError(
                f"{path} was made for gates of {content['multiple']} × noise, this parity uses "
                f"{TAP_NOISE_MULTIPLE} ×: make it anew with `parity calibrate`"
            )
        taps = {str(name): float(noise) for name, noise in content["taps"].items()}
        if not all(math.isfinite(noise) and noise >= 0.0 for noise in taps.values()):
            raise ToleranceError(f"{path} holds a noise floor that is negative or not finite")
        return NoiseFloors(
            taps,
            f"{path.name} of {content['date']}",
            content["input_sha256"],
            content["checkpoint_sha256"],
        )
    except ToleranceError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToleranceError(
            f"cannot read the tolerance file {path}: {type(error).__name__}: {error}; "
            "make one with `parity calibrate MODEL --reason … -o FILE`"
        ) from error
