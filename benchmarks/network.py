"""How fast is the network alone, pixel values to logits, beside what people run instead?

    python -m benchmarks.network --variants b0 b4 --json network.json

Each side runs in a process of its own, on the same number of threads, and they take turns. A ratio is the
median of the ratios of neighbouring runs. OpenVINO and ONNX Runtime take part where they are installed
(`pip install openvino onnxruntime onnx`), once as people convert the model and once given our fold of the
decode head, since the fold is algebra that any engine can use. The checkpoint is a seeded one, so that no
network is needed. The error is against PyTorch, over the largest logit.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.measuring import process, ratio
from parity.circumstances import library_versions, machine

Run = Callable[[np.ndarray], np.ndarray]  # float32 [N, 3, H, W] to logits [N, classes, h, w]
FIRST = "this project, exported"


def exported(work: Path, threads: int) -> Run:
    """The SavedModel's `logits` signature, in a TF1 Session as a server runs it."""
    import tensorflow as tf

    options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=threads, inter_op_parallelism_threads=1)
    graph = tf.Graph()
    with graph.as_default():
        session = tf.compat.v1.Session(graph=graph, config=options)
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(work / "export"))
    signature = loaded.signature_def["logits"]
    run = session.make_callable(signature.outputs["logits"].name, [signature.inputs["pixel_values"].name])
    return lambda values: np.moveaxis(run(np.ascontiguousarray(np.moveaxis(values, 1, -1))), -1, 1)


def keras_model(work: Path, threads: int) -> Run:
    """The Keras model in a `tf.function`."""
    import tensorflow as tf

    from tf_segformer import TFSegformerForSemanticSegmentation

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = TFSegformerForSemanticSegmentation.from_pretrained(work / "checkpoint")
    call = tf.function(lambda values: model(values).logits, autograph=False)
    return lambda values: call(tf.constant(values)).numpy()


def torch_model(work: Path, threads: int, *, folded: bool = False) -> Any:
    """Transformers' PyTorch model as a module of one input and one output."""
    import torch
    from transformers import SegformerForSemanticSegmentation

    torch.set_num_threads(threads)
    model = SegformerForSemanticSegmentation.from_pretrained(work / "checkpoint").eval()

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            if folded:
                self.fold = np.load(work / "fold.npz")
                self.kernels = [torch.tensor(self.fold[f"kernel_{i}"].T[:, :, None, None]) for i in range(4)]
                self.bias = torch.tensor(self.fold["bias"])

        def forward(self, values: Any) -> Any:
            if not folded:
                return self.model(values, return_dict=True).logits
            states = self.model.segformer(values, output_hidden_states=True, return_dict=True).hidden_states
            functional = torch.nn.functional
            x = functional.conv2d(states[0], self.kernels[0], self.bias)
            for state, kernel in zip(states[1:], self.kernels[1:], strict=True):
                x = x + functional.interpolate(
                    functional.conv2d(state, kernel), x.shape[2:], mode="bilinear", align_corners=False
                )
            return self.model.decode_head.classifier(functional.relu(x))

    return Logits().eval()


def pytorch(work: Path, threads: int, *, compiled: bool = False) -> Run:
    """PyTorch, eager or compiled."""
    import torch

    model = torch_model(work, threads)
    if compiled:
        model = torch.compile(model)

    @torch.inference_mode()
    def run(values: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(values)).numpy()

    return run


def openvino(work: Path, threads: int, *, folded: bool = False) -> Run:
    """OpenVINO on its latency hint, converted for the size of the images, in float32."""
    import openvino as ov
    import torch

    example = torch.zeros(tuple(json.loads((work / "shape.json").read_text())))
    with torch.inference_mode():
        model = ov.convert_model(torch_model(work, threads, folded=folded), example_input=example)
    model.reshape(list(example.shape))
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
    }
    compiled = ov.Core().compile_model(model, "CPU", hints)
    return lambda values: compiled(values)[0]


