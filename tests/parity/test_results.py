import json

import numpy as np
import pytest

from parity import result_writer
from parity.result_writer import save_result
from parity.results import (
    Manifest,
    ResultError,
    load_result,
    plain,
    require_same_input,
    sha256_of,
    weight_files,
)

MANIFEST = Manifest("torch_ref", "float32", image_size=(4, 5), expected_taps=("a", "b"))


def arrays():
    return {
        "pixels": np.arange(24, dtype=np.float32).reshape(1, 2, 4, 3),
        "taps/b": np.ones((1, 2), np.float64),
        "taps/a": np.zeros((3,), np.float32),
        "labels/logit_size": np.array([[[1, 2]]], np.int32),
    }


def test_round_trip_keeps_values_order_and_manifest(tmp_path):
    save_result(tmp_path / "r", MANIFEST, arrays())
    loaded = load_result(tmp_path / "r")
    assert loaded.manifest == MANIFEST
    # Taps are listed in the order of the forward pass, in which they need not have come.
    assert list(loaded.arrays) == ["pixels", "taps/a", "taps/b", "labels/logit_size"]
    for name, value in arrays().items():
        np.testing.assert_array_equal(loaded.arrays[name], value)
        assert loaded.arrays[name].dtype == value.dtype
    assert loaded.tap_names == ["a", "b"]
    np.testing.assert_array_equal(loaded.tap("b"), arrays()["taps/b"])


def test_arrays_may_be_read_by_whoever_may_read_the_manifest(tmp_path):
    save_result(tmp_path / "r", MANIFEST, arrays())
    assert len({path.stat().st_mode for path in (tmp_path / "r").iterdir()}) == 1


def test_saving_empties_the_dict(tmp_path):
    given = arrays()
    save_result(tmp_path / "r", MANIFEST, given)
    assert given == {}


def test_shards(tmp_path, monkeypatch):
    monkeypatch.setattr(result_writer, "SHARD_BYTES", 20)
    result = save_result(tmp_path / "r", MANIFEST, arrays())
    assert len(list((tmp_path / "r").glob("*.safetensors"))) == 3
    for name, value in arrays().items():
        np.testing.assert_array_equal(result.arrays[name], value)


def test_arrays_that_are_views_are_saved_right(tmp_path):
    whole = np.arange(24.0).reshape(2, 3, 4)
    result = save_result(tmp_path / "r", MANIFEST, {"logits": whole.transpose(2, 0, 1)})
    np.testing.assert_array_equal(result.arrays["logits"], whole.transpose(2, 0, 1))


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{"),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: edit(folder, format=99),
        lambda folder: edit(folder, surprise=1),
        lambda folder: edit(folder, arrays={"logits": "../secret.safetensors"}),
    ],
)
def test_a_damaged_result_is_refused(tmp_path, damage):
    save_result(tmp_path / "r", MANIFEST, arrays())
    damage(tmp_path / "r")
    with pytest.raises(ResultError, match=r"manifest|complete"):
        load_result(tmp_path / "r")


def edit(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_truncated_array_file_is_refused(tmp_path):
    save_result(tmp_path / "r", MANIFEST, arrays())
    (path,) = (tmp_path / "r").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ResultError, match=r"cannot read pixels"):
        _ = load_result(tmp_path / "r").arrays["pixels"]


@pytest.mark.parametrize("what", ["input_sha256", "checkpoint_sha256", "image_sha256"])
def test_results_of_different_origin_are_refused(what):
    left = Manifest("torch_ref", "float32", **{what: "1" * 64})
    right = Manifest("tf_segformer", "float32", **{what: "2" * 64})
    with pytest.raises(ResultError, match=what):
        require_same_input(left, right)


def test_results_of_different_dtype_are_refused():
    with pytest.raises(ResultError, match="float64"):
        require_same_input(Manifest("a", "float32"), Manifest("b", "float64"))


def test_hash_depends_on_values_shape_and_dtype(tmp_path):
    array = np.zeros((2, 3), np.float32)
    variants = [array, array.reshape(3, 2), array.astype(np.int32), array + 1]
    assert len({sha256_of([each]) for each in variants}) == 4
    assert sha256_of([array]) == sha256_of([array.copy()])


def test_weight_files(tmp_path):
    for name in ("b.bin", "a.safetensors", "config.json"):
        (tmp_path / name).write_bytes(b"x")
    assert [path.name for path in weight_files(tmp_path)] == ["a.safetensors", "b.bin"]
    assert weight_files(tmp_path / "none") == []


def test_plain_is_strict_json():
    values = {"a": (1, np.float64("nan")), "b": np.int64(3), "c": [float("inf"), 2.5, None, True]}
    text = json.dumps(plain(values), allow_nan=False)
    assert json.loads(text) == {"a": [1, None], "b": 3, "c": [None, 2.5, None, True]}
