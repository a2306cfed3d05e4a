"""What lies in a SavedModel's graph, and what of it runs."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import saved_model_pb2

from tf_segformer.inference import InferenceNetwork
from tf_segformer.inference_layers import Weight


def constant_bytes(version: Path) -> int:
    """The bytes of the network's constants, its weights for the most part, in all functions together."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    return sum(
        node.attr["value"].tensor.ByteSize()
        for function in saved.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Const" and "inference/" in node.name
    )


def numbers_in(network: InferenceNetwork, constant: bool | None = None) -> int:
    """How many numbers all its weights hold, or those that are constants, or those that are not."""
    weights = [part for part in network.submodules if isinstance(part, Weight)]
    return sum(int(np.prod(each.shape)) for each in weights if constant in (None, each.is_constant))


def logits_of(version: Path, pixel_values: np.ndarray) -> tuple[np.ndarray, list[NodeDef]]:
    """What a Session answers, and the operations that it runs for it."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(version))
        signature = loaded.signature_def["logits"]
        options, metadata = tf.compat.v1.RunOptions(output_partition_graphs=True), tf.compat.v1.RunMetadata()
        given = {signature.inputs["pixel_values"].name: pixel_values}
        logits = session.run(signature.outputs["logits"].name, given, options, metadata)
    return logits, [node for graph in metadata.partition_graphs for node in graph.node]
