"""How many multiply-adds a SegFormer takes, counted from its config: convolutions, dense layers, attention.

    python -m benchmarks.multiply_adds --variants b0 b4 --size 512

Sums, activations, LayerNorms, softmax and resizes are not counted, as in the table of the paper (arXiv
2105.15203, table 1), whose "FLOPs" are these multiply-adds.
"""

from __future__ import annotations

import argparse
from typing import Any

Parts = dict[str, int]
# What grows with the square of the pixels; all else grows with the pixels.
ATTENTION = "attention, its two products"


def count(config: Any, size: tuple[int, int], batch: int = 1, *, folded: bool = False) -> Parts:
    """Count the multiply-adds of one call, by part.

    Args:
        config: a SegformerConfig, or anything with its fields.
        size: height and width of the images.
        batch: number of images.
        folded: with the decode head folded (`tf_segformer.folding`).
    """
    parts: Parts = {}

    def add(name: str, number: int) -> None:
        parts[name] = parts.get(name, 0) + batch * number

    before, tokens = config.num_channels, []
    height, width = size
    for stage, channels in enumerate(config.hidden_sizes):
        patch, stride = config.patch_sizes[stage], config.strides[stage]
        height, width = ((side + 2 * (patch // 2) - patch) // stride + 1 for side in (height, width))
        n = height * width
        tokens.append(n)
        add("patch embedding", n * patch**2 * before * channels)
        reduction, hidden = config.sr_ratios[stage], config.mlp_ratios[stage] * channels
        reduced = (height // reduction) * (width // reduction)
        for _ in range(config.depths[stage]):
            if reduction > 1:
                add("attention, sequence reduction", reduced * reduction**2 * channels**2)
            add("attention, dense layers", 2 * n * channels**2 + 2 * reduced * channels**2)
            add(ATTENTION, 2 * n * reduced * channels)
            add("Mix-FFN, dense layers", int(2 * n * channels * hidden))
            add("Mix-FFN, depthwise convolution", int(9 * n * hidden))
        before = channels
    width_of_head = config.decoder_hidden_size
    for n, channels in zip(tokens, config.hidden_sizes, strict=True):
        add("decode head, projections", n * channels * width_of_head)
    if not folded:
        add("decode head, fuse", tokens[0] * len(tokens) * width_of_head**2)
    add("decode head, classifier", tokens[0] * width_of_head * config.num_labels)
    return parts


def total(config: Any, size: tuple[int, int], batch: int = 1, *, folded: bool = False) -> int:
    """Count the multiply-adds of one call."""
    return sum(count(config, size, batch, folded=folded).values())


def table(counts: dict[str, tuple[Parts, Parts]]) -> str:
    """Return Markdown, in billions; of each column the counts as published and folded."""
    names = list(dict.fromkeys(name for parts in counts.values() for name in parts[0]))
    lines = ["| multiply-adds, billions | " + " | ".join(f"{v.upper()} | folded" for v in counts) + " |"]
    lines += ["|---|" + "---:|" * (2 * len(counts))]
    for name in [*names, "all"]:
        cells = []
        for column in (part for pair in counts.values() for part in pair):
            number = sum(column.values()) if name == "all" else column.get(name, 0)
            cells.append(f"{number / 1e9:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the counts."""
    from tf_segformer import variant_config

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variants", nargs="+", default=["b0", "b4"])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--classes", type=int, default=150)
    options = parser.parse_args()
    counts = {}
    for variant in options.variants:
        config, size = variant_config(variant, num_labels=options.classes), (options.size, options.size)
        counts[variant] = (count(config, size), count(config, size, folded=True))
    print(table(counts))


if __name__ == "__main__":
    main()
