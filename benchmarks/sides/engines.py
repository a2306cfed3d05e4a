"""OpenVINO and ONNX Runtime, each given transformers' PyTorch model the way its own guide says.

Both are converted for the size of the images, which is to their advantage: an export of this project takes
any size.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch

from benchmarks.sides import Network
from benchmarks.sides.pytorch import torch_model


def openvino_model(work: Path, shape: tuple[int, ...], *, folded: bool = False):
    """Return OpenVINO's own form of the model."""
    import openvino as ov

    example = torch.zeros(shape)
    with torch.inference_mode():
        model = ov.convert_model(torch_model(work, folded=folded), example_input=example)
    model.reshape(list(shape))
    return model


def openvino(
    work: Path, shape: tuple[int, ...], threads: int, *, folded: bool = False, precision: str = "f32"
) -> Network:
    """OpenVINO on its latency hint, without copies of the input and output."""
    import openvino as ov

    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = ov.Core().compile_model(openvino_model(work, shape, folded=folded), "CPU", hints)
    granted = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if granted != precision:
        raise RuntimeError(f"OpenVINO computes in {granted} on this processor, not in {precision}")
    return Network(lambda values: compiled(values, share_inputs=True, share_outputs=True)[0])


def onnx_file(work: Path, shape: tuple[int, ...], *, folded: bool = False) -> bytes:
    """Return the model as an ONNX file, LayerNorm and GELU as single operations."""
    file = io.BytesIO()
    with torch.inference_mode():
        torch.onnx.export(
            torch_model(work, folded=folded), (torch.zeros(shape),), file, dynamo=False, opset_version=20
        )
    return file.getvalue()


def onnx_runtime(work: Path, shape: tuple[int, ...], threads: int, *, folded: bool = False) -> Network:
    """ONNX Runtime with all its graph optimisations."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    file = onnx_file(work, shape, folded=folded)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(values: np.ndarray) -> np.ndarray:
        return session.run(None, {name: values})[0]

    return Network(run)
