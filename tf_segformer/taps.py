"""Names for the intermediates of the forward pass, so that two frameworks can be compared layer by layer.

A layer hands each intermediate to `tap`; outside `record_taps` that is a no-op. A tap's name is the module
path of the published PyTorch checkpoints, e.g. `segformer.encoder.block.0.1.mlp.dense1`, so a tap that
differs leads straight to its weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import keras
import tensorflow as tf

_recording: ContextVar[dict[str, tf.Tensor] | None] = ContextVar("recording", default=None)


def tap(layer: keras.layers.Layer, name: str, value: tf.Tensor) -> tf.Tensor:
    """Record `value` as the intermediate `name` of `layer` (`""`: its output) and return it unchanged."""
    taps = _recording.get()
    if taps is not None:
        path = f"{layer.path}/{name}" if name else layer.path
        if path in taps:
            raise ValueError(
                f"The tap {path!r} was recorded twice: call the model once per `record_taps`, and give "
                "each intermediate its own name."
            )
        taps[path] = value
    return value


@contextmanager
def record_taps(model: keras.Model) -> Iterator[dict[str, tf.Tensor]]:
    """Collect the taps of one call of `model`, in the order of the forward pass.

    Inside a `tf.function`, enter the context there and return the dict from the function.

    Args:
        model: The model that will be called; names are relative to it.

    Yields:
        A dict, name → tensor, filled in as the call proceeds. Feature maps are (B, H, W, C), attention
        probabilities (B, h, Nq, Nkv), in the model's compute dtype.
    """
    by_name = _NamedTaps(prefix=f"{model.path}/")
    token = _recording.set(by_name)
    try:
        yield by_name
    finally:
        _recording.reset(token)


class _NamedTaps(dict):
    """A dict that stores layer paths under their published names."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def _name(self, path: str) -> str:
        return path.removeprefix(self._prefix).replace("/", ".")

    def __setitem__(self, path: str, value: tf.Tensor) -> None:
        super().__setitem__(self._name(path), value)

    def __contains__(self, path: object) -> bool:
        return super().__contains__(self._name(str(path)))
