"""Runs in the legacy environment, for `benchmarks.sides.legacy`: answers requests on standard input.

    LEGACY_PYTHON -m benchmarks.sides.legacy_process CHECKPOINT THREADS

A request is a line of JSON, `{"command": …, "shape": …}`, and the float32 values of an array of that shape;
an answer is a line of JSON, `{"result": …}` or `{"error": …}`. Commands: take (keep these pixel values), time
and memory (of one call with them), logits (answered by their shape and then their values), save (into the
folder `path`, as a SavedModel), stop.
"""

import json
import math
import os
import sys
import time
from typing import Any

# Before anything is imported: what libraries print goes to the error stream, answers to the other.
ANSWERS = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import transformers  # noqa: E402

from benchmarks.measuring import memory_of  # noqa: E402


def answer(content: Any) -> None:
    """Write one answer."""
    ANSWERS.write(json.dumps(content).encode() + b"\n")
    ANSWERS.flush()


def read_array(shape: list[int]) -> np.ndarray:
    """Read the array that follows a request."""
    data = sys.stdin.buffer.read(4 * math.prod(shape))
    return np.frombuffer(data, np.float32).reshape(shape)


class Answers:
    """The legacy class in a `tf.function`, and the pixel values it was given; a method a command."""

    def __init__(self, checkpoint: str, threads: int) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        self.model = transformers.TFSegformerForSemanticSegmentation.from_pretrained(checkpoint)
        self.call = tf.function(lambda values: self.model(values, training=False).logits, autograph=False)
        self.values = tf.zeros((1, 3, 64, 64))

    def take(self, values: np.ndarray, request: dict) -> None:
        """Keep pixel values."""
        self.values = tf.constant(values)

    def time(self, values: None, request: dict) -> float:
        """Time one call."""
        start = time.perf_counter()
        self.call(self.values).numpy()
        return time.perf_counter() - start

    def memory(self, values: None, request: dict) -> list[int]:
        """Return what one call adds and the peak, in bytes."""
        return list(memory_of(lambda: self.call(self.values).numpy()))

    def logits(self, values: np.ndarray, request: dict) -> np.ndarray:
        """Return the logits of these pixel values."""
        return self.call(tf.constant(values)).numpy()

    def save(self, values: None, request: dict) -> None:
        """Save by hand, for any size: `save_pretrained(saved_model=True)` fails, saving the object too."""
        spec = tf.TensorSpec([None, 3, None, None], tf.float32, name="pixel_values")
        function = tf.function(lambda pixel_values: {"logits": self.model(pixel_values).logits}, [spec])
        module = tf.Module()
        module.weights = self.model.variables
        tf.saved_model.save(module, request["path"], signatures=function.get_concrete_function())


def main() -> None:
    checkpoint, threads = sys.argv[1:]
    try:
        answers = Answers(checkpoint, int(threads))
    except Exception as error:
        answer({"error": f"{type(error).__name__}: {error}"})
        return
    names = {"transformers": transformers, "tensorflow": tf}
    answer({"result": {name: module.__version__ for name, module in names.items()}})
    for line in sys.stdin.buffer:
        request = json.loads(line)
        if request["command"] == "stop":
            break
        values = read_array(request["shape"]) if request["shape"] else None
        try:
            result = getattr(answers, request["command"])(values, request)
        except Exception as error:
            answer({"error": f"{type(error).__name__}: {error}"})
            continue
        if isinstance(result, np.ndarray):
            answer({"result": list(result.shape)})
            ANSWERS.write(result.astype(np.float32).tobytes())
            ANSWERS.flush()
        else:
            answer({"result": result})


if __name__ == "__main__":
    main()
