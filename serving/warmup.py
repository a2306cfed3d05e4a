"""What the server reads beside the model: warm-up records and batching parameters.

A server runs the requests in ``assets.extra/tf_serving_warmup_requests``, a TFRecord file of
``tensorflow.serving.PredictionLog`` messages, before it takes traffic, so that the first real request
does not pay for graph optimisation and memory allocation. There may be at most 1,000, and one that
fails makes the whole load fail.

The four messages needed are encoded here by hand (25 lines) rather than with
``tensorflow-serving-api``, which would bring gRPC into every export; a test decodes the file with that
package's own field numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serving.signatures import input_spec
from tf_segformer.preprocessing import ImageProcessing

WARMUP_FILE = "tf_serving_warmup_requests"
MAX_RECORDS = 1000

# Field numbers of tensorflow_serving/apis/{prediction_log,predict,model}.proto.
_PREDICTION_LOG_PREDICT_LOG = 6
_PREDICT_LOG_REQUEST = 1
_REQUEST_MODEL_SPEC = 1
_REQUEST_INPUTS = 2  # map<string, TensorProto>: entries with the key in field 1, the value in field 2
_MODEL_SPEC_NAME = 1
_MODEL_SPEC_SIGNATURE_NAME = 3


def batching_parameters(batch_sizes: Sequence[int]) -> str:
    """Return the text proto for the server's ``--batching_parameters_file``.

    A merged batch is padded up to the next allowed size, so that only sizes that were warmed up run. What is
    measured (`docs/serving.md`, "Threads, batches and concurrent requests"): an image costs a core about
    as much in a batch as alone. So no request waits for company; requests that queue anyway are merged. How
    many batches run at once is left to the server, whose default is its number of cores.
    """
    sizes = "\n".join(f"allowed_batch_sizes: {size}" for size in sorted(batch_sizes))
    return (
        f"max_batch_size {{ value: {max(batch_sizes)} }}\n"
        "batch_timeout_micros { value: 0 }  # a request does not wait for company: it gains too little\n"
        "max_enqueued_batches { value: 100 }  # beyond that: UNAVAILABLE; no queue grows for ever\n"
        "# num_batch_threads: how many batches run at once; unset, as many as the server has cores\n"
        f"{sizes}\n"
    )


def warmup_requests(
    signatures: Mapping[str, Any], processing: ImageProcessing, batch_sizes: Sequence[int]
) -> list[tuple[str, dict[str, tf.TensorProto]]]:
    """Return one request per signature and batch size, each a few hundred bytes long.

    Batches of image files alternate between JPEG and PNG, whose decoders are made ready separately; one
    more request does so where all batches are of one file.
    """
    black = np.zeros((64, 96, 3), np.uint8)
    files = np.array([tf.io.encode_jpeg(black).numpy(), tf.io.encode_png(black).numpy()], object)
    size = (1, processing.height, processing.width)
    requests = []
    for batch_size in batch_sizes:
        for name, signature in signatures.items():
            spec = input_spec(signature)
            if spec.dtype == tf.string:
                batch = np.resize(files, batch_size)
            else:
                batch = np.repeat(_zeros((*size, spec.shape[-1]), spec), batch_size, axis=0)
            requests.append((name, {spec.name: tensor_proto(batch)}))
    if max(batch_sizes) == 1:
        requests.append(("serving_default", {"image_bytes": tensor_proto(files[1:])}))
    return requests


def _zeros(shape: tuple[int, ...], spec: tf.TensorSpec) -> np.ndarray:
    return np.zeros(shape, spec.dtype.as_numpy_dtype)


def write_warmup_records(
    path: Path, model_name: str, requests: Iterable[tuple[str, Mapping[str, tf.TensorProto]]]
) -> int:
    """Write one record per request and return their number.

    Args:
        path: the file, ``VERSION/assets.extra/tf_serving_warmup_requests``.
        model_name: the name the server serves the model under.
        requests: pairs of a signature name and its inputs.

    Raises:
        ValueError: there are more records than the server accepts.
    """
    records = [prediction_log(model_name, signature, inputs) for signature, inputs in requests]
    if len(records) > MAX_RECORDS:
        raise ValueError(
            f"{len(records)} warm-up records; the server accepts {MAX_RECORDS}. Give fewer batch sizes."
        )
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    return len(records)


def prediction_log(model_name: str, signature: str, inputs: Mapping[str, tf.TensorProto]) -> bytes:
    """Encode ``PredictionLog{predict_log{request{model_spec{…} inputs{…}}}}``."""
    request = _field(
        _REQUEST_MODEL_SPEC,
        _field(_MODEL_SPEC_NAME, model_name.encode())
        + _field(_MODEL_SPEC_SIGNATURE_NAME, signature.encode()),
    )
    for name, tensor in sorted(inputs.items()):
        entry = _field(1, name.encode()) + _field(2, tensor.SerializeToString(deterministic=True))
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_PREDICTION_LOG_PREDICT_LOG, _field(_PREDICT_LOG_REQUEST, request))


def tensor_proto(array: np.ndarray) -> tf.TensorProto:
    """Encode an array; one whose values are all equal takes a few bytes whatever its shape.

    A TensorProto may give fewer values than its shape has; the last one then stands for the rest.
    Without this the warm-up records of float signatures would be the largest file of a B0 export.
    """
    array = np.asarray(array)
    if array.size > 1 and array.dtype.kind in "fiu" and (array == array.flat[0]).all():
        proto = tf.make_tensor_proto(array.flat[0], dtype=array.dtype)
        proto.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
        return proto
    return tf.make_tensor_proto(array)


def _field(number: int, payload: bytes) -> bytes:
    """Encode a length-delimited protobuf field (wire type 2)."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
