"""Damaged, foreign and missing checkpoint files each give one clear error."""

import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tf_segformer import TFSegformerForImageClassification, TFSegformerForSemanticSegmentation
from tf_segformer.checkpoints import CheckpointError, ConfigError

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
load = TFSegformerForSemanticSegmentation.from_pretrained


def checkpoint(tmp_path, *names, source=SEGMENTATION):
    """A copy of some of a fixture's files, with its config."""
    for name in ("config.json", *names):
        shutil.copy(source / name, tmp_path / name)
    return tmp_path


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return folder


def assert_one_paragraph(error, *words):
    message = str(error.value)
    assert "\n\n" not in message
    assert len(message) < 900
    for word in words:
        assert str(word) in message, message


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tf_h5/tf_model.h5"])
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda data: b"", "is empty (0 bytes)"),
        (lambda data: data[: len(data) // 2], "is not a readable"),
        (lambda data: data[:7], "is not a readable"),
        (
            lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "Git LFS pointer",
        ),
        (lambda data: b"<html>404 Not Found</html>", "fetch it again"),
        (lambda data: b"\xff" * 4096, "is not a readable"),
    ],
    ids=["empty", "half", "seven bytes", "lfs pointer", "error page", "noise"],
)
def test_damaged_files(tmp_path, name, damage, word):
    folder = checkpoint(tmp_path)
    file = folder / Path(name).name
    file.write_bytes(damage((SEGMENTATION / name).read_bytes()))
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, file, word)


def test_a_pickle_that_runs_code_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "owned"), "w"))

    folder = checkpoint(tmp_path)
    torch.save({"weight": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, "pytorch_model.bin")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError):
        load(folder)
    assert not (tmp_path / "owned").exists()


def test_a_training_checkpoint_is_not_a_state_dict(tmp_path):
    folder = checkpoint(tmp_path)
    torch.save({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, "not a state dict")


def test_missing_folder_config_and_weights(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no config.json"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load(checkpoint(tmp_path))
    with pytest.raises(CheckpointError, match="is a file"):
        load(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="neither a folder"):
        load("./no/such/folder/anywhere")


def test_shards_missing_duplicated_and_disagreeing(tmp_path):
    source = SEGMENTATION / "sharded_safetensors"
    index = "model.safetensors.index.json"
    folder = shutil.copytree(source, tmp_path / "missing")
    shard = sorted(folder.glob("model-*.safetensors"))[2]
    shard.unlink()
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, index, shard.name)

    folder = shutil.copytree(source, tmp_path / "disagreeing")
    fields = json.loads((folder / index).read_text())
    key = next(iter(fields["weight_map"]))
    fields["weight_map"]["another"] = fields["weight_map"].pop(key)
    (folder / index).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, "another", key)

    folder = shutil.copytree(source, tmp_path / "outside")
    fields["weight_map"]["another"] = "../secret.safetensors"
    (folder / index).write_text(json.dumps(fields))
    with pytest.raises(CheckpointError, match="the name of a file beside the index"):
        load(folder)

    (folder / index).write_text("[]")
    with pytest.raises(CheckpointError, match="not the index of a sharded checkpoint"):
        load(folder)


@pytest.mark.parametrize("form", ["sharded_safetensors", "sharded_bin", "tf_h5_sharded"])
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda data: b"", "is empty (0 bytes)"),
        (lambda data: data[: len(data) // 2], "is not a readable"),
        (lambda data: b"GIF89a" * 99, "is not a readable"),
    ],
    ids=["empty", "half", "foreign"],
)
def test_a_damaged_shard_is_named(tmp_path, form, damage, word):
    folder = shutil.copytree(SEGMENTATION / form, tmp_path / form)
    shard = sorted(path for path in folder.iterdir() if "-of-" in path.name)[-1]
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, shard.name, word)


@pytest.mark.parametrize(
    "content",
    [b"", b'{"weight_map": {', b"\xff" * 64, b"{}"],
    ids=["empty", "half", "noise", "nothing listed"],
)
def test_a_damaged_index_is_named(tmp_path, content):
    folder = shutil.copytree(SEGMENTATION / "sharded_safetensors", tmp_path / "sharded")
    (folder / "model.safetensors.index.json").write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load(folder)
    assert_one_paragraph(error, "model.safetensors.index.json is not the index", "Fetch it again")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("form", ["safetensors", "bin"])
def test_checkpoints_of_other_precisions(tmp_path, dtype, form):
    from safetensors.torch import save_file as save_torch

    state = torch.load(SEGMENTATION / "pytorch_model.bin", weights_only=True)
    state = {
        key: value.to(getattr(torch, dtype)) if value.is_floating_point() else value
        for key, value in state.items()
    }
    folder = checkpoint(tmp_path)
    if form == "bin":
        torch.save(state, folder / "pytorch_model.bin")
    else:
        save_torch(state, folder / "model.safetensors", metadata={"format": "pt"})
    model = load(folder)
    expected = state["segformer.encoder.block.0.0.mlp.dense1.weight"].float().numpy().T
    kernel = model.segformer.encoder.blocks[0][0].mlp.dense1.kernel
    np.testing.assert_array_equal(kernel.numpy(), expected)


