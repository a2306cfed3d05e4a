"""Tap names are exactly the contract's, complete, in order, and channels last."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from torch_ref import Reference, published_keys, record_taps, tap_names

# Fixture segmentation_tiny on 1x3x50x70: the stages' grids, and the reduced grids of their keys.
GRIDS = ((13, 18), (7, 9), (4, 5), (2, 3))
REDUCED = ((1, 2), (1, 2), (2, 2), (2, 3))
CHANNELS, HEADS, DEPTHS = (8, 16, 24, 32), (1, 2, 3, 4), (1, 2, 1, 1)


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Written out independently of the package's table."""
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (grid, reduced, c) in enumerate(zip(GRIDS, REDUCED, CHANNELS, strict=True)):
        full, small, wide = (1, *grid, c), (1, *reduced, c), (1, *grid, 4 * c)
        encoder = "segformer.encoder"
        shapes[f"{encoder}.patch_embeddings.{i}.proj"] = full
        shapes[f"{encoder}.patch_embeddings.{i}.layer_norm"] = full
        for j in range(DEPTHS[i]):
            block = f"{encoder}.block.{i}.{j}"
            attend = f"{block}.attention.self"
            shapes[f"{block}.layer_norm_1"] = full
            if i < 3:
                shapes[f"{attend}.sr"] = small
                shapes[f"{attend}.layer_norm"] = small
            shapes[f"{attend}.query"] = full
            shapes[f"{attend}.key"] = small
            shapes[f"{attend}.value"] = small
            queries, keys = grid[0] * grid[1], reduced[0] * reduced[1]
            shapes[f"{attend}.probabilities"] = (1, HEADS[i], queries, keys)
            shapes[f"{attend}.context"] = full
            shapes[f"{block}.attention.output.dense"] = full
            shapes[f"{block}.layer_norm_2"] = full
            shapes[f"{block}.mlp.dense1"] = wide
            shapes[f"{block}.mlp.dwconv.dwconv"] = wide
            shapes[f"{block}.mlp.activation"] = wide
            shapes[f"{block}.mlp.dense2"] = full
            shapes[block] = full
        shapes[f"{encoder}.layer_norm.{i}"] = full
    for i, grid in enumerate(GRIDS):
        shapes[f"decode_head.linear_c.{i}.proj"] = (1, *grid, 16)
    shapes["decode_head.concatenated"] = (1, *GRIDS[0], 64)
    for name in ("linear_fuse", "batch_norm", "activation"):
        shapes[f"decode_head.{name}"] = (1, *GRIDS[0], 16)
    shapes["decode_head.classifier"] = (1, *GRIDS[0], 11)
    return shapes


@pytest.fixture(scope="module", params=["float32", "float64"])
def outputs(request: pytest.FixtureRequest, fixtures: Path):
    folder = fixtures / "segmentation_tiny"
    pixels = np.load(folder / "expected.npz")["1/pixel_values"]
    return Reference.from_pretrained(folder, request.param).forward(pixels, with_taps=True)


def test_names_order_and_shapes_are_the_contracts(outputs):
    expected = expected_shapes()
    assert list(outputs.taps) == list(expected)
    assert {name: tap.shape for name, tap in outputs.taps.items()} == expected
    assert {tap.dtype for tap in outputs.taps.values()} == {outputs.logits.dtype}


def test_taps_agree_with_the_models_own_outputs(outputs):
    taps = outputs.taps
    np.testing.assert_array_equal(taps["decode_head.classifier"], outputs.logits.transpose(0, 2, 3, 1))
    for i, state in enumerate(outputs.hidden_states):
        np.testing.assert_array_equal(taps[f"segformer.encoder.layer_norm.{i}"], state.transpose(0, 2, 3, 1))
    blocks = [(i, j) for i, depth in enumerate(DEPTHS) for j in range(depth)]
    for (i, j), attention in zip(blocks, outputs.attentions, strict=True):
        name = f"segformer.encoder.block.{i}.{j}.attention.self.probabilities"
        np.testing.assert_array_equal(taps[name], attention)


