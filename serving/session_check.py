"""Load an exported version the way TensorFlow Serving does, and run it. Needs only TensorFlow.

    python serving/session_check.py models/NAME/1 --image photo.jpg --outputs answers.npz

This file is self-contained: copy it to any machine with Python and TensorFlow 2.18 or newer. It
opens the SavedModel in a TF1 Session with the tag ``serve`` (the server's own path: no eager mode, no
Python behind the graph), checks what the server demands of a model, runs the signatures asked for
and writes the answers. Exit code: 0 all right, 1 the model broke a rule or failed, 2 wrong usage.

Strings in ``.npz`` files: NumPy's own string type drops trailing zero bytes, and pickles are not safe
to load, so the string tensor ``x`` is stored as two arrays, ``x.bytes`` (uint8, all strings joined)
and ``x.lengths`` (int64, one length a string, in the tensor's shape).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Ops that call back into a Python interpreter, which a server does not have.
PYTHON_OPS = ("PyFunc", "PyFuncStateless", "EagerPyFunc")
# Ops and attributes of functions that must be compiled by XLA, which a server has switched off.
XLA_OPS = ("XlaLaunch", "XlaLaunchV2", "_XlaCompile", "_XlaRun")
XLA_ATTRIBUTES = ("_XlaMustCompile", "jit_compile")
# What TensorFlow Serving's REST interface can carry.
REST_DTYPES = {
    *("float32", "float64", "bool", "string"),
    *("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"),
}
# Outputs that are means over the pixels of a label map.
STATISTICS = ("class_share", "class_confidence")
CONFIDENCE_PICTURE = "confidence_png_bytes"
LEVEL = 257  # one of 8 bits, decoded as 16
INIT_OP_SIGNATURE = "__saved_model_init_op"


class CheckError(RuntimeError):
    """The exported version cannot be loaded or run."""


def pack(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Turn named tensors, strings among them, into arrays that ``np.savez`` stores exactly."""
    packed: dict[str, np.ndarray] = {}
    for name, value in arrays.items():
        array = np.asarray(value)
        if array.dtype.kind in "OSU":
            items = np.asarray(value, object).ravel()
            flat = [item.encode() if isinstance(item, str) else item for item in items]
            packed[f"{name}.bytes"] = np.frombuffer(b"".join(flat), np.uint8)
            lengths = np.array([len(item) for item in flat], np.int64)
            packed[f"{name}.lengths"] = lengths.reshape(array.shape)
        else:
            packed[name] = array
    return packed


def unpack(arrays: Any) -> dict[str, np.ndarray]:
    """Undo ``pack``; strings come back as object arrays of bytes."""
    unpacked: dict[str, np.ndarray] = {}
    for name in arrays:
        if name.endswith(".lengths"):
            tensor = name[: -len(".lengths")]
            joined, lengths = arrays[f"{tensor}.bytes"].tobytes(), arrays[name]
            ends = np.cumsum(lengths.ravel())
            bounds = np.stack([ends - lengths.ravel(), ends], axis=1).tolist()
            strings = [joined[start:end] for start, end in bounds]
            unpacked[tensor] = _object_array(strings).reshape(lengths.shape)
        elif not name.endswith(".bytes"):
            unpacked[name] = arrays[name]
    return unpacked


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write named tensors, strings among them, to an ``.npz`` file."""
    np.savez(path, **pack(arrays))  # type: ignore[arg-type]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read what ``write_npz`` wrote; a file with pickles in it is refused."""
    with np.load(path, allow_pickle=False) as file:
        return unpack(file)


def _object_array(items: list[bytes]) -> np.ndarray:
    array = np.empty(len(items), object)
    array[:] = items
    return array