def test_from_pt_chooses_among_the_forms(tmp_path):
    folder = checkpoint(tmp_path, "pytorch_model.bin")
    shutil.copy(SEGMENTATION / "tf_h5" / "tf_model.h5", folder)
    (folder / "pytorch_model.bin").write_bytes(b"damaged")
    load(folder)  # needs no torch, so it comes first
    load(folder, from_pt=False)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin .* is not a readable PyTorch state dict"):
        load(folder, from_pt=True)
    (folder / "tf_model.h5").unlink()
    with pytest.raises(CheckpointError, match=r"expected one of model.safetensors, .*tf_model.h5"):
        load(folder, from_pt=False)


def test_foreign_formats_are_named(tmp_path):
    folder = checkpoint(tmp_path)
    save_file(load_file(SEGMENTATION / "model.safetensors"), folder / "model.safetensors", {"format": "flax"})
    with pytest.raises(CheckpointError, match="format 'flax'"):
        load(folder)


def test_an_encoder_gets_a_new_head_with_one_warning(tmp_path):
    values = {
        key: value
        for key, value in load_file(SEGMENTATION / "model.safetensors").items()
        if key.startswith("segformer.")
    }
    folder = checkpoint(tmp_path)
    save_file(values, folder / "model.safetensors")
    with pytest.warns(UserWarning, match="decode_head.classifier.weight") as caught:
        model = load(folder, num_labels=19)
    assert len(caught) == 1
    kernel = model.decode_head.classifier.kernel.numpy()
    assert kernel.shape == (1, 1, 16, 19)
    assert 0.01 < kernel.std() < 0.03  # the reference's normal(0.02)
    assert not model.decode_head.classifier.bias.numpy().any()


def test_a_partly_missing_head_is_an_error(tmp_path):
    values = load_file(SEGMENTATION / "model.safetensors")
    del values["decode_head.classifier.bias"]
    folder = checkpoint(tmp_path)
    save_file(values, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"- decode_head.classifier.bias"):
        load(folder)


def test_a_classifier_checkpoint_into_a_segmenter():
    with pytest.warns(UserWarning, match="decode_head"):
        model = load(FIXTURES / "classification_tiny")
    other = TFSegformerForImageClassification.from_pretrained(FIXTURES / "classification_tiny")
    np.testing.assert_array_equal(
        model.segformer.encoder.layer_norms[3].gamma, other.segformer.encoder.layer_norms[3].gamma
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "bert"}, "model of type 'bert'; expected 'segformer'"),
        ({"hidden_act": "snake"}, "hidden_act 'snake'"),
        ({"qkv_bias": False}, "qkv_bias = False"),
        ({"depths": [1, 2, 1]}, "num_encoder_blocks is 4, but depths has 3"),
        ({"strides": [4, 2, 2]}, "strides has 3 entries"),
        ({"num_attention_heads": [3, 2, 3, 4]}, "8 channels cannot be split over 3 heads"),
        ({"hidden_sizes": "wide"}, "not a valid SegFormer config"),
        ({"quantization_config": {"bits": 8}}, "quantization_config"),
        ({"id2label": {}}, "num_labels is 0"),
    ],
)
def test_configs_that_cannot_be_used(tmp_path, fields, message):
    folder = edit_config(checkpoint(tmp_path, "model.safetensors"), **fields)
    with pytest.raises(ConfigError, match=message):
        load(folder)


def test_config_that_is_not_json(tmp_path):
    folder = checkpoint(tmp_path, "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="not a readable JSON file"):
        load(folder)


def test_descriptive_fields_of_published_configs_are_accepted(tmp_path):
    folder = checkpoint(tmp_path, "model.safetensors")
    edit_config(
        folder,
        image_size=224,
        downsampling_rates=[1, 4, 8, 16],
        torch_dtype="float32",
        _name_or_path="x",
        note="y",
    )
    load(folder)


@pytest.mark.parametrize(
    ("variable", "value", "word"),
    [
        ("KERAS_BACKEND", "jax", "KERAS_BACKEND=tensorflow"),
        ("TF_USE_LEGACY_KERAS", "1", "unset TF_USE_LEGACY_KERAS"),
    ],
)
def test_another_keras_is_refused_at_import(variable, value, word, monkeypatch):
    monkeypatch.setenv(variable, value)
    result = subprocess.run(
        [sys.executable, "-c", "import tf_segformer"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert word in result.stderr.splitlines()[-1]
    assert "tensorflow" not in result.stderr.splitlines()[-2]  # refused before anything was loaded
