"""What a training step costs: processor time and images a second of it, by crop, batch and number of classes.

    python -m benchmarks.training_step [--config FILE] [--labels 150] [--threads 1] 128x8 192x8

Processor time, since a machine that also does other work stretches the wall clock. Each size is CROPxBATCH;
the least of the repeats counts, and the step that builds the graph does not.
"""

import argparse
import time
from pathlib import Path

import tensorflow as tf

from tf_segformer import TFSegformerForSemanticSegmentation, variant_config
from tf_segformer.configuration import config_from, read_config
from tf_segformer.trainer.optimizer import RecipeAdamW


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sizes", nargs="+", metavar="CROPxBATCH")
    parser.add_argument("--config", type=Path, help="a config.json; default: B0")
    parser.add_argument("--labels", type=int, default=150)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(options.threads)
    fields = read_config(options.config).to_dict() if options.config else variant_config("b0").to_dict()
    config = config_from(fields, {"num_labels": options.labels})
    model = TFSegformerForSemanticSegmentation(config, data_format="channels_last")
    model.compile(RecipeAdamW())
    model.make_train_function()
    for size in options.sizes:
        crop, batch = map(int, size.split("x"))
        pixels = tf.random.normal([batch, crop, crop, 3])
        labels = tf.random.uniform([batch, crop, crop], 0, options.labels, tf.int32)
        batches = iter(tf.data.Dataset.from_tensors((pixels, labels)).repeat())
        model.train_function(batches)
        spent, elapsed = zip(*(timed(model, batches) for _ in range(options.repeats)), strict=True)
        print(
            f"{model.num_parameters() / 1e6:.2f} M parameters, {options.labels} classes, {size}: "
            f"{min(spent):.3f} s of processor time a step, {batch / min(spent):.1f} images a second of it; "
            f"wall clock {min(elapsed):.3f} s with {options.threads} threads",
            flush=True,
        )


def timed(model: TFSegformerForSemanticSegmentation, batches) -> tuple[float, float]:
    """Processor and wall clock seconds of one step."""
    wall, processor = time.perf_counter(), time.process_time()
    model.train_function(batches)
    return time.process_time() - processor, time.perf_counter() - wall


if __name__ == "__main__":
    main()
