"""Names for the intermediates of the forward pass, so that two frameworks can be compared layer by layer.

A layer hands each intermediate to `tap`; outside `record_taps` that is a no-op. A tap's name is the module
path of the published PyTorch checkpoints, e.g. `segformer.encoder.block.0.1.mlp.dense1`, so a tap that
differs leads straight to its weights.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf


@dataclass(frozen=True)
class _Recording:
    prefix: str
    given: Mapping[str, Any]
    taps: dict[str, tf.Tensor | None]
    sink: Callable[[str, tf.Tensor], Any] | None


_recording: ContextVar[_Recording | None] = ContextVar("recording", default=None)


def tap(layer: keras.layers.Layer, name: str, value: tf.Tensor) -> tf.Tensor:
    """Record `value` as the intermediate `name` of `layer` (`""`: its output).

    Returns:
        `value`, or what `record_taps` was given in its place.
    """
    recording = _recording.get()
    if recording is None:
        return value
    path = f"{layer.path}/{name}" if name else layer.path
    full_name = path.removeprefix(recording.prefix).replace("/", ".")
    if full_name in recording.taps:
        raise ValueError(
            f"The tap {full_name!r} was recorded twice: call the model once per `record_taps`, and give "
            "each intermediate its own name."
        )
    recording.taps[full_name] = value if recording.sink is None else None
    if recording.sink is not None:
        recording.sink(full_name, value)
    if full_name in recording.given:
        return tf.cast(recording.given[full_name], value.dtype)
    return value


@contextmanager
def record_taps(
    model: keras.Model,
    given: Mapping[str, Any] | None = None,
    sink: Callable[[str, tf.Tensor], Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Collect the taps of one call of `model`, in the order of the forward pass.

    Inside a `tf.function`, enter the context there and return the dict from the function.

    Args:
        model: The model that will be called; names are relative to it.
        given: Values of taps, by name, that the layers behind them take as their input instead of what was
            computed. With a reference's taps, each layer is thus tried alone, on the reference's own input.
        sink: Takes each tap's name and tensor as soon as it is computed (in a `tf.function`: traced). The
            dict then has the names only, so that the tensors need not all be in memory.

    Yields:
        A dict, name → tensor as it was computed, filled in as the call proceeds. Feature maps are
        (B, H, W, C), attention probabilities (B, h, Nq, Nkv), in the model's compute dtype.
    """
    taps: dict[str, tf.Tensor | None] = {}
    token = _recording.set(_Recording(f"{model.path}/", given or {}, taps, sink))
    try:
        yield taps
    finally:
        _recording.reset(token)
