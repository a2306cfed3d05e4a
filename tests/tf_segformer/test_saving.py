"""What `save_pretrained` writes: each format loads again with the same values, and PyTorch reads its own."""

import filecmp
import io
import json
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tf_segformer import (
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
)
from tf_segformer.checkpoints import CheckpointError
from tf_segformer.weight_writing import size_in_bytes
from tf_segformer.weights import state_dict

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
CLASSIFICATION = FIXTURES / "classification_tiny"
LOGITS_TOLERANCE = 2e-6

FORMATS = {
    "h5": {},
    "h5 sharded": {"max_shard_size": "60KB"},
    "tf safetensors": {"safe_serialization": True},
    "tf safetensors sharded": {"safe_serialization": True, "max_shard_size": 60_000},
    "pt safetensors": {"to_pt": True},
    "pt safetensors sharded": {"to_pt": True, "max_shard_size": "60KB"},
    "keras": {"file_format": "keras"},
}
CLASSES = {
    TFSegformerForSemanticSegmentation: SEGMENTATION,
    TFSegformerForImageClassification: CLASSIFICATION,
    TFSegformerModel: SEGMENTATION,
}


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_same_weights(one, other):
    paths = [
        [weight.path.removeprefix(f"{model.path}/") for weight in model.weights] for model in (one, other)
    ]
    assert paths[0] == paths[1]
    for left, right in zip(one.weights, other.weights, strict=True):
        assert left.dtype == right.dtype
        assert left.numpy().tobytes() == right.numpy().tobytes(), left.path


def contents(folder):
    """The folder's bytes, without .keras files: they hold the time and numbered names of layers."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".keras"}


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


def test_a_keras_file_loads_by_keras_too(tmp_path, model):
    model.save_pretrained(tmp_path, file_format="keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert_same_weights(model, again)


def rewrite(path, **changes):
    """Change members of a zip file by functions of their bytes."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        name = {"config": "config.json", "weights": "model.weights.h5"}[name]
        members[name] = change(members[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_keras_file_without_some_of_its_weights(tmp_path, model):
    """Keras only warns then, and leaves the layers as they were made."""

    def without_a_stage(data):
        buffer = io.BytesIO(data)
        with h5py.File(buffer, "r+") as file:
            names = []
            file.visit(names.append)
            del file[next(name for name in names if name.rpartition("/")[2].startswith("container"))]
        return buffer.getvalue()

    model.save_pretrained(tmp_path, file_format="keras")
    rewrite(tmp_path / "model.keras", weights=without_a_stage)
    with pytest.raises(CheckpointError, match=r"not a readable \.keras file .* UserWarning"):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda fields: fields.update(registered_name="builtins>eval"),
            "class 'builtins>eval'; expected one",
        ),
        (lambda fields: fields["config"].pop("config"), "is not a readable .keras file"),
        (lambda fields: fields.clear(), "is not a readable .keras file"),
        (lambda fields: fields["config"]["config"].update(hidden_sizes=[8, 16, 24, 64]), "not a readable"),
    ],
)
def test_keras_files_of_others_are_refused(tmp_path, model, change, message):
    model.save_pretrained(tmp_path, file_format="keras")

    def changed(data):
        fields = json.loads(data)
        change(fields)
        return json.dumps(fields).encode()

    rewrite(tmp_path / "model.keras", config=changed)
    with pytest.raises(CheckpointError, match=message):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
    (tmp_path / "model.keras").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(CheckpointError, match=r"not a readable \.keras file"):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)