class ServedModel:
    """One exported version in a TF1 Session. Use as a context manager.

    Args:
        version_dir: folder that holds ``saved_model.pb`` and ``variables/``.
        threads: intra-op and inter-op threads, 0 for one a core.

    Raises:
        CheckError: TensorFlow cannot load the folder.
    """

    def __init__(self, version_dir: Path, threads: int = 0) -> None:
        import tensorflow as tf

        self.path = Path(version_dir)
        if not (self.path / "saved_model.pb").is_file():
            raise CheckError(f"{self.path}: no saved_model.pb; give models/NAME/VERSION.")
        config = tf.compat.v1.ConfigProto(
            intra_op_parallelism_threads=threads, inter_op_parallelism_threads=threads
        )
        self._graph = tf.Graph()
        self.session = tf.compat.v1.Session(graph=self._graph, config=config)
        start = time.perf_counter()
        try:
            with self._graph.as_default():
                self.meta_graph = tf.compat.v1.saved_model.load(self.session, ["serve"], str(self.path))
        except Exception as error:
            self.session.close()
            message = f"{self.path}: TensorFlow {tf.__version__} cannot load it: {error}"
            raise CheckError(message) from error
        self.load_seconds = time.perf_counter() - start
        self.signatures = {
            name: signature
            for name, signature in self.meta_graph.signature_def.items()
            if name != INIT_OP_SIGNATURE
        }

    def __enter__(self) -> ServedModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        """Run one signature on named tensors with a leading batch dimension."""
        import tensorflow as tf

        if signature not in self.signatures:
            names = ", ".join(sorted(self.signatures))
            raise CheckError(f"{self.path}: no signature {signature!r}; it has {names}.")
        definition = self.signatures[signature]
        if set(inputs) != set(definition.inputs):
            expected = ", ".join(sorted(definition.inputs))
            raise CheckError(f"{signature} takes {expected}; got {', '.join(sorted(inputs))}.")
        feeds = {definition.inputs[name].name: value for name, value in inputs.items()}
        fetches = {name: info.name for name, info in definition.outputs.items()}
        try:
            return self.session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise CheckError(f"{self.path}: signature {signature} failed: {error}") from error

    def describe(self) -> dict[str, Any]:
        """Return what the graph is: versions, signatures, op counts, and every broken rule."""
        import tensorflow as tf

        signatures = {
            name: {
                "inputs": {key: _describe(info) for key, info in signature.inputs.items()},
                "outputs": {key: _describe(info) for key, info in signature.outputs.items()},
            }
            for name, signature in sorted(self.signatures.items())
        }
        graph = self.meta_graph.graph_def
        size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        return {
            "path": str(self.path),
            "bytes": size,
            "load_seconds": round(self.load_seconds, 3),
            "tensorflow": tf.__version__,
            "written_by_tensorflow": self.meta_graph.meta_info_def.tensorflow_version,
            "producer": graph.versions.producer,
            "min_consumer": graph.versions.min_consumer,
            "nodes": len(graph.node) + sum(len(f.node_def) for f in graph.library.function),
            "functions": len(graph.library.function),
            "signatures": signatures,
            "broken_rules": [*forbidden_ops(graph), *broken_signature_rules(signatures)],
        }


def forbidden_ops(graph_def: Any) -> list[str]:
    """List the nodes and functions of a GraphDef that a server cannot run."""
    bodies = {"the main graph": graph_def.node}
    bodies.update({f.signature.name: f.node_def for f in graph_def.library.function})
    found = []
    for body, nodes in bodies.items():
        for node in nodes:
            if node.op in PYTHON_OPS:
                found.append(f"{node.name} in {body} calls Python ({node.op})")
            if node.op in XLA_OPS or any(node.attr[name].b for name in _xla(node.attr)):
                found.append(f"{node.name} in {body} must be compiled by XLA ({node.op})")
    for function in graph_def.library.function:
        if any(function.attr[name].b for name in _xla(function.attr)):
            found.append(f"function {function.signature.name} must be compiled by XLA")
    return found


def _xla(attributes: Any) -> list[str]:
    return [name for name in XLA_ATTRIBUTES if name in attributes]


