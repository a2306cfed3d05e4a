"""The comparison of decoded files of every kind with Pillow.

    python -m tests.tf_segformer.decoding_cases --cases 200

decodes so many files of each kind, of random sizes and contents, both ways, and prints a table.
"""

import argparse
import io
import sys
import time
import warnings
from collections.abc import Callable
from functools import cache

import numpy as np
import tensorflow as tf
from PIL import Image, ImageOps

from tests.tf_segformer.image_kinds import KINDS, ORIENTED, make
from tf_segformer.image_decoding import decode_image, image_size

MAX_PIXELS = 1 << 22  # larger images, which damage makes of a head, are refused on both sides


def by_pillow(file: bytes, *, upright: bool = False) -> np.ndarray | None:
    """Return uint8 [h, w, 3], or nothing if Pillow refuses the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(file))
            if image.width * image.height > MAX_PIXELS:
                return None
            if upright:
                image = ImageOps.exif_transpose(image)
            return np.asarray(image.convert("RGB"))
        except Exception:  # Pillow's plug-ins raise many kinds
            return None


@cache
def _graph(upright: bool) -> Callable[[tf.Tensor], tuple[tf.Tensor, ...]]:
    @tf.function(input_signature=[tf.TensorSpec([], tf.string)], autograph=False)
    def decode(file: tf.Tensor) -> tuple[tf.Tensor, ...]:
        height, width = image_size(file)
        check = tf.debugging.Assert(height * width <= MAX_PIXELS, ["The image has too many pixels"])
        with tf.control_dependencies([check]):
            file = tf.identity(file)
        return decode_image(file, exif_orientation=upright), height, width

    return decode.get_concrete_function()


def by_graph(file: bytes, *, upright: bool = False) -> np.ndarray | None:
    """Return uint8 [h, w, 3], or nothing if the graph refuses the file."""
    try:
        pixels, height, width = _graph(upright)(tf.constant(file))
    except tf.errors.InvalidArgumentError:
        return None
    assert {int(height), int(width)} == set(pixels.shape[:2])
    if not upright:
        assert (int(height), int(width)) == tuple(pixels.shape[:2])
    return pixels.numpy()


def verdict(file: bytes, *, upright: bool = False) -> str:
    """Compare the two: "equal", "refused" by both, "stricter" or "laxer" graph, or "different"."""
    expected, found = by_pillow(file, upright=upright), by_graph(file, upright=upright)
    if expected is None or found is None:
        return {(True, True): "refused", (False, True): "stricter", (True, False): "laxer"}[
            expected is None, found is None
        ]
    return "equal" if np.array_equal(expected, found) else "different"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=200, help="files of each kind; default 200")
    parser.add_argument("--kinds", default="", help="only kinds that contain this text")
    arguments = parser.parse_args()
    print("| kind | files | equal to Pillow |\n|---|---:|---:|")
    total, failures = 0, 0
    start = time.monotonic()
    for kind in KINDS | ORIENTED:
        if arguments.kinds not in kind:
            continue
        verdicts = [verdict(make(kind, seed), upright=kind in ORIENTED) for seed in range(arguments.cases)]
        equal = verdicts.count("equal")
        total, failures = total + len(verdicts), failures + len(verdicts) - equal
        print(f"| {kind} | {len(verdicts)} | {equal} |", flush=True)
        for seed, word in enumerate(verdicts):
            if word != "equal":
                print(f"{kind}, seed {seed}: {word}", file=sys.stderr)
    print(f"| all | {total} | {total - failures} |")
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    sys.exit(failures > 0)


if __name__ == "__main__":
    main()