# pytest.warns gives other warnings on without the module that the configured exception names
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("h5 sharded", "h5"),
        ("pt safetensors sharded", "tf safetensors"),
        ("tf safetensors", "pt safetensors sharded"),
        ("tf safetensors sharded", "h5 sharded"),
        ("keras", "h5"),
        ("h5 sharded", "keras"),
    ],
)
def test_nothing_of_an_earlier_save_is_left_over(tmp_path, model, first, second):
    fresh, folder = tmp_path / "fresh", tmp_path / "folder"
    model.save_pretrained(fresh, **FORMATS[second])
    TFSegformerForSemanticSegmentation(model.config).save_pretrained(folder, **FORMATS[first])
    (folder / "preprocessor_config.json").write_text("{}")
    before, kind = set(names(folder)), _suffix(FORMATS[second])
    if _suffix(FORMATS[first]) == kind:
        model.save_pretrained(folder, **FORMATS[second])
        set_aside = set()
    else:
        with pytest.warns(UserWarning, match=r"held other weights.*now end in \.replaced"):
            model.save_pretrained(folder, **FORMATS[second])
        set_aside = {f"{name}.replaced" for name in before if not name.endswith("config.json")}
    assert set(names(folder)) == {*names(fresh), *set_aside, "preprocessor_config.json"}
    for use_safetensors in (None, kind == "safetensors"):
        again = TFSegformerForSemanticSegmentation.from_pretrained(folder, use_safetensors=use_safetensors)
        assert_same_weights(model, again)


def _suffix(arguments):
    if "file_format" in arguments:
        return "keras"
    return "safetensors" if "to_pt" in arguments or "safe_serialization" in arguments else "h5"


def test_the_same_weights_in_another_format_stay(tmp_path):
    """The documented way to add TensorFlow weights to a PyTorch checkpoint."""
    for name in ("config.json", "model.safetensors", "pytorch_model.bin"):
        shutil.copy(SEGMENTATION / name, tmp_path)
    model = TFSegformerForSemanticSegmentation.from_pretrained(tmp_path, from_pt=True)
    model.save_pretrained(tmp_path)
    assert names(tmp_path) == ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"]

    model.decode_head.classifier.bias.assign_add(tf.ones(11))
    with pytest.warns(
        UserWarning, match=r"held other weights.*model\.safetensors, pytorch_model\.bin"
    ) as caught:
        model.save_pretrained(tmp_path)
    assert len(caught) == 1
    again = TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
    assert_same_weights(model, again)
    with pytest.raises(CheckpointError, match="holds no PyTorch weights"):
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path, from_pt=True)
    assert filecmp.cmp(
        tmp_path / "pytorch_model.bin.replaced", SEGMENTATION / "pytorch_model.bin", shallow=False
    )


def test_the_config_goes_with_the_weights(tmp_path):
    names_of_labels = {0: "wall", 1: "sky"}
    with pytest.warns(UserWarning, match=r"decode_head\.classifier\.weight \(11, 16, 1, 1\)"):
        model = TFSegformerForSemanticSegmentation.from_pretrained(
            SEGMENTATION, id2label=names_of_labels, ignore_mismatched_sizes=True
        )
    architectures = list(model.config.architectures)
    model.save_pretrained(tmp_path)
    again = TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)
    assert again.config.id2label == names_of_labels
    assert again.config.label2id == {"wall": 0, "sky": 1}
    assert_same_weights(model, again)
    assert model.config.architectures == architectures  # saving does not change the model


