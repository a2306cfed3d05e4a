import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import tensorflow as tf

from serving import export, layout, verification
from serving.export import ExportError, export_saved_model
from serving.options import ExportOptions
from serving.verification import CheckFailedError
from tf_segformer.checkpoints import CheckpointError
from tf_segformer.resizing import Resizing

HEIGHT, WIDTH = 64, 96


def test_the_folder_is_what_a_server_expects(version_dir):
    assert version_dir.name == "1"
    assert [path.name for path in version_dir.parent.iterdir()] == ["1"]
    files = {str(path.relative_to(version_dir)) for path in version_dir.rglob("*") if path.is_file()}
    assert files >= {
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
        "assets.extra/tf_serving_warmup_requests",
        "assets.extra/labels.json",
        "assets.extra/manifest.json",
        "assets.extra/batching_parameters.txt",
        "assets.extra/CHECKPOINT_LICENSE",
    }


def test_the_graph_keeps_the_servers_rules(served):
    report = served.describe()
    assert report["broken_rules"] == []
    assert set(report["signatures"]) == {
        "serving_default",
        "segment_with_confidence",
        "overlay",
        "segment_pixels",
        "logits_from_bytes",
        "logits",
        "features",
    }


def test_the_manifest_says_where_the_model_comes_from(version_dir, checkpoint):
    manifest = json.loads((version_dir / "assets.extra" / "manifest.json").read_text())
    digest = subprocess.run(
        ["sha256sum", checkpoint / "model.safetensors"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    assert manifest["checkpoint"]["name"] == str(checkpoint)
    assert manifest["checkpoint"]["sha256"]["model.safetensors"] == digest
    assert manifest["checkpoint"]["licence"] == "for-tests"
    assert manifest["packages"]["tensorflow"] == tf.__version__
    assert manifest["preprocessing"]["size"] == {"height": HEIGHT, "width": WIDTH}
    assert manifest["preprocessing"]["do_reduce_labels"] is True
    assert manifest["check"]["tensorflow"] == tf.__version__
    compared = manifest["check"]["compared"]
    assert {name.split("/")[0] for name in compared} == set(manifest["signatures"])
    assert set(compared) == {
        f"{name}/{output}" for name, sides in manifest["signatures"].items() for output in sides["outputs"]
    }
    assert compared["logits/logits"]["max_error"] <= compared["logits/logits"]["allowed"]
    text = (version_dir / "assets.extra" / "CHECKPOINT_LICENSE").read_text()
    assert text == (checkpoint / "LICENSE").read_text()


def test_labels_have_names_and_colours(version_dir):
    labels = json.loads((version_dir / "assets.extra" / "labels.json").read_text())
    assert [entry["id"] for entry in labels["classes"]] == list(range(11))
    assert labels["classes"][3]["name"] == "class_3"
    assert all(len(entry["color"]) == 3 for entry in labels["classes"])


def test_batching_parameters_allow_the_sizes_that_are_warmed_up(version_dir):
    text = (version_dir / "assets.extra" / "batching_parameters.txt").read_text()
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    assert [line for line in lines if line.startswith("allowed")] == [
        "allowed_batch_sizes: 1",
        "allowed_batch_sizes: 3",
    ]
    assert "max_batch_size { value: 3 }" in lines


def test_no_request_waits_and_the_server_counts_its_own_cores(version_dir):
    """What `docs/serving.md` measures: a batch saves too little to wait for it."""
    text = (version_dir / "assets.extra" / "batching_parameters.txt").read_text()
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    assert "batch_timeout_micros { value: 0 }" in lines
    assert not [line for line in lines if line.startswith("num_batch_threads")]


def test_every_warmup_record_runs(version_dir, served):
    """One failing record would fail the load on the server."""
    records = tf.data.TFRecordDataset(str(version_dir / "assets.extra" / "tf_serving_warmup_requests"))
    seen = set()
    for record in records.as_numpy_iterator():
        signature, inputs = parse_record(record)
        outputs = served.run(signature, inputs)
        (size,) = {len(value) for value in [*inputs.values(), *outputs.values()]}
        seen.add((signature, size))
    assert seen == {(name, size) for name in served.signatures for size in (1, 3)}


def parse_record(record):
    """Signature and inputs of a PredictionLog, by a walk over its fields."""

    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    return value

        while at < len(data):
            key, length = varint(), varint()
            assert key & 7 == 2
            yield key >> 3, data[at : at + length]
            at += length

    ((_, predict_log),) = fields(record)
    ((_, request),) = fields(predict_log)
    signature, inputs = None, {}
    for number, value in fields(request):
        content = dict(fields(value))
        if number == 1:
            signature = content[3].decode()
        else:
            proto = tf.make_tensor_proto(0.0)
            proto.ParseFromString(content[2])
            inputs[content[1].decode()] = tf.make_ndarray(proto)
    return signature, inputs


@pytest.fixture
def no_check(monkeypatch, version_dir):
    """Exports without their fresh process, for tests of what is around it."""
    report = json.loads((version_dir / "assets.extra" / "manifest.json").read_text())
    report |= {**report["graph"], **report["check"]}
    monkeypatch.setattr(export, "expected_answers", lambda *arguments: {})
    monkeypatch.setattr(export, "check_in_fresh_process", lambda *arguments: report)


def test_the_next_version_does_not_disturb_the_first(version_dir, checkpoint, tmp_path, no_check):
    folder = tmp_path / "tiny"
    shutil.copytree(version_dir.parent, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert export_saved_model(checkpoint, folder, batch_sizes=[1]) == folder / "2"
    with pytest.raises(layout.VersionExistsError, match="never overwritten"):
        export_saved_model(checkpoint, folder, version=1)
    assert before == {path: path.read_bytes() for path in before}
    assert layout.published_versions(folder) == [1, 2]


def test_a_missing_model_is_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(CheckpointError):
        export_saved_model(tmp_path / "none" / "such" / "model", tmp_path / "models" / "b0")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_preprocessing_is_an_error(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ExportError, match="preprocessor_config"):
        export_saved_model(folder, tmp_path / "models" / "b0")


def test_options_that_do_not_fit_the_checkpoint_are_an_error(checkpoint, tmp_path):
    folder = shutil.copytree(checkpoint, tmp_path / "checkpoint")
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 66, "width": 64}}')
    options = ExportOptions(Resizing("sliding-window"))
    with pytest.raises(ExportError, match="multiples of 4"):
        export_saved_model(folder, tmp_path / "models" / "b0", options=options)
    assert not (tmp_path / "models").exists()


def test_a_failed_check_publishes_nothing(checkpoint, tmp_path, monkeypatch):
    def wrong(model, *others):
        values = verification.example_values(tf.float32)
        logits = model(values).logits.numpy()
        return {"logits": {"logits": logits * np.float32(1.0001)}}

    monkeypatch.setattr(export, "expected_answers", wrong)
    monkeypatch.setattr(export, "trace_signatures", partial(export.trace_signatures, names=["logits"]))
    with pytest.raises(CheckFailedError, match="logits/logits: off by"):
        export_saved_model(checkpoint, tmp_path / "b0", batch_sizes=[2])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_found_before_anything_is_written(checkpoint, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    with pytest.raises(ExportError, match="1 MB are free"):
        export_saved_model(checkpoint, tmp_path / "b0")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sizes", [[], [0], [-1, 2]])
def test_unusable_batch_sizes_are_refused(checkpoint, tmp_path, sizes):
    with pytest.raises(ExportError, match="batch sizes"):
        export_saved_model(checkpoint, tmp_path / "b0", batch_sizes=sizes)


# An export with a limit on file sizes, as if the disk filled up while the SavedModel is written.
LIMITED = """
import functools, resource, signal, sys
from serving import export
from serving.export import ExportError, export_saved_model
export.trace_signatures = functools.partial(export.trace_signatures, names=["logits"])  # saves time
from serving.options import ExportOptions
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    export_saved_model(sys.argv[1], sys.argv[2], batch_sizes=[2])
except ExportError as error:
    sys.exit(f"ExportError: {error}")
"""


def test_a_disk_that_fills_up_is_a_clear_error(checkpoint, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, checkpoint, tmp_path / "models" / "b0"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 1
    assert "nothing was published" in run.stderr
    assert list(tmp_path.iterdir()) == []
