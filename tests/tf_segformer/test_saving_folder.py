"""What becomes of a folder's earlier files, and arguments that `save_pretrained` refuses."""

import filecmp
import shutil

import pytest
import tensorflow as tf

from tests.tf_segformer.saving_cases import (
    FORMATS,
    SEGMENTATION,
    assert_same_weights,
    contents,
    names,
)
from tf_segformer import (
    TFSegformerForSemanticSegmentation,
)
from tf_segformer.checkpoints import CheckpointError
from tf_segformer.weight_writing import size_in_bytes


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


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
