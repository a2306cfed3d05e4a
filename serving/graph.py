"""Graph functions, as the modules beside this one make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensors = dict[str, tf.Tensor]


def graph_function(python_function: Callable[..., Any], *specs: tf.TensorSpec) -> Any:
    """Make a ``tf.function`` that is traced once, for tensors of these specs, and shared by its callers."""
    # jit_compile=False: a server has XLA switched off. autograph: nothing here needs its rewriting.
    return tf.function(python_function, input_signature=specs, autograph=False, jit_compile=False)
