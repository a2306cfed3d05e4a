"""Named intermediates ("taps") of transformers' SegFormer, in the published checkpoints' spelling.

transformers 5 renamed its modules; the files on the hub did not change. One table below says, for
every tap, which module of transformers it comes from, whether it is that module's output or input,
and how its axes lie. The same table renames weights (`published_key`). Nothing is matched by
resemblance or by position.

Axes: B batch, H, W a stage's grid, h, w its reduced grid (keys and values), C channels,
N = H·W tokens. Every feature map leaves channels last, (B, H, W, C).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import SegformerConfig


class Part(Enum):
    """Which tensor of a module's call a tap takes."""

    OUTPUT = "output"
    INPUT = "input"
    PROBABILITIES = "second output"  # attention returns (context projected, probabilities)


class Layout(Enum):
    """How the tapped tensor's axes lie in transformers."""

    MAP = "(B, C, H, W)"
    TOKENS = "(B, H·W, C)"
    REDUCED_MAP = "(B, C, h, w)"
    REDUCED_TOKENS = "(B, h·w, C)"
    AS_IS = "kept: (B, heads, Nq, Nkv) or (B, C)"


@dataclass(frozen=True)
class Tap:
    """One row of the table: `name` as published, `module` as transformers 5 calls it."""

    name: str
    module: str
    layout: Layout
    part: Part = Part.OUTPUT
    stage: int | None = None

    def at(self, stage: int, block: int | None = None) -> "Tap":
        """The row for one stage (and block) of a template row."""
        return replace(
            self,
            name=self.name.format(i=stage, j=block),
            module=self.module.format(i=stage, j=block),
            stage=stage,
        )


_OLD, _NEW = "segformer.encoder.block.{i}.{j}", "segformer.stages.{i}.blocks.{j}"
_MAP, _TOKENS, _AS_IS = Layout.MAP, Layout.TOKENS, Layout.AS_IS
_REDUCED_MAP, _REDUCED = Layout.REDUCED_MAP, Layout.REDUCED_TOKENS

_PATCH_EMBEDDING = (
    Tap(
        "segformer.encoder.patch_embeddings.{i}.proj",
        "segformer.stages.{i}.patch_embeddings.proj",
        _MAP,
    ),
    Tap(
        "segformer.encoder.patch_embeddings.{i}.layer_norm",
        "segformer.stages.{i}.patch_embeddings.layer_norm",
        _TOKENS,
    ),
)
_SEQUENCE_REDUCTION = (
    Tap(
        f"{_OLD}.attention.self.sr",
        f"{_NEW}.attention.sequence_reduction.sequence_reduction",
        _REDUCED_MAP,
    ),
    Tap(
        f"{_OLD}.attention.self.layer_norm",
        f"{_NEW}.attention.sequence_reduction.layer_norm",
        _REDUCED,
    ),
)
_BEFORE_REDUCTION = (Tap(f"{_OLD}.layer_norm_1", f"{_NEW}.layernorm_before", _TOKENS),)
_AFTER_REDUCTION = (
    Tap(f"{_OLD}.attention.self.query", f"{_NEW}.attention.q_proj", _TOKENS),
    Tap(f"{_OLD}.attention.self.key", f"{_NEW}.attention.k_proj", _REDUCED),
    Tap(f"{_OLD}.attention.self.value", f"{_NEW}.attention.v_proj", _REDUCED),
    Tap(
        f"{_OLD}.attention.self.probabilities",
        f"{_NEW}.attention",
        _AS_IS,
        Part.PROBABILITIES,
    ),
    Tap(f"{_OLD}.attention.self.context", f"{_NEW}.attention.o_proj", _TOKENS, Part.INPUT),
    Tap(f"{_OLD}.attention.output.dense", f"{_NEW}.attention.o_proj", _TOKENS),
    Tap(f"{_OLD}.layer_norm_2", f"{_NEW}.layernorm_after", _TOKENS),
    Tap(f"{_OLD}.mlp.dense1", f"{_NEW}.mlp.fc1", _TOKENS),
    Tap(f"{_OLD}.mlp.dwconv.dwconv", f"{_NEW}.mlp.dwconv.dwconv", _MAP),
    Tap(f"{_OLD}.mlp.activation", f"{_NEW}.mlp.activation_fn", _TOKENS),
    Tap(f"{_OLD}.mlp.dense2", f"{_NEW}.mlp.fc2", _TOKENS),
    Tap(_OLD, _NEW, _TOKENS),
)
_STAGE_END = (Tap("segformer.encoder.layer_norm.{i}", "segformer.stages.{i}.layer_norm", _TOKENS),)
_LINEAR_C = Tap("decode_head.linear_c.{i}.proj", "decode_head.linear_projections.{i}.proj", _TOKENS)
_DECODE_HEAD = (
    Tap("decode_head.concatenated", "decode_head.linear_fuse", _MAP, Part.INPUT),
    Tap("decode_head.linear_fuse", "decode_head.linear_fuse", _MAP),
    Tap("decode_head.batch_norm", "decode_head.batch_norm", _MAP),
    Tap("decode_head.activation", "decode_head.activation", _MAP),
    Tap("decode_head.classifier", "decode_head.classifier", _MAP),
)
_CLASSIFIER = (
    Tap("classifier.pooled", "classifier", _AS_IS, Part.INPUT),
    Tap("classifier", "classifier", _AS_IS),
)


