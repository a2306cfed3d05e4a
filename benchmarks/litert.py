"""Does the network convert to LiteRT (TensorFlow Lite), does it agree there, and how fast and large is it?

    python -m torch_ref write-checkpoint /tmp/b0 --variant b0
    python -m benchmarks.litert convert /tmp/b0 /tmp/b0-litert
    python benchmarks/litert.py check /tmp/b0-litert

`convert` tries the network, float pixel values [1, H, W, 3] to logits, in several ways, and writes the
files that come out with one photograph's pixel values and Keras' logits for them. `check` runs the files
in LiteRT's own runtime (`pip install ai-edge-litert`; the project is not needed there), or in TensorFlow's
where that is not installed, and compares. Times are medians of calls that took turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

PHOTOGRAPH = Path(__file__).parent.parent / "tests/fixtures/photos/china.jpg"


def convert(checkpoint: Path, output: Path, size: int) -> list[dict[str, Any]]:
    """Convert the network in every way; write the files, and return what came of each."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from tf_segformer import TFSegformerForSemanticSegmentation
    from tf_segformer.numerics import ACTIVATIONS
    from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

    model = TFSegformerForSemanticSegmentation.from_pretrained(checkpoint, data_format="channels_last")
    processing = ImageProcessing(height=size, width=size)
    pixel_values = preprocess(decode_image(PHOTOGRAPH.read_bytes()), processing)[tf.newaxis]
    spec = tf.TensorSpec(pixel_values.shape, tf.float32, name="pixel_values")

    def trace() -> Any:
        call = tf.function(lambda x: {"logits": model(x).logits}, input_signature=[spec], autograph=False)
        return call.get_concrete_function()

    # Given the Keras model, the converter leaves the weights out and the file answers NaN.
    weights = tf.Module()
    weights.variables_by_path = {weight.path: weight.value for weight in model.weights}
    network = trace()
    # erfc has no LiteRT operation; GELU has one, which the converter knows in this spelling alone.
    with patch.dict(ACTIVATIONS, {"gelu": lambda x: tf.nn.gelu(x, approximate=False)}):
        with_erf = trace()
    builtin, select = tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS
    ways: dict[str, tuple[Any, list[Any], bool]] = {
        "builtin": (network, [builtin], False),
        "select-tf-ops": (network, [builtin, select], False),
        "gelu": (with_erf, [builtin], False),
        "gelu-float16": (with_erf, [builtin], True),
    }
    output.mkdir(parents=True, exist_ok=True)
    np.savez(output / "expected.npz", x=pixel_values, logits=network(pixel_values)["logits"])
    rows = []
    for name, (function, operations, float16) in ways.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function], weights)
        converter.target_spec.supported_ops = operations
        if float16:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        start = time.perf_counter()
        try:
            content = converter.convert()
        except Exception as error:  # the converter's own type has no public name
            missing = sorted(set(re.findall(r"'tf\.(\w+)' op is neither", str(error))))
            rows.append({"way": name, "file": None, "missing_operations": missing or str(error)[:500]})
            continue
        seconds = time.perf_counter() - start
        (output / f"{name}.tflite").write_bytes(content)
        rows.append({"way": name, "megabytes": len(content) / 1e6, "conversion_seconds": seconds})
    return rows


def check(output: Path, threads: int, repeats: int, checkpoint: Path | None) -> list[dict[str, Any]]:
    """Run the files of `convert`; return agreement with Keras and time of each."""
    with np.load(output / "expected.npz") as file:
        pixel_values, expected = file["x"], file["logits"]
    rows, calls = [], {}
    for path in sorted(output.glob("*.tflite")):
        row: dict[str, Any] = {"way": path.stem, "megabytes": path.stat().st_size / 1e6}
        rows.append(row)
        try:
            call = calls[path.stem] = runner(path, threads)
            logits = call(pixel_values)
        except Exception as error:  # such as an operation that this runtime lacks
            calls.pop(path.stem, None)
            row["error"] = str(error)[:300]
            continue
        scale = np.abs(expected).max()
        row["max_error_of_scale"] = float(np.abs(logits - expected).max() / scale)
        row["argmax_agreement"] = float((logits.argmax(-1) == expected.argmax(-1)).mean())
    if checkpoint:
        calls["tensorflow"] = tensorflow(checkpoint, pixel_values.shape, threads)
        calls["tensorflow"](pixel_values)  # the first call is slower
        rows.append({"way": "tensorflow"})
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call(pixel_values)
            times[name].append(time.perf_counter() - start)
    for row in rows:
        if row["way"] in times:
            row["seconds"] = statistics.median(times[row["way"]])
    return rows


def runner(path: Path, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Load a .tflite file; return its network as a function."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter  # noqa: N806
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def call(pixel_values: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given["index"], pixel_values)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return call


def tensorflow(checkpoint: Path, shape: tuple[int, ...], threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """Load the same network in TensorFlow, as a graph function, for comparison."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from tf_segformer import TFSegformerForSemanticSegmentation

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    model = TFSegformerForSemanticSegmentation.from_pretrained(checkpoint, data_format="channels_last")
    spec = tf.TensorSpec(shape, tf.float32)
    network = tf.function(lambda x: model(x).logits, input_signature=[spec], autograph=False)
    return lambda pixel_values: network(tf.constant(pixel_values)).numpy()


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [f"| {' | '.join(name.replace('_', ' ') for name in columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [row.get(name, "") for name in columns]
        texts = [f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in cells]
        lines.append(f"| {' | '.join(texts)} |".replace("\n", " "))
    return "\n".join(lines)


def main() -> None:
    """Run one of the two commands and print its table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="also write the result here")
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("convert", help="needs this project")
    command.add_argument("checkpoint", type=Path)
    command.add_argument("output", type=Path)
    command.add_argument("--size", type=int, default=512, help="height and width in pixels (default 512)")
    command = commands.add_parser("check", help="needs only numpy and ai-edge-litert, or TensorFlow")
    command.add_argument("output", type=Path)
    command.add_argument("--checkpoint", type=Path, help="run TensorFlow in turns with it, too")
    command.add_argument("--threads", type=int, default=2)
    command.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.command == "convert":
        rows = convert(arguments.checkpoint, arguments.output, arguments.size)
    else:
        rows = check(arguments.output, arguments.threads, arguments.repeats, arguments.checkpoint)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
