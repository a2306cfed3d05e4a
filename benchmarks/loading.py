"""How long does it take to load a saved model and to answer the first request, and how large is it on disk?

This project's exports, the legacy TensorFlow class saved by a hand-written `tf.saved_model.save`, PyTorch's
checkpoint, ONNX and OpenVINO files. SavedModels are loaded as a server does ("server": a Session) and as a
Python program does ("Python": `tf.saved_model.load`), all with the same TensorFlow. Each loading is in a
fresh process, which has imported its library before the clock starts, from files that have just been read,
and so are in the page cache. The sides take turns. Part of `python -m benchmarks`.
"""

from __future__ import annotations

import os
import statistics
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measuring import process, summary
from benchmarks.models import EXPORTS, missing_export, prepare
from benchmarks.sides import OURS
from benchmarks.turns import SideError, answer_of, describe, say

Options = dict[str, Any]
Call = Callable[[np.ndarray], Any]
DEFAULTS: Options = {
    "variant": "b4",
    "size": 512,
    "threads": 2,
    "repeats": 5,
    "exports": list(EXPORTS),
    "peers": True,
}
LEGACY = "transformers' TensorFlow class, tf.saved_model.save"
SERVER, PYTHON = ", server", ", Python"


def session(folder: Path, threads: int) -> Call:
    """Load a SavedModel as a server does."""
    from benchmarks.sides.ours import session_of

    session, signatures = session_of(folder, threads)
    signature = signatures.get("logits") or signatures["serving_default"]
    run = session.make_callable(signature.outputs["logits"].name, [signature.inputs["pixel_values"].name])
    return lambda values: run(values)


def python(folder: Path, threads: int) -> Call:
    """Load a SavedModel as a Python program does."""
    import tensorflow as tf

    signatures = tf.saved_model.load(str(folder)).signatures
    signature = signatures["logits" if "logits" in signatures else "serving_default"]
    return lambda values: signature(pixel_values=tf.constant(values))["logits"].numpy()


def torch_checkpoint(folder: Path, threads: int) -> Call:
    """Load transformers' PyTorch model."""
    import torch

    from benchmarks.sides.pytorch import torch_model

    model = torch_model(folder.parent)
    return lambda values: model(torch.from_numpy(values))


def onnx(file: Path, threads: int) -> Call:
    """Load an ONNX file in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    return lambda values: session.run(None, {session.get_inputs()[0].name: values})


def openvino(file: Path, threads: int) -> Call:
    """Read and compile OpenVINO's own file."""
    import openvino as ov

    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = ov.Core().compile_model(str(file), "CPU", {**hints, "INFERENCE_PRECISION_HINT": "f32"})
    return lambda values: compiled(values)[0]


def import_library(loader: str, threads: int) -> None:
    """Import what a loader needs, so that its import is not timed."""
    if loader in ("session", "python"):
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
    elif loader == "torch_checkpoint":
        import torch
        import transformers  # noqa: F401

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        import benchmarks.sides.pytorch  # noqa: F401
    elif loader == "onnx":
        import onnxruntime  # noqa: F401
    else:
        import openvino  # noqa: F401


LOADERS: dict[str, Callable[[Path, int], Call]] = {
    "session": session,
    "python": python,
    "torch_checkpoint": torch_checkpoint,
    "onnx": onnx,
    "openvino": openvino,
}


def load(loader: str, path: Path, shape: tuple[int, ...], threads: int, connection: Any) -> None:
    """Send the seconds of loading, of the first answer and of the fourth; runs in a process of its own."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        import_library(loader, threads)
        values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        start = time.perf_counter()
        call = LOADERS[loader](path, threads)
        marks = [time.perf_counter()]
        for _ in range(4):
            call(values)
            marks.append(time.perf_counter())
        connection.send(("done", (marks[0] - start, marks[1] - marks[0], marks[4] - marks[3])))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def write_files(work: Path, shape: tuple[int, ...], kind: str, connection: Any) -> None:
    """Write the file of one kind, unless it is there; runs in a process of its own."""
    files = work / "files"
    files.mkdir(exist_ok=True)
    try:
        path = files / {"onnx": "model.onnx", "openvino": "openvino.xml", "legacy": "legacy"}[kind]
        if not path.exists():
            WRITERS[kind](work, shape, path)
        connection.send(("done", None))
    except Exception as error:
        traceback.print_exc()
        connection.send(("failed", describe(error)))


def write_onnx(work: Path, shape: tuple[int, ...], path: Path) -> None:
    """Write the ONNX file."""
    from benchmarks.sides.engines import onnx_file

    path.write_bytes(onnx_file(work, shape))


def write_openvino(work: Path, shape: tuple[int, ...], path: Path) -> None:
    """Write OpenVINO's file with float32 weights; by itself it would round them to float16."""
    import openvino as ov

    from benchmarks.sides.engines import openvino_model

    ov.save_model(openvino_model(work, shape), path, compress_to_fp16=False)