class TestSavedModel:
    def test_any_size_and_the_same_numbers(self, tmp_path, model):
        model.save_pretrained(tmp_path, saved_model=True, version=3)
        served = tf.saved_model.load(tmp_path / "saved_model" / "3").signatures["serving_default"]
        for size in ((1, 3, 64, 64), (2, 3, 50, 70)):
            x = np.random.default_rng(0).normal(size=size).astype("float32")
            outputs = served(pixel_values=tf.constant(x))
            assert list(outputs) == ["logits"]
            np.testing.assert_allclose(outputs["logits"], model(x).logits, rtol=0, atol=LOGITS_TOLERANCE)
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)

    def test_a_version_is_replaced_and_others_stay(self, tmp_path, model, monkeypatch):
        def write(_, folder, signatures):
            (folder / "variables").mkdir(parents=True)
            (folder / "saved_model.pb").write_text(str(signatures))

        monkeypatch.setattr("tf_segformer.saved_models.write_saved_model", write)
        model.save_pretrained(tmp_path, saved_model=True, version=1)
        model.save_pretrained(tmp_path, saved_model=True, version=2)
        (tmp_path / "saved_model" / "2" / "stale").touch()
        model.save_pretrained(tmp_path, saved_model=True, version=2)
        model.save_pretrained(tmp_path)
        assert names(tmp_path / "saved_model") == ["1", "2"]
        assert names(tmp_path / "saved_model" / "2") == ["saved_model.pb", "variables"]
        assert names(tmp_path) == ["config.json", "saved_model", "tf_model.h5"]

    def test_own_signatures(self, tmp_path, model):
        @tf.function(input_signature=[tf.TensorSpec((None, 3, 64, 64), tf.float32, name="pixels")])
        def labels(pixels):
            return {"labels": tf.argmax(model(pixels).logits, axis=1)}

        model.save_pretrained(tmp_path, saved_model=True, signatures={"serving_default": labels})
        served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures["serving_default"]
        assert served(pixels=tf.zeros((1, 3, 64, 64)))["labels"].shape == (1, 16, 16)
        with pytest.raises(ValueError, match=r"signatures\['x'\] is a int; expected a tf.function"):
            model.save_pretrained(tmp_path / "bad", saved_model=True, signatures={"x": 1})
        assert not (tmp_path / "bad").exists()

    def test_the_classifier_and_hidden_states(self, tmp_path):
        model = TFSegformerForImageClassification.from_pretrained(CLASSIFICATION, output_hidden_states=True)
        model.save_pretrained(tmp_path, saved_model=True)
        served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures["serving_default"]
        outputs = served(pixel_values=tf.zeros((1, 3, 64, 64)))
        assert sorted(outputs) == [*(f"hidden_states_{index}" for index in range(4)), "logits"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"file_format": "pickle"},
            ValueError,
            "file_format is 'pickle'; expected one of h5, safetensors, keras",
        ),
        ({"file_format": "h5", "to_pt": True}, ValueError, "to_pt=True writes safetensors"),
        ({"file_format": "keras", "safe_serialization": True}, ValueError, "means safetensors"),
        ({"max_shard_size": "many"}, ValueError, "max_shard_size is 'many'; expected a positive number"),
        ({"max_shard_size": 0}, ValueError, "max_shard_size is 0"),
        ({"file_format": "keras", "max_shard_size": "1KB"}, ValueError, "cannot be sharded"),
        ({"saved_model": True, "version": "one"}, ValueError, "version is 'one'"),
        (
            {"save_everything": True},
            TypeError,
            "save_pretrained.. got save_everything; expected commit_message",
        ),
    ],
)
def test_arguments_that_cannot_be(tmp_path, model, arguments, error, message):
    with pytest.raises(error, match=message):
        model.save_pretrained(tmp_path / "folder", **arguments)
    assert not (tmp_path / "folder").exists()


def test_a_file_is_no_folder(tmp_path, model):
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(NotADirectoryError, match="file, which is a file; expected the path of a folder"):
        model.save_pretrained(file)
    assert file.read_text() == "mine"


def test_a_folder_that_cannot_be_written_keeps_its_model(tmp_path, model, monkeypatch):
    model.save_pretrained(tmp_path, safe_serialization=True)
    before = contents(tmp_path)
    other = TFSegformerForSemanticSegmentation(model.config)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tf_segformer.weight_writing.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        other.save_pretrained(tmp_path, safe_serialization=True)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("5GB", 5 * 10**9),
        ("200 mb", 2 * 10**8),
        ("1KiB", 1024),
        (7, 7),
        ("12", 12),
        ("3B", 3),
        ("2GiB", 2**31),
    ],
)
def test_sizes(text, size):
    assert size_in_bytes(text) == size


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
