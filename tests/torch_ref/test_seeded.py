"""A seeded checkpoint lies on disk as the published ones do; its bits depend on the seed alone."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from torch_ref import VARIANTS, Reference, write_seeded_checkpoint
from torch_ref.seeded import seeded_state_dict

# A whole SegFormer in 60,000 weights: every kind of module, unlike sizes everywhere.
TINY = {
    "hidden_sizes": (8, 16, 24, 32),
    "num_attention_heads": (1, 2, 3, 4),
    "depths": (1, 2, 1, 1),
    "decoder_hidden_size": 16,
}

# Every weight of `TINY` with 11 classes and seed 0, as bytes in key order. Another digest means
# that seeded checkpoints differ from those that published figures were measured with: say so in the
# changelog, under Numerics.
TINY_DIGEST = "96122cf87fa979843dbe13ef35aad4888fa8db0b744a31cf54a1883d56f79641"


def digest(weights: dict[str, torch.Tensor]) -> str:
    total = hashlib.sha256()
    for key in sorted(weights):
        total.update(key.encode() + weights[key].numpy().tobytes())
    return total.hexdigest()


def tiny_weights(seed: int) -> dict[str, torch.Tensor]:
    return seeded_state_dict(SegformerConfig(**TINY, num_labels=11), seed)


def test_the_same_seed_gives_the_same_bits_on_every_machine():
    assert digest(tiny_weights(0)) == TINY_DIGEST


def test_another_seed_gives_other_values_in_every_tensor():
    first, second = tiny_weights(0), tiny_weights(1)
    equal = [key for key in first if torch.equal(first[key], second[key])]
    assert equal == ["decode_head.batch_norm.num_batches_tracked"]


def test_keys_and_shapes_are_the_published_ones(fixtures: Path):
    """The fixture was written by the legacy classes, under the published keys."""
    published = load_file(fixtures / "segmentation_tiny" / "model.safetensors")
    weights = tiny_weights(0)
    assert {key: (tensor.shape, tensor.dtype) for key, tensor in weights.items()} == {
        key: (tensor.shape, tensor.dtype) for key, tensor in published.items()
    }


def test_the_classifiers_keys_are_the_published_ones(fixtures: Path):
    published = load_file(fixtures / "classification_tiny" / "model.safetensors")
    config = SegformerConfig.from_pretrained(fixtures / "classification_tiny")
    weights = seeded_state_dict(config, 0, segmentation=False)
    assert {key: tensor.shape for key, tensor in weights.items()} == {
        key: tensor.shape for key, tensor in published.items()
    }


@pytest.mark.parametrize("format", ["safetensors", "bin"])
@pytest.mark.parametrize("max_shard_size", [None, "50KB"])
def test_every_form_loads_with_the_same_outputs(format, max_shard_size, tmp_path: Path):
    folder = write_seeded_checkpoint(
        tmp_path, format=format, max_shard_size=max_shard_size, num_labels=11, **TINY
    )
    stem, suffix = ("model", "safetensors") if format == "safetensors" else ("pytorch_model", "bin")
    names = {path.name for path in folder.iterdir()} - {"config.json", "preprocessor_config.json"}
    if max_shard_size is None:
        assert names == {f"{stem}.{suffix}"}
    else:
        index = json.loads((folder / f"{stem}.{suffix}.index.json").read_text())
        shards = names - {f"{stem}.{suffix}.index.json"}
        assert set(index["weight_map"].values()) == shards
        assert len(shards) == index_total(shards) > 3
        assert set(index["weight_map"]) == set(tiny_weights(0))
    pixels = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    logits = Reference.from_pretrained(folder).forward(pixels).logits
    other = write_seeded_checkpoint(tmp_path / "other", num_labels=11, **TINY)
    np.testing.assert_array_equal(logits, Reference.from_pretrained(other).forward(pixels).logits)


def index_total(shards: set[str]) -> int:
    """N of names such as model-00001-of-0000N.safetensors."""
    return int(next(iter(shards)).split("-of-")[1].split(".")[0])


def test_the_weights_may_be_read_by_whoever_may_read_the_config(seeded_b0: Path):
    weights, config = (seeded_b0 / name for name in ("model.safetensors", "config.json"))
    assert weights.stat().st_mode == config.stat().st_mode


def test_the_small_files_look_published(seeded_b0: Path):
    config = json.loads((seeded_b0 / "config.json").read_text())
    assert config["model_type"] == "segformer"
    assert config["architectures"] == ["SegformerForSemanticSegmentation"]
    assert config["hidden_sizes"] == [32, 64, 160, 256]
    assert config["layer_norm_eps"] == 1e-6
    assert config["id2label"]["149"] == "LABEL_149"
    assert config["torch_dtype"] == "float32"
    processor = json.loads((seeded_b0 / "preprocessor_config.json").read_text())
    assert processor["feature_extractor_type"] == "SegformerFeatureExtractor"
    assert (processor["size"], processor["reduce_labels"]) == (512, True)
    with safe_open(seeded_b0 / "model.safetensors", "pt") as weights:
        assert weights.metadata() == {"format": "pt"}


# In millions, for 150 classes: counted on the published B0 and B4, else the paper's table 6.
@pytest.mark.parametrize(
    ("variant", "parameters"),
    [("b0", 3.75), ("b1", 13.7), ("b2", 27.5), ("b3", 47.3), ("b4", 64.11), ("b5", 84.7)],
)
def test_every_variant_has_its_size(variant: str, parameters: float):
    with torch.device("meta"):
        model = SegformerForSemanticSegmentation(SegformerConfig(**VARIANTS[variant], num_labels=150))
    counted = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    assert counted == pytest.approx(parameters, abs=0.06)
    if variant == "b4":
        assert len(model.state_dict()) == 930


def test_b5_is_made_for_640_pixels_and_names_and_sizes_can_be_given(tmp_path: Path):
    small = {"hidden_sizes": (8, 16, 40, 8), "depths": (1, 1, 1, 1)}
    b5 = write_seeded_checkpoint(tmp_path / "b5", "b5", **small)
    assert json.loads((b5 / "preprocessor_config.json").read_text())["size"] == 640
    folder = write_seeded_checkpoint(
        tmp_path / "named",
        num_labels=2,
        id2label={0: "wall", 1: "sky"},
        image_size=64,
        num_channels=4,
        **small,
    )
    reference = Reference.from_pretrained(folder)
    assert reference.config.id2label == {0: "wall", 1: "sky"}
    assert reference.forward(np.zeros((1, 4, 32, 32), np.float32)).logits.shape == (1, 2, 8, 8)


def test_a_seeded_classifier_loads(tmp_path: Path):
    folder = write_seeded_checkpoint(tmp_path, num_labels=7, segmentation=False, **TINY)
    outputs = Reference.from_pretrained(folder).forward(np.ones((2, 3, 32, 32), np.float32))
    assert outputs.logits.shape == (2, 7)


def test_weights_are_replaced_only_when_asked(tmp_path: Path):
    write_seeded_checkpoint(tmp_path, num_labels=3, format="bin", **TINY)
    with pytest.raises(FileExistsError, match=r"pytorch_model\.bin"):
        write_seeded_checkpoint(tmp_path, num_labels=3, **TINY)
    write_seeded_checkpoint(tmp_path, num_labels=3, overwrite=True, **TINY)
    assert not (tmp_path / "pytorch_model.bin").exists()
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"variant": "b6"}, "b0, b1, b2, b3, b4, b5; got 'b6'"),
        ({"format": "h5"}, "safetensors, bin; got 'h5'"),
        ({"num_labels": 3, "id2label": {0: "a", 2: "b"}}, "0 to 2, one each; got 2"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, message: str, tmp_path: Path):
    with pytest.raises(ValueError, match=message):
        write_seeded_checkpoint(tmp_path / "new", **arguments)
    assert not (tmp_path / "new").exists()
