"""How long does one request take, from a photograph's bytes to its label map as a PNG, and where?

    python -m benchmarks.request --json request.json

Here: the exported SavedModel, loaded with `tf.saved_model.load`; its `serving_default` signature is the whole
request and its `logits` signature the network, and the other parts are the functions that the export traced.
PyTorch: Pillow, transformers' PIL processor, PyTorch, `post_process_semantic_segmentation`, and Pillow's PNG.

Each side runs in a process of its own, on the same number of threads. They take turns, part by part, in every
repetition; times are medians, ratios those of pairs, with their quartiles. Memory is measured in fresh
processes, Linux only: what one request adds to the resident set at its peak, after one request for a 64 × 64
image, and the peak of the whole process. The checkpoint is a seeded one, so that no network is needed; its
label maps mean nothing.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.measuring import memory_of, parse_size, process, ratio
from parity.circumstances import library_versions, machine

PHOTOGRAPH = Path(__file__).parent.parent / "tests/fixtures/photos/china.jpg"
PARTS = ("decode", "resize and normalise", "network", "label map", "encode PNG")
WHOLE = "whole request"
# What share of a B0 request the resize may take on two cores, by image size.
AIMS = {"640x427": 0.05, "4000x3000": 0.15}

Calls = dict[str, Callable[[], Any]]


class Side(NamedTuple):
    """One way to answer a request.

    Attributes:
        request: an image file's bytes to its label map as a PNG.
        parts: an image file's bytes to the parts of that, each ready to be called alone.
    """

    request: Callable[[bytes], bytes]
    parts: Callable[[bytes], Calls]


def this_project(work: Path, threads: int) -> Side:
    """Load the export."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from serving.pictures import LABEL_PNG_LEVEL
    from tf_segformer.postprocessing import compact_label_map
    from tf_segformer.preprocessing import ImageProcessing, decode_image, preprocess

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(str(exported(work)))
    segment, network = loaded.signatures["serving_default"], loaded.signatures["logits"]
    processing = ImageProcessing.from_pretrained(work / "checkpoint")

    def graph(function: Callable[..., tf.Tensor], *specs: tf.TensorSpec) -> Any:
        return tf.function(function, input_signature=specs, autograph=False)

    size = tf.TensorSpec([], tf.int32)
    decode = graph(decode_image, tf.TensorSpec([], tf.string))
    prepare = graph(lambda pixels: preprocess(pixels, processing), tf.TensorSpec([None, None, 3], tf.uint8))
    classes = network.structured_outputs["logits"].shape[-1]
    label = graph(compact_label_map, tf.TensorSpec([None, None, classes]), size, size)
    encode = graph(
        lambda labels: tf.io.encode_png(labels[..., None], compression=LABEL_PNG_LEVEL),
        tf.TensorSpec([None, None], tf.uint8),
    )

    def request(data: bytes) -> bytes:
        return segment(image_bytes=tf.constant([data]))["mask_png_bytes"].numpy()[0]

    def parts(data: bytes) -> Calls:
        height, width = size_of(data)
        encoded = tf.constant(data)
        pixels = decode(encoded)
        values = prepare(pixels)[None]
        logits = network(pixel_values=values)["logits"][0]
        sizes = tf.constant(height), tf.constant(width)
        labels = label(logits, *sizes)
        return {
            "decode": lambda: decode(encoded),
            "resize and normalise": lambda: prepare(pixels),
            "network": lambda: network(pixel_values=values),
            "label map": lambda: label(logits, *sizes),
            "encode PNG": lambda: encode(labels).numpy(),
        }

    return Side(request, parts)


def pytorch(work: Path, threads: int) -> Side:
    """Load the reference."""
    import torch

    from torch_ref.pipeline import decode_image
    from torch_ref.reference import Reference

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    reference = Reference.from_pretrained(work / "checkpoint")
    processor, model = reference.processor, reference.model

    def prepare(image: Image.Image) -> torch.Tensor:
        return processor(images=image, return_tensors="pt")["pixel_values"]

    def label(outputs: Any, size: tuple[int, int]) -> torch.Tensor:
        return processor.post_process_semantic_segmentation(outputs, target_sizes=[size])[0]

    def encode(labels: torch.Tensor) -> bytes:
        file = io.BytesIO()
        Image.fromarray(labels.numpy().astype(np.uint8)).save(file, format="PNG")
        return file.getvalue()

    def request(data: bytes) -> bytes:
        image = decode_image(data)
        outputs = model(pixel_values=prepare(image))
        return encode(label(outputs, (image.height, image.width)))

    def parts(data: bytes) -> Calls:
        image = decode_image(data)
        size = image.height, image.width
        values = prepare(image)
        outputs = model(pixel_values=values)
        labels = label(outputs, size)
        return {
            "decode": lambda: decode_image(data),
            "resize and normalise": lambda: prepare(image),
            "network": lambda: model(pixel_values=values),
            "label map": lambda: label(outputs, size),
            "encode PNG": lambda: encode(labels),
        }

    return Side(request, parts)


SIDES = {"ours": this_project, "pytorch": pytorch}


def exported(work: Path) -> Path:
    """Return the version directory of the export."""
    return work / "models" / "benchmark" / "1"


