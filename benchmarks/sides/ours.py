"""This project: an export in a Session, as a server runs it, and the Keras model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.models import require_export
from benchmarks.sides import Network


def session_of(folder: Path, threads: int, inter_op: int = 1) -> tuple[tf.compat.v1.Session, dict]:
    """Load a SavedModel as a server does: a TF1 Session and the signatures."""
    tf.get_logger().setLevel("ERROR")  # it would say that this way of loading is old, as servers are
    options = tf.compat.v1.ConfigProto(
        intra_op_parallelism_threads=threads, inter_op_parallelism_threads=inter_op
    )
    graph = tf.Graph()
    with graph.as_default():
        session = tf.compat.v1.Session(graph=graph, config=options)
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    return session, dict(loaded.signature_def)


def exported(work: Path, shape: tuple[int, ...], threads: int, *, export: str = "float32") -> Network:
    """The `logits` signature of an export."""
    # As many threads between operations as within them is a server's default.
    session, signatures = session_of(require_export(work, export), threads, threads)
    signature = signatures["logits"]
    run = session.make_callable(signature.outputs["logits"].name, [signature.inputs["pixel_values"].name])
    return Network(
        run,
        prepare=lambda values: np.ascontiguousarray(np.moveaxis(values, 1, -1)),
        finish=lambda logits: np.moveaxis(np.asarray(logits), -1, 1),
    )


def keras_model(work: Path, shape: tuple[int, ...], threads: int) -> Network:
    """The Keras model in a `tf.function`."""
    from tf_segformer import TFSegformerForSemanticSegmentation

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = TFSegformerForSemanticSegmentation.from_pretrained(work / "checkpoint")
    call = tf.function(lambda values: model(values).logits, autograph=False)
    return Network(lambda values: call(values).numpy(), prepare=tf.constant)