def onnx_runtime(work: Path, threads: int, *, folded: bool = False) -> Run:
    """ONNX Runtime with all its graph optimisations, for the size of the images."""
    import onnxruntime
    import torch

    example = torch.zeros(tuple(json.loads((work / "shape.json").read_text())))
    file = io.BytesIO()
    with torch.inference_mode():
        torch.onnx.export(torch_model(work, threads, folded=folded), (example,), file, dynamo=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: session.run(None, {name: values})[0]


# By name: what makes the side, with its arguments, and the library it needs.
SIDES: dict[str, tuple[Callable[..., Run], dict[str, bool], str]] = {
    FIRST: (exported, {}, "tensorflow"),
    "this project, Keras model": (keras_model, {}, "tensorflow"),
    "PyTorch, eager": (pytorch, {}, "torch"),
    "PyTorch, compiled": (pytorch, {"compiled": True}, "torch"),
    "OpenVINO": (openvino, {}, "openvino"),
    "OpenVINO, given our fold": (openvino, {"folded": True}, "openvino"),
    "ONNX Runtime": (onnx_runtime, {}, "onnxruntime"),
    "ONNX Runtime, given our fold": (onnx_runtime, {"folded": True}, "onnxruntime"),
}


def write_models(work: Path, variant: str, shape: list[int], connection: Any) -> None:
    """Write the checkpoint, its fold and its export; runs in a process of its own."""
    from serving.export import export_saved_model
    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.folding import fold_projections
    from torch_ref.seeded import write_seeded_checkpoint

    write_seeded_checkpoint(work / "checkpoint", variant)
    (work / "shape.json").write_text(json.dumps(shape))
    model = TFSegformerForSemanticSegmentation.from_pretrained(work / "checkpoint")
    kernels, bias = fold_projections(model.decode_head)
    arrays = {f"kernel_{i}": kernel.astype(np.float32) for i, kernel in enumerate(kernels)}
    np.savez(work / "fold.npz", bias=bias.astype(np.float32), **arrays)
    export_saved_model(work / "checkpoint", work / "models", 1, batch_sizes=[1])
    (work / "export").symlink_to(work / "models/1")
    connection.send(None)


def serve(side: str, work: Path, threads: int, connection: Any) -> None:
    """Time the side each time the parent asks, until it sends None; runs in a process of its own."""
    make, arguments, _ = SIDES[side]
    os.environ["OMP_NUM_THREADS"] = str(threads)
    run = make(work, threads, **arguments)
    shape = tuple(json.loads((work / "shape.json").read_text()))
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    connection.send(run(values))
    while connection.recv():
        start = time.perf_counter()
        run(values)
        connection.send(time.perf_counter() - start)


def compare(work: Path, threads: int, repeats: int) -> list[dict[str, Any]]:
    """Time all sides that are installed, in turns."""
    names = [name for name, (_, _, library) in SIDES.items() if importlib.util.find_spec(library)]
    times: dict[str, list[float]] = {name: [] for name in names}
    logits: dict[str, np.ndarray] = {}
    with ExitStack() as stack:
        sides = {}
        for name in names:
            print(f"{name} …", file=sys.stderr, flush=True)
            sides[name] = stack.enter_context(process(serve, name, work, threads))
            logits[name] = sides[name].recv()
        for repeat in range(repeats + 1):
            print(f"repetition {repeat} of {repeats} …", file=sys.stderr, flush=True)
            for name, connection in sides.items():
                connection.send(True)
                taken = connection.recv()
                if repeat:  # the first only warms up
                    times[name].append(taken)
        for connection in sides.values():
            connection.send(False)
    reference = logits["PyTorch, eager"]
    rows = []
    for name in names:
        rows.append(
            {
                "side": name,
                "seconds": times[name],
                "median": statistics.median(times[name]),
                "ratio": ratio(times[name], times[FIRST]),
                "error": float(np.abs(logits[name] - reference).max() / np.abs(reference).max()),
            }
        )
    return rows


def table(variant: str, shape: list[int], rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [f"**{variant.upper()}**, {' × '.join(map(str, shape))}", ""]
    lines += ["| | median | times ours (quartiles) | error ÷ scale |", "|---|---:|---:|---:|"]
    for row in rows:
        lines.append(f"| {row['side']} | {row['median']:.3f} s | {row['ratio']} | {row['error']:.1e} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Run the comparison and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--variants", nargs="+", default=["b0", "b4"])
    parser.add_argument("--size", type=int, default=512, help="height and width of the images")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="where to write all measurements")
    arguments = parser.parse_args()
    shape = [arguments.batch, 3, arguments.size, arguments.size]
    results = {}
    for variant in arguments.variants:
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            work = Path(folder)
            with process(write_models, work, variant, shape) as connection:
                connection.recv()
            results[variant] = compare(work, arguments.threads, arguments.repeats)
        print(table(variant, shape, results[variant]), flush=True)
    if arguments.json:
        content = {"machine": machine(), "versions": library_versions(), "results": results}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