def broken_signature_rules(signatures: dict[str, Any]) -> list[str]:
    """List where described signatures break a rule of batching or of the REST interface."""
    broken = []
    for signature, sides in signatures.items():
        for side in ("inputs", "outputs"):
            for name, tensor in sides[side].items():
                where = f"{signature}: {side[:-1]} {name}"
                if not tensor["shape"] or tensor["shape"][0] != -1:
                    broken.append(f"{where} has no free batch dimension: {tensor['shape']}")
                if tensor["dtype"] not in REST_DTYPES:
                    broken.append(f"{where} is {tensor['dtype']}, which REST cannot carry")
                text = tensor["dtype"] == "string" and side == "outputs"
                if text and not name.endswith("_bytes"):
                    broken.append(f"{where} is a string whose name does not end in _bytes")
    return broken


def _describe(info: Any) -> dict[str, Any]:
    import tensorflow as tf

    unknown = info.tensor_shape.unknown_rank
    shape = None if unknown else [dim.size for dim in info.tensor_shape.dim]
    return {"dtype": tf.as_dtype(info.dtype).name, "shape": shape}


def compare(
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    tolerance: float,
    ties: float,
    levels: int = 0,
) -> tuple[list[str], dict[str, Any]]:
    """Compare named arrays; return the differences beyond what is allowed, and what was measured.

    Floats may differ by ``tolerance`` times the largest expected value. Integers, and the pixels of
    PNG images, may differ in a share of ``ties`` of the values: where two classes are equal but for
    the last bit, another order of summation may turn the winner round. So may the statistics of such
    pixels: a class's share, and its confidence weighted by that share. Of a confidence picture, whose
    8-bit levels are rounded floats, a pixel counts as different only beyond ``levels`` levels.
    """
    differences, measured = [], {}
    for name in sorted(set(found) | set(expected)):
        if name not in found or name not in expected:
            differences.append(f"{name}: only in the {'answer' if name in found else 'expected'}")
            continue
        ours, theirs = found[name], expected[name]
        if ours.dtype == object and not np.array_equal(ours, theirs):
            ours, theirs = _pixels(ours), _pixels(theirs)
        if ours.shape != theirs.shape:
            differences.append(f"{name}: {ours.shape}, expected {theirs.shape}")
        elif ours.dtype.kind == "f":
            statistic = name.endswith(STATISTICS)
            if name.endswith("class_confidence"):
                share = name.replace("class_confidence", "class_share")
                ours, theirs = ours * found[share], theirs * expected[share]
            error = float(np.abs(ours - theirs).max(initial=0.0))
            allowed = ties if statistic else tolerance * float(np.abs(theirs).max(initial=0.0))
            measured[name] = {"max_error": error, "allowed": allowed}
            if not error <= allowed:  # a NaN fails, too
                differences.append(f"{name}: off by {error:.3g}, allowed {allowed:.3g}")
        else:
            different = ours != theirs
            if name.endswith(CONFIDENCE_PICTURE) and ours.dtype != object:
                different = np.abs(ours.astype(np.int64) - theirs) > levels * LEVEL
            count = int(different.sum())
            measured[name] = {"values": int(ours.size), "different": count}
            if count > ties * ours.size:
                differences.append(f"{name}: {count} of {ours.size} values differ")
    return differences, measured


def _pixels(strings: np.ndarray) -> np.ndarray:
    """Return all pixels of a tensor of PNG images, flattened; other strings as their bytes."""
    import tensorflow as tf

    parts = []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        data = tf.compat.v1.placeholder(tf.string, [])
        png = tf.io.decode_png(data, dtype=tf.uint16)  # 8-bit images scale, so equal stays equal
        for item in strings.ravel():
            is_png = item.startswith(b"\x89PNG")
            pixels = session.run(png, {data: item}) if is_png else np.frombuffer(item, np.uint8)
            parts.append(np.append(np.array(pixels.shape, np.int64), pixels.ravel()))
    return np.concatenate(parts)


