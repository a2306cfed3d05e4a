"""The arguments of `from_pretrained` on local folders, and which of several files is read."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import BertConfig, SegformerConfig

from tf_segformer import TFSegformerForImageClassification, TFSegformerForSemanticSegmentation
from tf_segformer.atomic_folder import COMPLETE
from tf_segformer.checkpoint_files import FORMATS, is_index, weights_files, weights_format
from tf_segformer.checkpoints import CheckpointError, CheckpointNotFoundError, ConfigError

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
CLASSIFICATION = FIXTURES / "classification_tiny"
load = TFSegformerForSemanticSegmentation.from_pretrained


@pytest.fixture(scope="module")
def expected():
    return load(SEGMENTATION)


def copy(folder, *names, source=SEGMENTATION):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", *names):
        shutil.copy(source / name, folder / Path(name).name)
    return folder


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


def assert_same_weights(one, other):
    for left, right in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.fixture(scope="module")
def all_formats(tmp_path_factory):
    """A folder with each format; they hold other weights, so that it shows which was read."""
    folder = copy(tmp_path_factory.mktemp("order"))
    model = load(SEGMENTATION)
    saves = {
        "tf_model.h5": {},
        "model.keras": {"file_format": "keras"},
        "model.safetensors": {"to_pt": True},
    }
    for value, (name, arguments) in enumerate(saves.items(), start=1):
        model.decode_head.classifier.bias.assign(np.full(11, value))
        model.save_pretrained(folder / "save", **arguments)
        shutil.move(folder / "save" / name, folder)
        shutil.rmtree(folder / "save")
    state = torch.load(SEGMENTATION / "pytorch_model.bin", weights_only=True)
    state["decode_head.classifier.bias"] = torch.full((11,), 4.0)
    torch.save(state, folder / "pytorch_model.bin")
    return folder


class TestOrder:
    @pytest.mark.parametrize(
        ("arguments", "read"),
        [
            ({}, "model.safetensors"),
            ({"use_safetensors": True}, "model.safetensors"),
            ({"use_safetensors": False}, "tf_model.h5"),
            ({"from_pt": True}, "model.safetensors"),
            ({"from_pt": True, "use_safetensors": False}, "pytorch_model.bin"),
            ({"from_pt": False, "use_safetensors": False}, "tf_model.h5"),
        ],
    )
    def test_which_is_read(self, all_formats, arguments, read):
        marks = {"tf_model.h5": 1, "model.keras": 2, "model.safetensors": 3, "pytorch_model.bin": 4}
        assert load(all_formats, **arguments).decode_head.classifier.bias.numpy()[0] == marks[read]

    def test_from_pt_passes_over_safetensors_in_tensorflows_layout(self, tmp_path):
        folder = copy(tmp_path, "tf_safetensors/model.safetensors")
        load(folder)
        with pytest.raises(CheckpointNotFoundError, match="holds no PyTorch weights") as error:
            load(folder, from_pt=True)
        assert "\n" not in str(error.value)
        copy(tmp_path, "pytorch_model.bin")
        load(folder, from_pt=True)

    def test_documented(self):
        order = (Path(__file__).parents[2] / "docs" / "loading-and-saving.md").read_text()
        positions = [order.index(f"`{name}`") for name in FORMATS]
        assert positions == sorted(positions)

    def test_names(self):
        names = weights_files(variant="fp16")
        assert names[:3] == (
            "model.fp16.safetensors",
            "model.safetensors.index.fp16.json",
            "tf_model.fp16.h5",
        )
        assert is_index("model.safetensors.index.fp16.json") and not is_index("config.json")
        assert weights_format("model-00001-of-00002.safetensors") == "model.safetensors"
        assert weights_format("tf_model.h5.index.json") == "tf_model.h5"
        for other in (
            "config.json",
            "my_model.safetensors",
            "model.safetensors.replaced",
            "model.fp16.safetensors",
        ):
            assert weights_format(other) is None


class TestConfig:
    @pytest.mark.parametrize("form", ["object", "dict", "file", "folder", "path"])
    def test_forms(self, tmp_path, form):
        folder = edit_config(copy(tmp_path), semantic_loss_ignore_index=7)
        fields = json.loads((folder / "config.json").read_text())
        config = {
            "object": SegformerConfig.from_dict(fields),
            "dict": fields,
            "file": str(folder / "config.json"),
            "folder": str(folder),
            "path": folder,
        }[form]
        model = load(SEGMENTATION, config=config)
        assert model.config.semantic_loss_ignore_index == 7
        model = load(SEGMENTATION, config=config, semantic_loss_ignore_index=8)
        assert model.config.semantic_loss_ignore_index == 8
        if form == "object":
            assert config.semantic_loss_ignore_index == 7

    def test_of_another_architecture(self, tmp_path):
        with pytest.raises(
            ConfigError, match=r"config is a BertConfig \(model_type 'bert'\); expected a Segf"
        ):
            load(SEGMENTATION, config=BertConfig())
        folder = edit_config(copy(tmp_path), model_type="bert")
        with pytest.raises(ConfigError, match="model of type 'bert'; expected 'segformer'"):
            load(SEGMENTATION, config=folder)
        with pytest.raises(ConfigError, match="model of type 'bert'; expected 'segformer'"):
            load(SEGMENTATION, config={"model_type": "bert"})
        with pytest.raises(ConfigError, match="The config is not a valid SegFormer config"):
            load(SEGMENTATION, config={"hidden_sizes": "wide"})
        with pytest.raises(ConfigError, match="config is a int"):
            load(SEGMENTATION, config=3)

    def test_overrides(self):
        model = load(SEGMENTATION, output_hidden_states=True, return_dict=False, drop_path_rate=0.3)
        assert model.config.output_hidden_states
        assert model.config.drop_path_rate == 0.3
        assert isinstance(model(np.zeros((1, 3, 64, 64), "float32")), tuple)
        names = {index: f"name {index}" for index in range(11)}
        model = load(SEGMENTATION, id2label=names)
        assert model.config.id2label == names
        assert model.config.label2id == {name: index for index, name in names.items()}
        assert load(SEGMENTATION, num_labels=11).config.id2label[3] == "class_3"

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            (
                {"num_label": 3},
                TypeError,
                r"got num_label=3, which is neither .* Did you mean 'num_labels'\?",
            ),
            ({"local_file_only": True}, TypeError, r"Did you mean 'local_files_only'\?"),
            (
                {"num_labels": 3, "id2label": {0: "a"}},
                ConfigError,
                "num_labels=3 and an id2label of 1 names disagree",
            ),
            ({"num_labels": 0}, ConfigError, "num_labels is 0"),
            ({"num_labels": "many"}, ConfigError, "is not a valid SegFormer config"),
            ({"depths": [1, 2]}, ConfigError, "num_encoder_blocks is 4, but depths has 2"),
        ],
    )
    def test_overrides_that_cannot_be(self, arguments, error, message):
        with pytest.raises(error, match=message):
            load(SEGMENTATION, **arguments)

    def test_arguments_without_effect_are_taken(self, expected):
        model = load(
            SEGMENTATION, resume_download=True, mirror="x", trust_remote_code=True, token="x", revision="y"
        )
        assert_same_weights(model, expected)


class TestMismatch:
    def test_is_an_error_that_says_what_to_do(self):
        with pytest.raises(
            CheckpointError, match=r"≠ decode_head.classifier.weight: found \(11, 16, 1, 1\)"
        ) as error:
            load(SEGMENTATION, num_labels=19)
        assert "ignore_mismatched_sizes=True" in str(error.value)

    @pytest.mark.parametrize("form", [".", "tf_h5", "tf_safetensors", "sharded_bin"])
    def test_ignored_with_one_warning(self, expected, form):
        with pytest.warns(UserWarning, match="These weights are new and need training") as caught:
            model, info = load(
                SEGMENTATION / form,
                num_labels=19,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                from_pt=True if form == "sharded_bin" else None,
            )
        assert len(caught) == 1
        assert Path(caught[0].filename) == Path(__file__)
        assert info == {
            "missing_keys": [],
            "unexpected_keys": [],
            "mismatched_keys": [
                ("decode_head.classifier.weight", (11, 16, 1, 1), (19, 16, 1, 1)),
                ("decode_head.classifier.bias", (11,), (19,)),
            ],
        }
        kernel = model.decode_head.classifier.kernel.numpy()
        assert 0.01 < kernel.std() < 0.03  # the reference's normal(0.02)
        assert not model.decode_head.classifier.bias.numpy().any()
        np.testing.assert_array_equal(
            model.decode_head.linear_fuse.kernel, expected.decode_head.linear_fuse.kernel
        )


class TestLoadingInfo:
    def test_everything_fits(self, expected):
        model, info = load(SEGMENTATION, output_loading_info=True)
        assert info == {"missing_keys": [], "unexpected_keys": [], "mismatched_keys": []}
        assert_same_weights(model, expected)

    def test_a_classifier_into_a_segmenter(self):
        with pytest.warns(UserWarning, match="without the head"):
            _, info = load(CLASSIFICATION, output_loading_info=True)
        assert all(key.startswith("decode_head.") for key in info["missing_keys"])
        assert len(info["missing_keys"]) == 15
        assert info["unexpected_keys"] == ["classifier.bias", "classifier.weight"]


class TestPlaces:
    def test_subfolder(self, tmp_path, expected):
        copy(tmp_path / "small", "model.safetensors")
        assert_same_weights(load(tmp_path, subfolder="small"), expected)
        with pytest.raises(CheckpointNotFoundError, match="has no subfolder 'large'; it has small") as error:
            load(tmp_path, subfolder="large")
        assert isinstance(error.value, OSError)

    def test_variant(self, tmp_path, expected):
        copy(tmp_path, "model.safetensors")
        with pytest.raises(
            CheckpointNotFoundError, match=r"variant 'fp16'; expected .* It has model.safetensors"
        ):
            load(tmp_path, variant="fp16")
        (tmp_path / "model.safetensors").rename(tmp_path / "model.fp16.safetensors")
        assert_same_weights(load(tmp_path, variant="fp16"), expected)
        with pytest.raises(CheckpointNotFoundError, match="holds no weights"):
            load(tmp_path)

    @pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_h5/tf_model.h5"])
    def test_one_file(self, tmp_path, expected, name):
        file = tmp_path / f"renamed{Path(name).suffix}"
        shutil.copy(SEGMENTATION / name, file)
        assert_same_weights(load(file, config=SEGMENTATION / "config.json"), expected)
        with pytest.raises(CheckpointNotFoundError, match=r"holds no config\.json"):
            load(file)
        copy(tmp_path)
        assert_same_weights(load(str(file)), expected)

    def test_one_file_that_holds_no_weights(self, tmp_path):
        (tmp_path / "model.onnx").write_text("x")
        with pytest.raises(CheckpointNotFoundError, match="is a file; expected the folder"):
            load(tmp_path / "model.onnx")

    def test_an_interrupted_save_is_read_from_where_it_is_complete(self, tmp_path, expected):
        copy(tmp_path, "model.safetensors")
        new = TFSegformerForSemanticSegmentation(expected.config)
        new.save_pretrained(tmp_path / COMPLETE)
        assert_same_weights(load(tmp_path), expected)
        (tmp_path / "config.json").unlink()
        assert_same_weights(load(tmp_path), new)
        assert_same_weights(load(tmp_path, config=expected.config), new)


def test_every_fixture_of_the_classifier_gives_its_logits():
    expected = np.load(CLASSIFICATION / "expected.npz")
    for folder in (CLASSIFICATION, CLASSIFICATION / "tf_h5"):
        model = TFSegformerForImageClassification.from_pretrained(folder)
        np.testing.assert_allclose(
            model(expected["pixel_values"]).logits, expected["logits"], rtol=0, atol=2e-6
        )


def test_an_index_too_large_to_be_one(tmp_path, monkeypatch):
    folder = shutil.copytree(SEGMENTATION / "sharded_safetensors", tmp_path / "x")
    monkeypatch.setattr("tf_segformer.checkpoints._MAX_INDEX_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger than 100 bytes"):
        load(folder)


def test_mit_into_a_segmentation_model(tmp_path):
    """An encoder alone, as `nvidia/mit-b*`: a new decode head, one warning that names it."""
    values = load_file(CLASSIFICATION / "model.safetensors")
    folder = copy(tmp_path, source=CLASSIFICATION)
    save_file(values, folder / "model.safetensors", {"format": "pt"})
    with pytest.warns(UserWarning, match=r"decode_head\.classifier\.weight") as caught:
        model = load(folder, num_labels=19)
    assert len(caught) == 1
    for layer in (
        model.decode_head.classifier,
        model.decode_head.linear_fuse,
        model.decode_head.linear_c[3].proj,
    ):
        assert 0.015 < layer.kernel.numpy().std() < 0.025
        assert layer.bias is None or not layer.bias.numpy().any()
