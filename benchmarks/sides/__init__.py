"""What is compared: each way of running the network, by the name that the tables show.

A side is made in a process of its own, by a function `make(work, shape, threads, **arguments)` that gives
a `Network`. `work` is a folder of `benchmarks.models`; `shape` is that of the pixel values, (N, 3, H, W).
Nothing here imports a peer: a library that is not installed makes a line of the table, not a failure.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import Memory, memory_of, quiet, with_onednn
from benchmarks.models import missing_export

ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Network:
    """A network that is ready to answer.

    Attributes:
        call: pixel values, as `prepare` gives them, to logits in this process's memory: what is timed.
        prepare: float32 (N, 3, H, W) to what `call` takes: a peer gets its own layout, outside the clock.
        finish: what `call` gives to an array, for `logits`.
    """

    call: Callable[[Any], Any]
    prepare: Callable[[np.ndarray], Any] = lambda values: values
    finish: Callable[[Any], np.ndarray] = np.asarray

    def logits(self, given: Any) -> np.ndarray:
        """Return float32 (N, classes, h, w)."""
        return np.array(self.finish(self.call(given)), np.float32)

    def seconds(self, given: Any) -> float:
        """Time one call."""
        start = time.perf_counter()
        self.call(given)
        return time.perf_counter() - start

    def memory(self, given: Any) -> Memory:
        """Measure the memory of one call."""
        return memory_of(lambda: self.call(given))


@dataclass(frozen=True)
class Side:
    """How a side is made, and what is said about it.

    Attributes:
        make: "module:function" within `benchmarks.sides`.
        arguments: further arguments of that function.
        library: what must be importable in this environment for it.
        distributions: whose versions stand in the table.
        precision: of the computation.
        comparable: whether the logits must be PyTorch's: the same weights, the same size.
        remark: said below the table.
        environment: variables of its process.
    """

    make: str
    library: str
    distributions: tuple[str, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"
    comparable: bool = True
    remark: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    def missing(self, work: Path) -> str | None:
        """Return why the side cannot take part here, or None."""
        if self.make == "ours:exported":
            return missing_export(work, self.arguments.get("export", "float32"))
        if self.library == "legacy":
            python = legacy_python()
            return None if python.exists() else f"not installed: no {name_of(python)}"
        return None if importlib.util.find_spec(self.library) else f"not installed: {self.library}"

    def versions(self) -> dict[str, str]:
        """Return the versions of its libraries that are installed here."""
        found = {}
        for name in self.distributions:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                continue
        return found

    def build(self, work: Path, shape: tuple[int, ...], threads: int) -> Network:
        """Make it, in this process."""
        # Before the libraries are loaded: their thread pools read it once.
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
        os.environ.setdefault("KERAS_BACKEND", "tensorflow")
        os.environ.update(self.environment)
        quiet()
        with_onednn()
        module, _, function = self.make.partition(":")
        make = getattr(importlib.import_module(f"benchmarks.sides.{module}"), function)
        network: Network = make(work, shape, threads, **self.arguments)
        return network


def legacy_python() -> Path:
    """Return the Python of `make legacy-environment`, or LEGACY_PYTHON."""
    return Path(os.environ.get("LEGACY_PYTHON") or ROOT / ".venvs" / "legacy" / "bin" / "python")


def name_of(path: Path) -> str:
    """Return a path as it may stand in a table: within the project, or its last part."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


OURS = "this project, exported"
OURS_BFLOAT16 = "this project, exported in bfloat16"
KERAS = "this project, Keras model"
EAGER = "PyTorch, eager"
# The export that a side of each precision is compared with.
REFERENCES = {"float32": OURS, "bfloat16": OURS_BFLOAT16}

_TENSORFLOW = ("tensorflow", "keras")
_TORCH = ("torch", "transformers")
_FOLDED = "given our fold of the decode head, which it does not do itself"
_UPSAMPLES = "gives logits at the image's size: it resizes them fourfold itself, which the others do not"