def test_taps_agree_with_each_other(outputs):
    """Each relation fails if one of its taps were another module's, or lay otherwise."""
    taps, tolerance = outputs.taps, {"rtol": 0, "atol": 1e-5}
    block = "segformer.encoder.block.2.0"
    attend = f"{block}.attention.self"
    before = taps["segformer.encoder.patch_embeddings.2.layer_norm"]
    middle = before + taps[f"{block}.attention.output.dense"]
    np.testing.assert_allclose(taps[block], middle + taps[f"{block}.mlp.dense2"], **tolerance)

    def heads(name: str) -> np.ndarray:  # (heads, tokens, channels of a head)
        return taps[f"{attend}.{name}"].reshape(-1, 3, 8).transpose(1, 0, 2)

    scores = heads("query") @ heads("key").transpose(0, 2, 1) / np.sqrt(8)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(taps[f"{attend}.probabilities"][0], weights, **tolerance)
    context = taps[f"{attend}.probabilities"][0] @ heads("value")
    np.testing.assert_allclose(heads("context"), context, **tolerance)

    concatenated = taps["decode_head.concatenated"]
    np.testing.assert_array_equal(  # stage 4 comes first, so stage 1 is last and not resized
        concatenated[..., -16:], taps["decode_head.linear_c.0.proj"]
    )
    activation = taps["decode_head.activation"]
    np.testing.assert_array_equal(activation, np.maximum(taps["decode_head.batch_norm"], 0))


def test_the_classifiers_taps(fixtures: Path):
    folder = fixtures / "classification_tiny"
    reference = Reference.from_pretrained(folder)
    outputs = reference.forward(np.load(folder / "expected.npz")["pixel_values"], with_taps=True)
    names = list(outputs.taps)
    assert names == tap_names(reference.config, segmentation=False)
    assert names[-2:] == ["classifier.pooled", "classifier"]
    assert not any(name.startswith("decode_head") for name in names)
    assert outputs.taps["classifier.pooled"].shape == (2, 32)
    np.testing.assert_array_equal(outputs.taps["classifier"], outputs.logits)
    pooled = outputs.taps["segformer.encoder.layer_norm.3"].mean(axis=(1, 2))
    np.testing.assert_allclose(outputs.taps["classifier.pooled"], pooled, rtol=0, atol=1e-6)


def test_hooks_are_gone_afterwards(reference_b0: Reference):
    pixels = np.zeros((1, 3, 32, 32), np.float32)
    reference_b0.forward(pixels, with_taps=True)
    for module in reference_b0.model.modules():
        assert not module._forward_pre_hooks
        names = [hook.__module__ for hook in module._forward_hooks.values() if hasattr(hook, "func")]
        assert "functools" not in names


def test_a_tap_that_is_not_reached_is_an_error(fixtures: Path):
    model = Reference.from_pretrained(fixtures / "segmentation_tiny").model
    with (
        torch.inference_mode(),
        pytest.raises(RuntimeError, match=r"the first is 'decode_head\.linear_c\.0\.proj'"),
        record_taps(model),
    ):
        model.segformer(torch.zeros(1, 3, 64, 64))


def test_an_attention_that_hides_its_probabilities_is_an_error(fixtures: Path):
    model = Reference.from_pretrained(fixtures / "segmentation_tiny").model
    model.set_attn_implementation("sdpa")
    with torch.inference_mode(), pytest.raises(TypeError, match="eager"), record_taps(model):
        model(torch.zeros(1, 3, 64, 64))


def test_an_unknown_module_has_no_published_name(fixtures: Path):
    model = Reference.from_pretrained(fixtures / "segmentation_tiny").model
    model.decode_head.novelty = nn.Linear(2, 2)
    with pytest.raises(KeyError, match=r"decode_head\.novelty"):
        published_keys(model)


def test_a_sink_takes_each_tap_as_it_is_computed(fixtures: Path):
    folder = fixtures / "segmentation_tiny"
    pixels = np.load(folder / "expected.npz")["1/pixel_values"]
    reference = Reference.from_pretrained(folder)
    expected = reference.forward(pixels, with_taps=True).taps
    taken: dict[str, np.ndarray] = {}
    # A copy: the array may share the model's memory, and what is wrong with that would show here.
    outputs = reference.forward(pixels, tap_sink=lambda name, value: taken.update({name: value.copy()}))
    assert outputs.taps == {}
    assert set(taken) == set(expected)
    for name, value in taken.items():
        np.testing.assert_array_equal(value, expected[name])
