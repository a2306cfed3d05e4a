"""How many scores should attention compute at a time?

    python -m benchmarks.attention --precision bfloat16

Scores, softmax and weighted values of every block of a network and nothing else, by `attention_rows.attend`
with one limit after the other, in turns. The times are medians; ratios those of pairs, with their
quartiles, to the limit that the project has.
"""

from __future__ import annotations

import argparse
import os
import statistics

from benchmarks.measuring import in_turns, quiet, ratio, with_onednn

SIZES = [512, 1024, 1536]
EXPONENTS = [19, 20, 21, 22, 23, 24]


def main() -> None:
    """Print a Markdown table, a row an image size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", default="b0")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--exponents", type=int, nargs="+", default=EXPONENTS, help="the limits, powers of 2")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    quiet()
    with_onednn()
    import tensorflow as tf

    from benchmarks.sides.products import all_attention
    from tf_segformer import variant_config
    from tf_segformer.attention_rows import MAX_SCORES

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    print(f"{options.variant.upper()}, {options.precision}: seconds, and times that of {MAX_SCORES}\n")
    print("| image | " + " | ".join(f"2^{exponent}" for exponent in options.exponents) + " |")
    print("|---:|" + "---:|" * len(options.exponents))
    limits = sorted({MAX_SCORES, *(1 << exponent for exponent in options.exponents)})
    for size in options.sizes:
        shape = (1, 3, size, size)
        sides = {
            str(limit): all_attention(variant_config(options.variant), shape, options.precision, limit)
            for limit in limits
        }
        for run in sides.values():
            run()  # is traced here
        seconds = in_turns(sides, options.repeats)
        usual = seconds[str(MAX_SCORES)]
        cells = []
        for exponent in options.exponents:
            own = seconds[str(1 << exponent)]
            cells.append(f"{statistics.median(own):.4f}, {ratio(own, usual)}")
        print(f"| {size} × {size} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
