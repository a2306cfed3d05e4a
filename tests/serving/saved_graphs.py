"""What lies in a SavedModel's graph."""

from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2


def constant_bytes(version: Path) -> int:
    """The bytes of the network's constants, its weights for the most part, in all functions together."""
    saved = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes())
    return sum(
        node.attr["value"].tensor.ByteSize()
        for function in saved.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.op == "Const" and "inference/" in node.name
    )
