"""The table of rules: each transform on values, each key consumed once, and the way back."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from tf_segformer import TFSegformerForSemanticSegmentation, TFSegformerModel
from tf_segformer.weight_loading import load_weights
from tf_segformer.weights import (
    RULES,
    CheckpointError,
    published_key,
    state_dict,
    torch_key,
    weights_by_key,
)

SEGMENTATION = Path(__file__).parents[1] / "fixtures" / "segmentation_tiny"


class InMemory:
    """A state dict that counts how often each key is read."""

    source = "a checkpoint in memory"

    def __init__(self, values):
        self.values = values
        self.reads = dict.fromkeys(values, 0)

    def shapes(self):
        return {key: value.shape for key, value in self.values.items()}

    def read(self, key):
        self.reads[key] += 1
        return self.values[key]


@pytest.fixture
def values():
    return load_file(SEGMENTATION / "model.safetensors")


@pytest.fixture
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


@pytest.mark.parametrize(
    ("path", "key", "torch_index"),
    [
        # the index in PyTorch's layout that must land at (1, 2, 3, 4) or (1, 2) in Keras'
        ("segformer/encoder/patch_embeddings.0/proj/kernel", "proj.weight", (4, 3, 1, 2)),
        ("segformer/encoder/block.0.0/attention/self/sr/kernel", "sr.weight", (4, 3, 1, 2)),
        ("segformer/encoder/block.0.0/mlp/dwconv/dwconv/kernel", "dwconv.weight", (3, 4, 1, 2)),
        ("segformer/encoder/block.0.0/attention/self/query/kernel", "query.weight", (2, 1)),
        ("decode_head/linear_c.3/proj/kernel", "proj.weight", (2, 1)),
        ("decode_head/linear_fuse/kernel", "linear_fuse.weight", (4, 3, 1, 2)),
        ("decode_head/classifier/kernel", "classifier.weight", (4, 3, 1, 2)),
        ("classifier/kernel", "classifier.weight", (2, 1)),
    ],
)
def test_every_transform_moves_values(path, key, torch_index):
    name, rule = torch_key(path)
    assert name.endswith(key)
    rank = len(torch_index)
    value = np.arange(6**rank).reshape((6,) * rank)  # square on purpose: shapes cannot tell
    moved = rule.to_keras(value)
    assert moved[(1, 2, 3, 4)[:rank]] == value[torch_index]
    np.testing.assert_array_equal(rule.to_torch(moved), value)


def test_rules_turn_shapes_as_they_turn_values():
    for rule in RULES:
        rank = len(rule.axes) if rule.axes else 1
        value = np.zeros(range(2, 2 + rank))
        assert rule.torch_shape(rule.to_keras(value).shape) == value.shape


def test_each_key_is_read_once_and_each_variable_assigned(model, values):
    fresh = TFSegformerForSemanticSegmentation(model.config)
    checkpoint = InMemory(values)
    assert load_weights(fresh, checkpoint).missing_keys == []
    counted = {key: count for key, count in checkpoint.reads.items() if "num_batches_tracked" not in key}
    assert set(counted.values()) == {1}
    assert len(counted) == len(fresh.weights) == len(weights_by_key(fresh))


def test_the_way_back_is_bit_identical(model, values):
    back = state_dict(model)
    values.pop("decode_head.batch_norm.num_batches_tracked")
    assert set(back) == set(values)
    for key, value in values.items():
        np.testing.assert_array_equal(back[key], value)
        assert back[key].dtype == value.dtype


def test_both_spellings_name_the_same_weights(values):
    renamed = load_file(SEGMENTATION / "renamed_keys_safetensors" / "model.safetensors")
    assert {published_key(key) for key in renamed} == set(values)
    for key, value in renamed.items():
        np.testing.assert_array_equal(values[published_key(key)], value)


def test_keys_of_a_bare_encoder_have_no_prefix(model, values):
    bare = {
        key.removeprefix("segformer."): value for key, value in values.items() if key.startswith("segformer.")
    }
    encoder = TFSegformerModel(model.config)
    assert load_weights(encoder, InMemory(bare)).missing_keys == []
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype("float32")
    expected = model(x, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(encoder(x).last_hidden_state, expected)


def drop(values):
    del values["segformer.encoder.block.1.0.mlp.dense1.weight"]


def add(values):
    values["segformer.encoder.position_embedding"] = np.zeros(3, "float32")


def reshape(values):
    values["decode_head.classifier.weight"] = np.zeros((7, 16, 1, 1), "float32")


def poison(values):
    values["segformer.encoder.layer_norm.2.bias"][3] = np.nan


def quantise(values):
    key = "decode_head.linear_fuse.weight"
    values[key] = values[key].astype("int8")


def double(values):
    values["segformer.stages.0.layer_norm.bias"] = values["segformer.encoder.layer_norm.0.bias"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (drop, r"1 weights are missing \(-\).*\n - segformer.encoder.block.1.0.mlp.dense1.weight"),
        (add, r"1 are unexpected \(\+\).*\n \+ segformer.encoder.position_embedding"),
        (reshape, r"≠ decode_head.classifier.weight: found \(7, 16, 1, 1\), expected \(11, 16, 1, 1\)"),
        (poison, r"'segformer.encoder.layer_norm.2.bias' holds 1 values of 24 that are NaN"),
        (quantise, r"'decode_head.linear_fuse.weight' has dtype int8"),
        (double, r"two spellings of one weight"),
    ],
)
def test_a_faulty_weight_is_named_and_nothing_is_loaded(model, values, fault, message):
    before = [weight.numpy().copy() for weight in model.weights]
    for value in values.values():
        if np.issubdtype(value.dtype, np.floating):
            value += 1.0
    fault(values)
    with pytest.raises(CheckpointError, match=message):
        load_weights(model, InMemory(values))
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_a_path_without_a_rule_is_an_error():
    with pytest.raises(KeyError, match="No rule moves"):
        torch_key("segformer/encoder/rotary/angle")
