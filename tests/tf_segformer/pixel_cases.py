"""How many random pictures are resized and normalised as the reference does it, to the bit?

    python -m tests.tf_segformer.pixel_cases --cases 500

prints a table of the cases by kind, and fails if one differs. The property tests draw from the same
kinds. What is compared:

- `resampling.resize` with the installed Pillow's `Image.resize`, for every filter and direction,
  and each case but NEAREST's also in the pass order of Pillow 12: two resizes of one axis, columns first;
- `preprocess` with transformers' `SegformerImageProcessorPil`, for random configs;
- `preprocess_by` with the reference's side of every resizing policy.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import PIL
import tensorflow as tf
from PIL import Image
from transformers import SegformerImageProcessorPil

from tf_segformer import resampling
from tf_segformer.preprocessing import ImageProcessing, preprocess
from tf_segformer.resizing import Resizing, preprocess_by
from torch_ref import resizing as reference

# Pillow 13 has two more, which no published checkpoint names and the graph refuses.
FILTERS = {filter.name: int(filter) for filter in Image.Resampling if filter < 6}
INSTALLED = "pillow>=13" if int(PIL.__version__.split(".")[0]) >= 13 else "pillow<13"
PIXELS, SCALAR = tf.TensorSpec([None, None, 3], tf.uint8), tf.TensorSpec([], tf.int32)


def noise(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Every level, without any order."""
    return random.integers(0, 256, (height, width, 3), np.uint8)


