"""What `save_pretrained` writes: each format loads again with the same values, and PyTorch reads its own."""

import filecmp
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.tf_segformer.saving_cases import (
    CLASSES,
    CLASSIFICATION,
    FORMATS,
    LOGITS_TOLERANCE,
    SEGMENTATION,
    assert_same_weights,
    contents,
    names,
)
from tf_segformer import (
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
)
from tf_segformer.weights import state_dict


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


@pytest.mark.parametrize("arguments", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("model_class", CLASSES, ids=lambda cls: cls.__name__)
def test_save_load_save_is_stable(tmp_path, model_class, arguments):
    model = model_class.from_pretrained(CLASSES[model_class])
    model.save_pretrained(tmp_path / "first", **arguments)
    again, info = model_class.from_pretrained(tmp_path / "first", output_loading_info=True)
    assert not any(info.values())
    assert_same_weights(model, again)
    again.save_pretrained(tmp_path / "second", **arguments)
    assert contents(tmp_path / "second") == contents(tmp_path / "first")
    assert_same_weights(model, model_class.from_pretrained(tmp_path / "second"))
    if arguments.get("max_shard_size"):
        assert len(names(tmp_path / "first")) > 4


@pytest.mark.parametrize("arguments", FORMATS.values(), ids=FORMATS)
def test_outputs_after_saving_equal_pytorch(tmp_path, model, arguments):
    expected = np.load(SEGMENTATION / "expected.npz")
    model.save_pretrained(tmp_path, **arguments)
    again = TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
    for case in ("0", "1", "2"):
        logits = again(expected[f"{case}/pixel_values"]).logits
        np.testing.assert_allclose(logits, expected[f"{case}/logits"], rtol=0, atol=LOGITS_TOLERANCE)


def test_safetensors_are_the_reference_files_to_the_byte(tmp_path, model):
    model.save_pretrained(tmp_path / "pt", to_pt=True)
    assert filecmp.cmp(tmp_path / "pt/model.safetensors", SEGMENTATION / "model.safetensors", shallow=False)
    model.save_pretrained(tmp_path / "tf", safe_serialization=True)
    legacy = SEGMENTATION / "tf_safetensors" / "model.safetensors"
    assert filecmp.cmp(tmp_path / "tf/model.safetensors", legacy, shallow=False)


def test_safetensors_may_be_read_by_whoever_may_read_the_config(tmp_path, model):
    model.save_pretrained(tmp_path, to_pt=True)
    weights, config = (tmp_path / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == config.stat().st_mode


@pytest.mark.parametrize("fixture", [SEGMENTATION, CLASSIFICATION])
def test_h5_is_laid_out_as_the_legacy_class_does(tmp_path, fixture):
    kind = (
        TFSegformerForSemanticSegmentation if fixture == SEGMENTATION else TFSegformerForImageClassification
    )
    kind.from_pretrained(fixture).save_pretrained(tmp_path)
    with h5py.File(tmp_path / "tf_model.h5") as ours, h5py.File(fixture / "tf_h5/tf_model.h5") as legacy:
        assert list(ours.attrs["layer_names"]) == list(legacy.attrs["layer_names"])
        assert set(ours.attrs) == set(legacy.attrs)
        assert list(ours) == list(legacy)
        for layer in legacy:
            # the order counts too: Keras 2's load_weights goes by nothing else
            assert list(ours[layer].attrs["weight_names"]) == list(legacy[layer].attrs["weight_names"])
            for name in legacy[layer].attrs["weight_names"]:
                np.testing.assert_array_equal(ours[layer][name][()], legacy[layer][name][()])


def test_the_index_of_h5_shards_is_the_legacy_one(tmp_path, model):
    model.save_pretrained(tmp_path, max_shard_size="60KB")
    legacy = SEGMENTATION / "tf_h5_sharded" / "tf_model.h5.index.json"
    assert json.loads((tmp_path / legacy.name).read_text()) == json.loads(legacy.read_text())


@pytest.mark.parametrize("arguments", [{}, {"max_shard_size": "60KB"}], ids=["whole", "sharded"])
@pytest.mark.parametrize("model_class", CLASSES, ids=lambda cls: cls.__name__)
def test_pytorch_loads_what_to_pt_writes(tmp_path, model_class, arguments):
    import transformers

    reference_class = getattr(transformers, model_class.__name__.removeprefix("TF"))
    model_class.from_pretrained(CLASSES[model_class]).save_pretrained(tmp_path, to_pt=True, **arguments)
    loaded, info = reference_class.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values()), info
    source = reference_class.from_pretrained(CLASSES[model_class])
    if not arguments:  # the same keys, a bare model's without the prefix, and the same bits
        source.save_pretrained(tmp_path / "reference")
        ours, theirs = (
            load_file(folder / "model.safetensors") for folder in (tmp_path, tmp_path / "reference")
        )
        assert set(ours) == set(theirs)
        assert all(ours[key].tobytes() == theirs[key].tobytes() for key in theirs)
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype("float32"))
    with torch.no_grad():
        assert torch.equal(loaded.eval()(x)[0], source.eval()(x)[0])
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [reference_class.__name__]


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_pytorch_to_keras_to_pytorch_is_bit_identical(tmp_path, file):
    shutil.copy(SEGMENTATION / "config.json", tmp_path)
    state = load_file(SEGMENTATION / "model.safetensors")
    state["decode_head.batch_norm.num_batches_tracked"] = np.array(160_000)
    if file.endswith(".bin"):
        torch.save({key: torch.from_numpy(np.array(value)) for key, value in state.items()}, tmp_path / file)
    else:
        save_file(state, tmp_path / file, {"format": "pt"})
    TFSegformerForSemanticSegmentation.from_pretrained(tmp_path).save_pretrained(
        tmp_path / "back", to_pt=True
    )
    back = load_file(tmp_path / "back" / "model.safetensors")
    assert set(back) == set(state)
    for key, value in state.items():
        assert (back[key].dtype, back[key].shape) == (value.dtype, value.shape), key
        assert back[key].tobytes() == value.tobytes(), key
    with safe_open(tmp_path / "back" / "model.safetensors", "np") as opened:
        assert opened.metadata() == {"format": "pt"}


