"""The reference gives the fixtures' outputs, refuses bad checkpoints, and is exact in float64."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import SegformerForSemanticSegmentation

from torch_ref import CheckpointError, Reference

FORMS = (".", "sharded_bin", "sharded_safetensors", "renamed_keys_safetensors", "only_bin")


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest, fixtures: Path, tmp_path_factory) -> Path:
    folder = fixtures / "segmentation_tiny"
    if request.param != "only_bin":
        return folder / request.param
    only_bin = tmp_path_factory.mktemp("only_bin")  # the folder also holds a safetensors file
    for name in ("config.json", "pytorch_model.bin"):
        shutil.copy(folder / name, only_bin)
    return only_bin


def damaged_copy(source: Path, destination: Path, weights: dict[str, torch.Tensor]) -> Path:
    shutil.copy(source / "config.json", destination)
    save_file(weights, destination / "model.safetensors", metadata={"format": "pt"})
    return destination


def test_every_pytorch_form_gives_the_expected_outputs(form: Path, fixtures: Path):
    expected = np.load(fixtures / "segmentation_tiny" / "expected.npz")
    reference = Reference.from_pretrained(form)
    for case in "012":  # 2x64x64, 1x50x70, 1x96x32
        outputs = reference.forward(expected[f"{case}/pixel_values"])
        np.testing.assert_allclose(outputs.logits, expected[f"{case}/logits"], rtol=0, atol=2e-6, strict=True)
        assert len(outputs.hidden_states) == 4
        for i, state in enumerate(outputs.hidden_states):
            wanted = expected[f"{case}/hidden_states/{i}"]
            np.testing.assert_allclose(state, wanted, rtol=0, atol=5e-6, strict=True)
        assert len(outputs.attentions) == 5
        for i, attention in enumerate(outputs.attentions):
            wanted = expected[f"{case}/attentions/{i}"]
            cut = attention[..., : wanted.shape[-2], : wanted.shape[-1]]
            np.testing.assert_allclose(cut, wanted, rtol=0, atol=2e-6, strict=True)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_the_classifier_gives_the_expected_logits(file: str, fixtures: Path, tmp_path: Path):
    expected = np.load(fixtures / "classification_tiny" / "expected.npz")
    for name in ("config.json", file):
        shutil.copy(fixtures / "classification_tiny" / name, tmp_path)
    outputs = Reference.from_pretrained(tmp_path).forward(expected["pixel_values"])
    np.testing.assert_allclose(outputs.logits, expected["logits"], rtol=0, atol=2e-6, strict=True)


def test_float64_is_exact_where_float32_softmax_would_not_be(fixtures: Path):
    folder = fixtures / "segmentation_tiny"
    pixels = np.load(folder / "expected.npz")["0/pixel_values"]
    exact = Reference.from_pretrained(folder, "float64").forward(pixels)
    assert exact.logits.dtype == np.float64
    assert all(attention.dtype == np.float64 for attention in exact.attentions)
    for attention in exact.attentions:
        np.testing.assert_allclose(attention.sum(axis=-1), 1, rtol=0, atol=1e-14)

    def logits(implementation: str) -> np.ndarray:
        model = SegformerForSemanticSegmentation.from_pretrained(
            folder, dtype=torch.float64, attn_implementation=implementation
        )
        with torch.inference_mode():
            return model.eval()(torch.tensor(pixels, dtype=torch.float64)).logits.numpy()

    scale = np.abs(exact.logits).max()
    assert np.abs(exact.logits - logits("sdpa")).max() < 1e-14 * scale
    # What the fix is for: transformers' own eager attention, in a float64 model.
    assert np.abs(exact.logits - logits("eager")).max() > 1e-10 * scale


def test_float32_runs_transformers_own_eager_attention(fixtures: Path):
    reference = Reference.from_pretrained(fixtures / "segmentation_tiny")
    assert reference.model.config._attn_implementation == "eager"
    assert not reference.model.training


def test_a_missing_weight_is_refused(fixtures: Path, tmp_path: Path):
    source = fixtures / "segmentation_tiny"
    weights = load_file(source / "model.safetensors")
    del weights["segformer.encoder.block.1.1.mlp.dense2.bias"]
    with pytest.raises(CheckpointError, match=r" - segformer\.stages\.1\.blocks\.1\.mlp\.fc2\.bias"):
        Reference.from_pretrained(damaged_copy(source, tmp_path, weights))


def test_an_unexpected_weight_is_refused(fixtures: Path, tmp_path: Path):
    source = fixtures / "segmentation_tiny"
    weights = load_file(source / "model.safetensors") | {"decode_head.extra": torch.zeros(2)}
    with pytest.raises(CheckpointError, match=r" \+ decode_head\.extra"):
        Reference.from_pretrained(damaged_copy(source, tmp_path, weights))


def test_a_misshapen_weight_is_refused(fixtures: Path, tmp_path: Path):
    source = fixtures / "segmentation_tiny"
    weights = load_file(source / "model.safetensors")
    weights["decode_head.classifier.bias"] = torch.zeros(3)
    with pytest.raises(CheckpointError, match="Cannot load the weights"):
        Reference.from_pretrained(damaged_copy(source, tmp_path, weights))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("damage", ["empty", "truncated", "foreign"])
def test_a_damaged_weight_file_is_refused(name: str, damage: str, fixtures: Path, tmp_path: Path):
    source = fixtures / "segmentation_tiny"
    content = (source / name).read_bytes()
    content = {"empty": b"", "truncated": content[: len(content) // 2], "foreign": b"GIF89a" * 99}[damage]
    shutil.copy(source / "config.json", tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match="Cannot load the weights") as caught:
        Reference.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_refused(fixtures: Path, tmp_path: Path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    shutil.copy(fixtures / "segmentation_tiny" / "config.json", tmp_path)
    torch.save({"decode_head.classifier.bias": Attack()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        Reference.from_pretrained(tmp_path)
    assert not (tmp_path / "attacked").exists()


def test_a_folder_that_is_no_checkpoint_is_refused(fixtures: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match="No checkpoint folder"):
        Reference.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        Reference.from_pretrained(tmp_path)
    config = json.loads((fixtures / "segmentation_tiny" / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))
    with pytest.raises(CheckpointError, match="not a SegFormer"):
        Reference.from_pretrained(tmp_path)
    config["architectures"] = ["SegformerModel"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="holds a SegformerModel"):
        Reference.from_pretrained(tmp_path)


def test_wrong_arguments_are_named(fixtures: Path):
    folder = fixtures / "segmentation_tiny"
    with pytest.raises(ValueError, match="float32, float64; got 'float16'"):
        Reference.from_pretrained(folder, "float16")
    with pytest.raises(ValueError, match=r"channels first; got shape \(1, 64, 64, 3\)"):
        Reference.from_pretrained(folder).forward(np.zeros((1, 64, 64, 3), np.float32))