def write_models(work: Path, variant: str, connection: Any) -> None:
    """Write the seeded checkpoint and its export, unless they are there; runs in a process of its own."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from serving.export import export_saved_model
    from torch_ref.seeded import write_seeded_checkpoint

    if not (work / "checkpoint").exists():
        write_seeded_checkpoint(work / "checkpoint", variant)
    if not exported(work).exists():
        export_saved_model(work / "checkpoint", exported(work).parent, version=1)
    connection.send("done")


def photograph(size: str) -> bytes:
    """Return the bundled photograph as JPEG bytes, resized if it has another size."""
    height, width = parse_size(size)
    with Image.open(PHOTOGRAPH) as image:
        if image.size == (width, height):
            return PHOTOGRAPH.read_bytes()
        file = io.BytesIO()
        image.resize((width, height), Image.Resampling.BICUBIC).save(file, format="JPEG", quality=90)
    return file.getvalue()


def size_of(data: bytes) -> tuple[int, int]:
    """Return (height, width) of an encoded image."""
    with Image.open(io.BytesIO(data)) as image:
        return image.height, image.width


def serve(side: str, work: Path, threads: int, connection: Any) -> None:
    """Time what the parent asks for, (size, part), until it sends None; runs in a process of its own."""
    answer = SIDES[side](work, threads)
    calls: dict[str, Calls] = {}
    while (asked := connection.recv()) is not None:
        size, part = asked
        if size not in calls:
            data = photograph(size)
            calls[size] = {**answer.parts(data), WHOLE: partial(answer.request, data)}
        start = time.perf_counter()
        result = calls[size][part]()
        seconds = time.perf_counter() - start
        connection.send((seconds, result if part == WHOLE else None))


def measure_memory(side: str, work: Path, threads: int, size: str, connection: Any) -> None:
    """Send the bytes that one request adds and the process's peak; runs in a process of its own."""
    answer, data = SIDES[side](work, threads), photograph(size)
    answer.request(photograph("64x64"))
    connection.send(memory_of(lambda: answer.request(data))._asdict())


def compare(work: Path, sizes: list[str], threads: int, repeats: int) -> dict[str, Any]:
    """Time both sides in turns; return seconds[size][part][side] and the masks' differing pixels."""
    seconds: dict[str, Any] = {
        size: {part: {side: [] for side in SIDES} for part in (*PARTS, WHOLE)} for size in sizes
    }
    masks: dict[str, dict[str, np.ndarray]] = {size: {} for size in sizes}
    with ExitStack() as stack:
        sides = {side: stack.enter_context(process(serve, side, work, threads)) for side in SIDES}
        for repeat in range(repeats + 1):
            print(f"repetition {repeat} of {repeats} …", file=sys.stderr, flush=True)
            for size, part, side in itertools.product(sizes, (*PARTS, WHOLE), SIDES):
                sides[side].send((size, part))
                taken, mask = sides[side].recv()
                if repeat:  # the first only warms up
                    seconds[size][part][side].append(taken)
                if mask:
                    masks[size][side] = np.array(Image.open(io.BytesIO(mask)))
        for connection in sides.values():
            connection.send(None)
    different = {size: int(np.count_nonzero(mask["ours"] != mask["pytorch"])) for size, mask in masks.items()}
    return {"seconds": seconds, "different_pixels": different}


def memory(work: Path, sizes: list[str], threads: int) -> dict[str, Any]:
    """Return what a request takes, in bytes, as memory[size][side]."""
    taken: dict[str, Any] = {size: {} for size in sizes}
    for size, side in itertools.product(sizes, SIDES):
        print(f"memory, {size}, {side} …", file=sys.stderr, flush=True)
        with process(measure_memory, side, work, threads, size) as connection:
            taken[size][side] = connection.recv()
    return taken


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return times, memory and circumstances. The options are those of the command line."""
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        with process(write_models, work, options.variant) as connection:
            connection.recv()
        result = compare(work, options.sizes, options.threads, options.repeats)
        result["memory"] = None if options.no_memory else memory(work, options.sizes, options.threads)
    result |= {"variant": options.variant, "threads": options.threads}
    return result | {"machine": machine(), "versions": library_versions()}


def report(result: dict[str, Any]) -> str:
    """Return the result as Markdown."""
    lines = []
    for size, parts in result["seconds"].items():
        medians = {
            part: {side: statistics.median(times) for side, times in sides.items()}
            for part, sides in parts.items()
        }
        lines += [f"**{size}**", "", "| part | PyTorch | here | times less | share here |"]
        lines += ["|---|---|---|---|---|"]
        for part, sides in medians.items():
            ours, theirs = sides["ours"], sides["pytorch"]
            less = ratio(parts[part]["pytorch"], parts[part]["ours"])
            share = ours / medians[WHOLE]["ours"]
            lines.append(f"| {part} | {theirs:.4f} s | {ours:.4f} s | {less} | {100 * share:.1f} % |")
        for name, title in {"extra": "memory added", "peak": "peak of the process"}.items():
            if result["memory"]:
                ours, theirs = (result["memory"][size][side][name] / 1e6 for side in ("ours", "pytorch"))
                less = theirs / max(ours, 1)
                lines.append(f"| {title} | {theirs:.0f} MB | {ours:.0f} MB | {less:.1f} | |")
        lines += ["", f"Pixels of the masks that differ: {result['different_pixels'][size]}."]
        if size in AIMS:
            share = medians["resize and normalise"]["ours"] / medians[WHOLE]["ours"]
            verdict = "reached" if share < AIMS[size] else "not reached"
            lines.append(
                f"Aim: resize and normalise under {100 * AIMS[size]:.0f} % of the request: "
                f"{100 * share:.1f} %, {verdict}."
            )
        lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=list(AIMS), metavar="WIDTHxHEIGHT")
    parser.add_argument("--variant", default="b0", help="b0 to b5 (default b0)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--work", type=Path, help="keep the checkpoint and the export here")
    parser.add_argument("--json", type=Path, help="also write every measured time here")
    arguments = parser.parse_args()
    result = measure(arguments)
    print(report(result))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
        print(f"Every measured time: {arguments.json}")


if __name__ == "__main__":
    main()