def tap_table(config: SegformerConfig, *, segmentation: bool = True) -> list[Tap]:
    """All taps of a model of this config, in forward order.

    Args:
        config: The model's config; depths and sequence-reduction ratios decide what exists.
        segmentation: True for the decode head, False for the image classifier.
    """
    taps: list[Tap] = []
    stages = range(config.num_encoder_blocks)
    for i in stages:
        taps += [tap.at(i) for tap in _PATCH_EMBEDDING]
        block = (
            *_BEFORE_REDUCTION,
            *(_SEQUENCE_REDUCTION if config.sr_ratios[i] > 1 else ()),
            *_AFTER_REDUCTION,
        )
        for j in range(config.depths[i]):
            taps += [tap.at(i, j) for tap in block]
        taps += [tap.at(i) for tap in _STAGE_END]
    if segmentation:
        return [*taps, *(_LINEAR_C.at(i) for i in stages), *_DECODE_HEAD]
    return [*taps, *_CLASSIFIER]


def tap_names(config: SegformerConfig, *, segmentation: bool = True) -> list[str]:
    """The names of all taps of a model of this config, in forward order."""
    return [tap.name for tap in tap_table(config, segmentation=segmentation)]


def published_keys(model: nn.Module) -> dict[str, str]:
    """Maps every state-dict key of a transformers 5 model to its key in the published files.

    Args:
        model: A `SegformerForSemanticSegmentation` or `SegformerForImageClassification`.

    Raises:
        KeyError: A module that the table does not know; transformers has renamed it.
    """
    modules = {tap.module: tap.name for tap in _table_of(model) if tap.part is Part.OUTPUT}
    keys = {}
    for key in model.state_dict():
        module, _, parameter = key.rpartition(".")
        if module not in modules:
            raise KeyError(f"No published name for {key!r}: torch_ref/taps.py lacks {module!r}.")
        keys[key] = f"{modules[module]}.{parameter}"
    return keys


@contextmanager
def record_taps(
    model: nn.Module, sink: Callable[[str, np.ndarray], None] | None = None
) -> Iterator[dict[str, np.ndarray]]:
    """Records every tap of the forward pass run inside the `with` block.

    The dictionary is filled when the block ends, in forward order. Names are complete or it is an
    error: a tap that was not reached means that transformers' modules have changed.

        with record_taps(model) as taps:
            model(pixel_values)
        taps["segformer.encoder.block.0.0.attention.self.query"]  # (B, H, W, C)

    Args:
        model: A transformers SegFormer for segmentation or classification, with an attention
            function that returns its probabilities (eager, or this package's float64 one).
        sink: Takes each tap as soon as it is computed, in the order of execution, instead of the
            dictionary, which then stays empty. The array may share the model's memory: it is to be
            read, not changed.
    """
    table = _table_of(model)
    recorded: dict[str, np.ndarray] = {}
    taps: dict[str, np.ndarray] = {}
    grids: dict[tuple[int | None, bool], tuple[int, int]] = {}
    reached: set[str] = set()

    def keep(tap: Tap, tensor: torch.Tensor) -> None:
        array = _channels_last(tap, tensor.detach(), grids)
        reached.add(tap.name)
        if sink is None:
            recorded[tap.name] = array
        else:
            sink(tap.name, array)

    handles = []
    for tap in table:
        module = model.get_submodule(tap.module)
        if tap.part is Part.INPUT:
            handles.append(module.register_forward_pre_hook(partial(_keep_input, keep, tap)))
        else:
            handles.append(module.register_forward_hook(partial(_keep_output, keep, tap)))
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()
    missing = [tap.name for tap in table if tap.name not in reached]
    if missing:
        raise RuntimeError(f"{len(missing)} taps were not reached, the first is {missing[0]!r}.")
    if sink is None:
        taps.update((tap.name, recorded.pop(tap.name)) for tap in table)


def _table_of(model: nn.Module) -> list[Tap]:
    return tap_table(model.config, segmentation=hasattr(model, "decode_head"))  # type: ignore[arg-type]


_Keep = Callable[[Tap, torch.Tensor], None]


def _keep_input(keep: _Keep, tap: Tap, module: nn.Module, args: Any) -> None:
    keep(tap, args[0])


def _keep_output(keep: _Keep, tap: Tap, module: nn.Module, args: Any, output: Any) -> None:
    tensor = output[1] if tap.part is Part.PROBABILITIES else output
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(
            f"Tap {tap.name!r}: {tap.module!r} returned {type(tensor).__name__}, not a tensor. "
            "Load the model with attn_implementation='eager'."
        )
    keep(tap, tensor)


def _channels_last(
    tap: Tap,
    tensor: torch.Tensor,
    grids: dict[tuple[int | None, bool], tuple[int, int]],
) -> np.ndarray:
    """Lays a tap out channels last.

    `grids` remembers (height, width) of each stage, reduced or not: maps write it, tokens read
    it. A stage without sequence reduction has no reduced map; its keys lie on the stage's own grid.
    """
    reduced = tap.layout in (Layout.REDUCED_MAP, Layout.REDUCED_TOKENS)
    if tap.layout in (Layout.MAP, Layout.REDUCED_MAP):
        tensor = tensor.permute(0, 2, 3, 1)  # (B, H, W, C)
        grids[tap.stage, reduced] = (tensor.shape[1], tensor.shape[2])
    elif tap.layout is not Layout.AS_IS:
        height, width = grids.get((tap.stage, reduced)) or grids[tap.stage, False]
        tensor = tensor.reshape(tensor.shape[0], height, width, tensor.shape[-1])  # (B, H, W, C)
    return np.ascontiguousarray(tensor.numpy())