SIDES: dict[str, Side] = {
    OURS: Side("ours:exported", "tensorflow", ("tensorflow",)),
    OURS_BFLOAT16: Side(
        "ours:exported", "tensorflow", ("tensorflow",), {"export": "bfloat16"}, precision="bfloat16"
    ),
    "this project, exported, without oneDNN": Side(
        "ours:exported",
        "tensorflow",
        ("tensorflow",),
        remark="what TensorFlow does by itself on processors without AVX512_VNNI, AVX_VNNI and AMX",
        environment={"TF_ENABLE_ONEDNN_OPTS": "0"},
    ),
    KERAS: Side("ours:keras_model", "tensorflow", _TENSORFLOW),
    EAGER: Side("pytorch:pytorch", "torch", _TORCH),
    "PyTorch, compiled": Side("pytorch:pytorch", "torch", _TORCH, {"compiled": True}),
    "ONNX Runtime": Side("engines:onnx_runtime", "onnxruntime", ("onnxruntime", "onnx")),
    "ONNX Runtime, given our fold": Side(
        "engines:onnx_runtime", "onnxruntime", ("onnxruntime", "onnx"), {"folded": True}, remark=_FOLDED
    ),
    "OpenVINO": Side("engines:openvino", "openvino", ("openvino",)),
    "OpenVINO, given our fold": Side(
        "engines:openvino", "openvino", ("openvino",), {"folded": True}, remark=_FOLDED
    ),
    "OpenVINO, bfloat16": Side(
        "engines:openvino", "openvino", ("openvino",), {"precision": "bf16"}, precision="bfloat16"
    ),
    "OpenVINO, bfloat16, given our fold": Side(
        "engines:openvino",
        "openvino",
        ("openvino",),
        {"precision": "bf16", "folded": True},
        precision="bfloat16",
        remark=_FOLDED,
    ),
    "keras-hub": Side(
        "hub:segformer",
        "keras_hub",
        ("keras-hub", *_TENSORFLOW),
        comparable=False,
        remark=f"random weights at the published widths; {_UPSAMPLES}",
    ),
    "transformers' TensorFlow class": Side(
        "legacy:legacy_class",
        "legacy",
        (),
        remark="the last version that had it, in an environment of its own",
    ),
}

# Other architectures that people choose between: their speed alone, with random weights.
OTHERS: dict[str, Side] = {
    "DeepLabV3+, ResNet-101 (keras-hub)": Side(
        "hub:deeplab",
        "keras_hub",
        ("keras-hub", *_TENSORFLOW),
        comparable=False,
        remark="another architecture, random weights; gives logits at the image's size",
    ),
    "OneFormer, Swin-T (PyTorch)": Side(
        "pytorch:oneformer",
        "torch",
        _TORCH,
        comparable=False,
        remark="another architecture, random weights; gives masks and classes of 150 queries",
    ),
}

# What bounds a network, measured beside it.
ATTENTION_ALONE = "attention's products alone"
PRODUCTS: dict[str, Side] = {
    **{
        f"matrix product, {library}, {precision}": Side(
            f"products:{module}_product",
            module.replace("pytorch", "torch"),
            (module.replace("pytorch", "torch"),),
            {"precision": precision},
            precision=precision,
            comparable=False,
        )
        for library, module in (("TensorFlow", "tensorflow"), ("PyTorch", "pytorch"))
        for precision in REFERENCES
    },
    ATTENTION_ALONE: Side("products:attention_products", "tensorflow", ("tensorflow",), comparable=False),
}


def exports_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return which exports (`benchmarks.models.EXPORTS`) some sides need."""
    sides = [side(name) for name in names]
    return tuple(one.arguments.get("export", "float32") for one in sides if one.make == "ours:exported")


def side(name: str) -> Side:
    """Return a side by its name."""
    return {**SIDES, **OTHERS, **PRODUCTS}[name]
