"""Weights of one shape in one variable, so that a SavedModel of many weights is loaded fast.

Loading costs time for every variable, whatever its size: it is a node of the graph, an input of every
function that reads it, and some nodes of those that save and restore it; and a server's graph optimiser goes
over all of these before each first run. B4 has 921 weights of 37 shapes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import tensorflow as tf

# The tensors of the stacks that are being read, by the stack's id.
_READ: ContextVar[dict[int, list[tf.Tensor]]] = ContextVar("_READ")


class WeightStack(tf.Module):
    """Weights of one shape and dtype, in a variable with one more dimension, the first."""

    def __init__(self, variables: list[tf.Variable]) -> None:
        super().__init__(name="weights")
        self.variable = tf.Variable(tf.stack(variables), trainable=False, name="stack")

    def unstack(self) -> list[tf.Tensor]:
        """Return all weights; where one takes a multiple of 64 bytes, nothing is copied."""
        return tf.unstack(self.variable.value())


class StackedWeight:
    """One weight of a stack; is read as a variable is.

    Args:
        stack: where it is.
        index: along the stack's first dimension.
        by_itself: whether the tensor must be a node's only output.
    """

    def __init__(self, stack: WeightStack, index: int, by_itself: bool) -> None:
        self.stack, self.index, self._by_itself = stack, index, by_itself

    def read_value(self) -> tf.Tensor:
        """Return the weight; it is read with all others where `PackedWeights.read` is entered."""
        unstacked = _READ.get({}).get(id(self.stack))
        if unstacked is None:
            return self.stack.variable[self.index]
        weight = unstacked[self.index]
        return tf.ensure_shape(weight, weight.shape) if self._by_itself else weight


class PackedWeights(tf.Module):
    """The stacks of a network.

    Args:
        weights: modules with an attribute `variable`, which becomes a `StackedWeight` where there are two or
            more of its shape and dtype.
    """

    def __init__(self, weights: Iterable[Any]) -> None:
        super().__init__(name="packed_weights")
        alike: dict[Any, list[Any]] = defaultdict(list)
        for weight in weights:
            alike[weight.variable.dtype, tuple(weight.variable.shape)].append(weight)
        self.stacks: list[WeightStack] = []
        for members in alike.values():
            if len(members) == 1:
                continue
            stack = WeightStack([weight.variable for weight in members])
            for index, weight in enumerate(members):
                del weight.variable  # and with it, the module's tracking of the variable
                # Where the optimiser makes `_MklLayerNorm`, it takes gamma and beta by the names of their
                # nodes, and forgets which output: each would be the first of its stack.
                weight.variable = StackedWeight(stack, index, weight.name in ("gamma", "beta"))
            self.stacks.append(stack)

    @contextmanager
    def read(self) -> Iterator[None]:
        """Within it, each stack is read once."""
        token = _READ.set({id(stack): stack.unstack() for stack in self.stacks})
        try:
            yield
        finally:
            _READ.reset(token)