def write_legacy(work: Path, shape: tuple[int, ...], path: Path) -> None:
    """Have the legacy class saved in its own environment."""
    from benchmarks.sides.legacy import LegacyProcess

    legacy = LegacyProcess(work / "legacy", 1)
    unfinished = path.with_name("unfinished")
    legacy.ask("save", path=str(unfinished))
    unfinished.rename(path)
    legacy.process.kill()


WRITERS = {"onnx": write_onnx, "openvino": write_openvino, "legacy": write_legacy}


def entries(
    work: Path, shape: tuple[int, ...], exports: Sequence[str], peers: bool
) -> tuple[dict[str, tuple[str, Path, bool]], dict[str, str]]:
    """Return what there is to load, by name: loader, path, channels last; and the problems of the rest."""
    found: dict[str, tuple[str, Path, bool]] = {}
    problems: dict[str, str] = {}
    for export in exports:
        name = OURS if export == "float32" else f"{OURS} in {export}"
        if problem := missing_export(work, export):
            problems[name] = problem
            continue
        folder = work / "exports" / export / "1"
        found[name + SERVER], found[name + PYTHON] = ("session", folder, True), ("python", folder, True)
    if not peers:
        return found, problems
    found["PyTorch, from_pretrained"] = ("torch_checkpoint", work / "checkpoint", False)
    for kind, name in {"legacy": LEGACY, "onnx": "ONNX Runtime", "openvino": "OpenVINO"}.items():
        say(f"{name}: writing its file …")
        with process(write_files, work, shape, kind) as connection:
            try:
                answer_of(connection)
            except SideError as error:
                problems[name] = str(error)
                continue
        if kind == "legacy":
            folder = work / "files" / "legacy"
            found[name + SERVER], found[name + PYTHON] = ("session", folder, False), ("python", folder, False)
        else:
            file = work / "files" / ("model.onnx" if kind == "onnx" else "openvino.xml")
            found[name] = (kind, file, False)
    return found, problems


def size_on_disk(path: Path) -> int:
    """Return the bytes of a folder, or of a file and its weights beside it."""
    if path.is_dir():
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if weights.exists() else 0)


def measure(options: Options, models: Path) -> dict[str, Any]:
    """Load everything in turns.

    Returns:
        "options", "problems" by name, and "rows" by name: "bytes", and "load", "first", "warm" in seconds, a
        number a repetition.
    """
    options = {**DEFAULTS, **options}
    work = prepare(models, options["variant"], exports=tuple(options["exports"]))
    batch = (1, 3, options["size"], options["size"])
    found, problems = entries(work, batch, options["exports"], options["peers"])
    rows: dict[str, Any] = {
        name: {"bytes": size_on_disk(path), "load": [], "first": [], "warm": []}
        for name, (_, path, _) in found.items()
    }
    for repeat in range(options["repeats"] + 1):
        say(f"round {repeat} of {options['repeats']} …")
        for name, (loader, path, last) in found.items():
            if name in problems:
                continue
            shape = (batch[0], *batch[2:], batch[1]) if last else batch
            with process(load, loader, path, shape, options["threads"]) as connection:
                try:
                    taken = answer_of(connection)
                except SideError as error:
                    problems[name] = str(error)
                    continue
            if repeat:  # the first fills the page cache
                for key, seconds in zip(("load", "first", "warm"), taken, strict=True):
                    rows[name][key].append(seconds)
    rows = {name: row for name, row in rows.items() if name not in problems}
    return {"options": options, "rows": rows, "problems": problems}


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    options, rows = result["options"], result["rows"]
    lines = [f"**{options['variant'].upper()}**, {options['size']} × {options['size']}", ""]
    lines += ["| | on disk | load | first answer | both, times ours | fourth answer |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for name, row in rows.items():
        base = rows.get(OURS + (PYTHON if name.endswith(PYTHON) else SERVER))
        both = [a + b for a, b in zip(row["load"], row["first"], strict=True)]
        ratio = ""
        if base and len(base["load"]) == len(both):
            ours = [a + b for a, b in zip(base["load"], base["first"], strict=True)]
            ratio = str(summary([a / b for a, b in zip(both, ours, strict=True)]))
        load_, first, warm = (f"{statistics.median(row[key]):.2f} s" for key in ("load", "first", "warm"))
        lines.append(f"| {name} | {row['bytes'] / 1e6:.1f} MB | {load_} | {first} | {ratio} | {warm} |")
    lines += [f"| {name} | {problem} | | | | |" for name, problem in result["problems"].items()]
    return "\n".join(lines)
