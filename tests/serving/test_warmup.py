import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from tensorflow.core.framework import tensor_pb2

from serving.warmup import MAX_RECORDS, prediction_log, tensor_proto, write_warmup_records

# name → (number, type) of the fields used here, as tensorflow-serving-api 2.21.0 declares them:
#   from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2
#   for message in (prediction_log_pb2.PredictionLog, prediction_log_pb2.PredictLog,
#                   predict_pb2.PredictRequest, predict_pb2.PredictRequest.InputsEntry, model_pb2.ModelSpec):
#       print(message.DESCRIPTOR.name, [(f.name, f.number) for f in message.DESCRIPTOR.fields])
SCHEMA = {
    "PredictionLog": {"predict_log": (6, ".warmup_test.PredictLog")},
    "PredictLog": {"request": (1, ".warmup_test.PredictRequest")},
    "PredictRequest": {
        "model_spec": (1, ".warmup_test.ModelSpec"),
        "inputs": (2, ".warmup_test.PredictRequest.InputsEntry"),
    },
    "ModelSpec": {"name": (1, str), "signature_name": (3, str)},
}


@pytest.fixture(scope="module")
def message_class():
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="warmup_test.proto",
        package="warmup_test",
        syntax="proto3",
        dependency=[tensor_pb2.DESCRIPTOR.name],
    )
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            text = kind is str
            message.field.add(
                name=field_name,
                number=number,
                label=field.LABEL_REPEATED if field_name == "inputs" else field.LABEL_OPTIONAL,
                type=field.TYPE_STRING if text else field.TYPE_MESSAGE,
                type_name=None if text else kind,
            )
    entry = file.message_type[2].nested_type.add(name="InputsEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=field.LABEL_OPTIONAL, type=field.TYPE_STRING)
    entry.field.add(
        name="value",
        number=2,
        label=field.LABEL_OPTIONAL,
        type=field.TYPE_MESSAGE,
        type_name=".tensorflow.TensorProto",
    )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("warmup_test.PredictionLog"))


def test_records_decode_with_the_servers_schema(message_class, tmp_path):
    requests = [
        ("serving_default", {"image_bytes": tensor_proto(np.array([b"\xff\xd8" * 200, b""], object))}),
        ("logits", {"b": tensor_proto(np.ones((2, 3), np.float32)), "a": tensor_proto(np.arange(5))}),
    ]
    assert write_warmup_records(tmp_path / "records", "b0", requests) == 2
    records = list(tf.data.TFRecordDataset(str(tmp_path / "records")).as_numpy_iterator())
    assert len(records) == 2
    for record, (signature, inputs) in zip(records, requests, strict=True):
        log = message_class.FromString(record)
        assert log.predict_log.request.model_spec.name == "b0"
        assert log.predict_log.request.model_spec.signature_name == signature
        assert set(log.predict_log.request.inputs) == set(inputs)
        for name, tensor in inputs.items():
            np.testing.assert_array_equal(
                tf.make_ndarray(log.predict_log.request.inputs[name]), tf.make_ndarray(tensor)
            )
        assert log.SerializeToString(deterministic=True) == record  # nothing unknown, nothing lost


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 64, 64, 3), np.float32),
        np.full((2, 8, 8, 3), 255, np.uint8),
        np.arange(6, dtype=np.float32).reshape(2, 3),
        np.full((3, 2), 1.5),
        np.array([7], np.int64),
        np.array(np.nan, np.float32).repeat(3),
        np.array([b"a\0", b""], object),
    ],
)
def test_tensor_proto_is_read_back_by_the_runtime(array):
    proto = tensor_proto(array)
    out_type = tf.as_dtype(proto.dtype)
    read = tf.io.parse_tensor(proto.SerializeToString(), out_type).numpy()
    np.testing.assert_array_equal(read, array)
    if array.size > 1 and array.dtype != object and (array == array.flat[0]).all():
        assert proto.ByteSize() < 60  # the runtime repeats the last value


def test_more_records_than_the_server_takes_are_refused(tmp_path):
    requests = [("logits", {})] * (MAX_RECORDS + 1)
    with pytest.raises(ValueError, match="fewer batch sizes"):
        write_warmup_records(tmp_path / "records", "b0", requests)
    assert not (tmp_path / "records").exists()


def test_lengths_above_127_are_encoded(message_class):
    name = "n" * 300
    log = message_class.FromString(prediction_log(name, "s", {}))
    assert log.predict_log.request.model_spec.name == name