def extreme(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """Black and full channels: filters with negative lobes overshoot on both sides."""
    return 255 * random.integers(0, 2, (height, width, 3), np.uint8)


def gray(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """A gray gradient with a little noise: sums next to a rounding boundary."""
    y, x = np.mgrid[:height, :width]
    slope = random.uniform(-2, 2, 2)
    levels = random.integers(0, 256) + y * slope[0] + x * slope[1] + random.integers(0, 2, (height, width))
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


def flat(height: int, width: int, random: np.random.Generator) -> np.ndarray:
    """One colour: the weights' rounding errors alone."""
    return np.broadcast_to(random.integers(0, 256, 3, np.uint8), (height, width, 3)).copy()


PICTURES: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "noise": noise,
    "extreme": extreme,
    "gray": gray,
    "flat": flat,
}


@functools.cache
def resize_in_graph(resample: int, pass_order: resampling.PassOrder) -> Any:
    """`resampling.resize` as a graph of its own, for any size."""
    return tf.function(
        lambda pixels, h, w: resampling.resize(pixels, h, w, resample, pass_order=pass_order),
        input_signature=[PIXELS, SCALAR, SCALAR],
        autograph=False,
    )


def resize_by_pillow(
    pixels: np.ndarray, height: int, width: int, resample: int, pass_order: resampling.PassOrder
) -> np.ndarray:
    """What Pillow makes of it: the installed one, or an older one by two resizes of one axis each."""
    image = Image.fromarray(pixels)
    if pass_order != INSTALLED:
        assert pass_order == "pillow<13", f"Pillow {PIL.__version__} cannot tell what {pass_order} gives."
        image = image.resize((width, image.height), resample)
    return np.asarray(image.resize((width, height), resample))


def resize_difference(pixels: np.ndarray, height: int, width: int, resample: int, pass_order: Any) -> int:
    """The number of bytes that differ from Pillow's."""
    found = resize_in_graph(resample, pass_order)(pixels, height, width).numpy()
    return differences(found, resize_by_pillow(pixels, height, width, resample, pass_order))


def preprocess_difference(pixels: np.ndarray, config: dict[str, Any]) -> int:
    """The number of pixel values that differ in any bit from the reference processor's."""
    processing = ImageProcessing.from_dict(config)
    expected = SegformerImageProcessorPil(**config)(Image.fromarray(pixels), return_tensors="np")
    expected = expected["pixel_values"][0].astype(np.float32, copy=False)
    return differences(preprocess(tf.constant(pixels), processing).numpy(), np.moveaxis(expected, 0, -1))


def policy_difference(pixels: np.ndarray, height: int, width: int, resizing: Resizing) -> int:
    """The number of pixel values that differ in any bit from the reference's side of the policy."""
    processor = SegformerImageProcessorPil(size={"height": height, "width": width})
    processing = ImageProcessing(height=height, width=width)
    options = resizing.completed(processing).to_dict()
    expected = reference.preprocess_by(Image.fromarray(pixels), processor, **options)[0]
    found = preprocess_by(tf.constant(pixels), processing, resizing).numpy()
    return differences(found, np.moveaxis(expected, 0, -1))


def differences(found: np.ndarray, expected: np.ndarray) -> int:
    """Count the values whose bits differ; all of them where shapes or dtypes do."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return max(found.size, expected.size, 1)
    bits = np.dtype(f"u{found.dtype.itemsize}")
    return int(np.count_nonzero(np.ascontiguousarray(found).view(bits) != expected.copy().view(bits)))


def random_config(random: np.random.Generator) -> dict[str, Any]:
    """The entries of a `preprocessor_config.json`, old spellings included where transformers reads them."""
    edge = int(random.integers(1, 200))
    size: Any = [
        edge,
        {"height": edge, "width": int(random.integers(1, 200))},
        {"shortest_edge": edge},
        {"shortest_edge": edge, "longest_edge": edge + int(random.integers(1, 200))},
    ][random.integers(4)]
    mean, std = random.uniform(-1, 1, 3), random.uniform(0.05, 2, 3)
    return {
        "do_resize": bool(random.random() < 0.8),
        "size": size,
        "resample": int(random.integers(6)),
        "do_rescale": bool(random.random() < 0.7),
        "rescale_factor": [1 / 255, 1 / 127.5, float(random.uniform(1e-4, 2))][random.integers(3)],
        "do_normalize": bool(random.random() < 0.7),
        "image_mean": [mean.tolist(), [0.485, 0.456, 0.406], 0.5][random.integers(3)],
        "image_std": [std.tolist(), [0.229, 0.224, 0.225], 0.5][random.integers(3)],
    }


def kind_of(config: dict[str, Any]) -> str:
    """A config's line in the table."""
    size = config["size"]
    named = " + ".join(size) if isinstance(size, dict) else "int"
    return f"pixel_values, size {named}" if config["do_resize"] else "pixel_values, no resize"


def random_sizes(direction: str, random: np.random.Generator) -> tuple[int, int, int, int]:
    """(h, w, H, W) in pixels: shrinking, enlarging, one of each, or very long and narrow."""
    small, large = (np.sort(np.exp(random.uniform(0, 6.4, 2))).astype(int) for _ in range(2))
    if direction == "down":
        return int(small[1]), int(large[1]), int(small[0]), int(large[0])
    if direction == "up":
        return int(small[0]), int(large[0]), int(small[1]), int(large[1])
    if direction == "one of each":
        return int(small[1]), int(large[0]), int(small[0]), int(large[1])
    narrow, long = int(random.integers(1, 6)), int(random.integers(600, 3000))
    h, w = (narrow, long) if random.random() < 0.5 else (long, narrow)
    return h, w, int(small[0]), int(large[1])


DIRECTIONS = ("down", "up", "one of each", "extreme ratio")


def random_resizing(random: np.random.Generator) -> Resizing:
    """Any policy but the checkpoint's own, which `random_config` covers."""
    name = random.choice(["keep-ratio", "paper", "sliding-window"])
    if name == "paper":
        return Resizing("paper")
    side = int(random.integers(20, 150))
    if name == "keep-ratio":
        return Resizing(name, short_side=side, multiple=int(random.choice([1, 7, 32])))
    return Resizing(name, short_side=int(random.choice([0, side])))


def cases(each: int, seed: int) -> Iterator[tuple[str, int]]:
    """Run the cases; give each one's kind and how many values differ."""
    random = np.random.default_rng(seed)

    def picture(height: int, width: int) -> np.ndarray:
        return PICTURES[random.choice(list(PICTURES))](height, width, random)

    for name, resample in FILTERS.items():
        for direction in DIRECTIONS:
            for _ in range(each):
                h, w, height, width = random_sizes(direction, random)
                pixels = picture(h, w)
                for order in [INSTALLED] if name == "NEAREST" else sorted({INSTALLED, "pillow<13"}):
                    wrong = resize_difference(pixels, height, width, resample, order)
                    yield f"resize, {name}, {direction}", wrong
    for _ in range(10 * each):
        config = random_config(random)
        h, w = (int(n) for n in random.integers(1, 200, 2))
        longest = config["size"].get("longest_edge") if isinstance(config["size"], dict) else None
        if longest and round(longest * min(h, w) / max(h, w)) < 1:
            continue  # both refuse an empty size
        yield kind_of(config), preprocess_difference(picture(h, w), config)
    for _ in range(5 * each):
        resizing = random_resizing(random)
        h, w = (int(n) for n in random.integers(1, 200, 2))
        yield f"policy, {resizing.policy}", policy_difference(picture(h, w), 64, 64, resizing)


def main() -> int:
    """Print the table; return 1 if any case differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=50, help="per filter and direction (default 50)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    total, different = Counter[str](), Counter[str]()
    start = time.perf_counter()
    for kind, wrong in cases(arguments.cases, arguments.seed):
        total[kind] += 1
        different[kind] += wrong > 0
        if wrong:
            print(f"{kind}: {wrong} values differ", file=sys.stderr)
        if sum(total.values()) % 500 == 0:
            print(f"{sum(total.values())} cases …", file=sys.stderr, flush=True)
    print("| kind | cases | that differ |", "|---|---|---|", sep="\n")
    for kind, count in total.items():
        print(f"| {kind} | {count} | {different[kind]} |")
    print(f"| all | {sum(total.values())} | {sum(different.values())} |")
    seconds = time.perf_counter() - start
    print(f"\nPillow {PIL.__version__}, TensorFlow {tf.__version__}, seed {arguments.seed}, {seconds:.0f} s")
    return min(sum(different.values()), 1)


if __name__ == "__main__":
    sys.exit(main())