def _group(arrays: dict[str, np.ndarray], signatures: list[str]) -> dict[str, dict[str, Any]]:
    """Sort ``signature/tensor`` keys by signature."""
    groups: dict[str, dict[str, Any]] = {}
    for key, value in arrays.items():
        signature, slash, tensor = key.partition("/")
        if not slash or signature not in signatures:
            known = ", ".join(signatures)
            raise CheckError(f"key {key!r}: expected SIGNATURE/TENSOR with one of {known}.")
        groups.setdefault(signature, {})[tensor] = value
    return groups


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Load an exported version in a TF1 Session, check it and run it."
    )
    parser.add_argument("version_dir", type=Path, help="models/NAME/VERSION")
    parser.add_argument(
        "--signature",
        action="append",
        metavar="NAME",
        help="run this one; may be repeated (default: all there are inputs for)",
    )
    parser.add_argument(
        "--image",
        action="append",
        type=Path,
        metavar="FILE",
        help="one more image of the batch for every signature that takes image_bytes",
    )
    parser.add_argument(
        "--inputs", type=Path, metavar="NPZ", help="tensors named SIGNATURE/INPUT (see the top)"
    )
    parser.add_argument(
        "--outputs", type=Path, metavar="NPZ", help="write the answers, named SIGNATURE/OUTPUT"
    )
    parser.add_argument("--expect", type=Path, metavar="NPZ", help="compare the answers with those of a file")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=2e-6,
        help="with --expect: allowed error of floats, as a share of the largest value",
    )
    parser.add_argument(
        "--ties",
        type=float,
        default=1e-3,
        help="with --expect: share of labels and pixels that may differ",
    )
    parser.add_argument(
        "--levels",
        type=int,
        default=0,
        help="with --expect: by how many of its 255 levels a pixel of a confidence picture may differ",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there, too")
    parser.add_argument("--threads", type=int, default=0, help="0: one a core")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _arguments(arguments)
    missing = [
        path
        for path in (*(options.image or ()), options.inputs, options.expect)
        if path is not None and not path.is_file()
    ]
    if missing:
        print(f"error: no such file: {', '.join(map(str, missing))}", file=sys.stderr)
        return 2
    try:
        report, answers = check(options)
    except (CheckError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.outputs:
        write_npz(options.outputs, answers)
    text = json.dumps(report, indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    print(text)
    for problem in (*report["broken_rules"], *report["differences"]):
        print(f"error: {problem}", file=sys.stderr)
    return 1 if report["broken_rules"] or report["differences"] else 0


def check(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Load, describe and run; return the report and the answers by ``signature/output``."""
    with ServedModel(options.version_dir, options.threads) as model:
        report = model.describe()
        inputs = read_npz(options.inputs) if options.inputs else {}
        requests = _group(inputs, list(model.signatures))
        if options.image:
            images = _object_array([path.read_bytes() for path in options.image])
            for name, signature in model.signatures.items():
                if set(signature.inputs) == {"image_bytes"}:
                    requests.setdefault(name, {"image_bytes": images})
        answers, report["runs"] = {}, {}
        for name in options.signature or sorted(requests):
            if name in model.signatures and name not in requests:
                raise CheckError(f"{name}: no input given; use --image or --inputs.")
            start = time.perf_counter()
            outputs = model.run(name, requests.get(name, {}))
            report["runs"][name] = {
                "seconds": round(time.perf_counter() - start, 3),
                "outputs": {key: list(np.shape(value)) for key, value in outputs.items()},
            }
            answers.update({f"{name}/{key}": np.asarray(v) for key, v in outputs.items()})
    report["differences"] = []
    if options.expect:
        expected = read_npz(options.expect)
        report["differences"], report["compared"] = compare(
            answers, expected, options.tolerance, options.ties, options.levels
        )
        if not answers:
            report["differences"] = ["nothing was compared: no signature was run"]
    foreign = ("tf_segformer", "torch", "transformers")  # TensorFlow itself imports keras
    report["foreign_modules"] = sorted(name for name in foreign if name in sys.modules)
    return report, answers


if __name__ == "__main__":
    sys.exit(main())