@pytest.mark.parametrize(
    ("dtype", "form"),
    [
        ("float64", "h5"),
        ("float16", "h5 sharded"),
        ("bfloat16", "h5"),
        ("mixed_bfloat16", "h5"),
        ("float64", "pt safetensors"),
        ("bfloat16", "pt safetensors"),
        ("float16", "tf safetensors"),
        ("float64", "keras"),
        ("bfloat16", "keras"),
    ],
)
def test_other_precisions(tmp_path, dtype, form):
    model = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, dtype=dtype)
    model.save_pretrained(tmp_path, **FORMATS[form])
    again = TFSegformerForSemanticSegmentation.from_pretrained(tmp_path, dtype=dtype)
    assert_same_weights(model, again)
    stored = json.loads((tmp_path / "config.json").read_text())["dtype"]
    assert stored == {"mixed_bfloat16": "float32"}.get(dtype, dtype)


def test_a_compiled_and_trained_model_is_saved_without_its_optimizer(tmp_path, model):
    config = model.config
    trained = TFSegformerForSemanticSegmentation(config)
    trained.compile(keras.optimizers.Adam(), loss=lambda labels, output: tf.reduce_mean(output.logits))
    trained.segformer.trainable = False
    trained.save_pretrained(tmp_path / "keras", file_format="keras")
    with zipfile.ZipFile(tmp_path / "keras" / "model.keras") as archive:
        assert b"adam" not in archive.read("config.json").lower()
        assert b"optimizer" not in archive.read("model.weights.h5")
    for arguments in (FORMATS["h5"], FORMATS["pt safetensors"]):
        trained.save_pretrained(tmp_path / "x", **arguments)
        assert_same_weights(trained, TFSegformerForSemanticSegmentation.from_pretrained(tmp_path / "x"))
        shutil.rmtree(tmp_path / "x")


def test_names_in_attributes_are_split_like_keras_does(tmp_path, model, monkeypatch):
    """An HDF5 attribute holds 64 KiB; a deep model has more names than that."""
    monkeypatch.setattr("tf_segformer.weight_writing._NAMES_PER_ATTRIBUTE", 10)
    model.save_pretrained(tmp_path)
    with h5py.File(tmp_path / "tf_model.h5") as file:
        assert "weight_names0" in file["segformer"].attrs
        assert "weight_names" not in file["segformer"].attrs
    assert_same_weights(model, TFSegformerForSemanticSegmentation.from_pretrained(tmp_path))


def test_a_subclass_is_saved_as_the_class_it_derives_from(tmp_path, model):
    class Mine(TFSegformerForSemanticSegmentation):
        pass

    mine = Mine.from_pretrained(SEGMENTATION)
    for arguments in (FORMATS["h5"], FORMATS["pt safetensors"], FORMATS["keras"]):
        mine.save_pretrained(tmp_path / "x", **arguments)
        assert_same_weights(model, TFSegformerForSemanticSegmentation.from_pretrained(tmp_path / "x"))
        stored = json.loads((tmp_path / "x" / "config.json").read_text())
        assert stored["architectures"] == ["SegformerForSemanticSegmentation"]
        shutil.rmtree(tmp_path / "x")
    assert state_dict(mine).keys() == state_dict(model).keys()
