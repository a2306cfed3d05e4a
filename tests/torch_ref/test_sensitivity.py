"""A seeded checkpoint shows faults: every tensor matters, attention is far from uniform."""

from pathlib import Path

import numpy as np
import pytest

from torch_ref import Reference, examine, write_seeded_checkpoint
from torch_ref.taps import published_keys

TEN_GATES = 10 * examine.PARITY_GATE


@pytest.fixture(scope="module")
def pixels(reference_b0: Reference, photo: Path) -> np.ndarray:
    return reference_b0.preprocess(photo, size=(64, 64))


def faint(reference: Reference, pixels: np.ndarray, every: int) -> list[examine.Sensitivity]:
    measured = list(examine.sensitivities(reference, pixels, every))
    assert measured
    return [each for each in measured if each.moved < TEN_GATES]


def test_every_tensor_of_b0_moves_the_logits(reference_b0: Reference, pixels: np.ndarray):
    assert faint(reference_b0, pixels, every=1) == []


@pytest.mark.slow
@pytest.mark.parametrize(("variant", "every"), [("b0", 1), ("b4", 9), ("b5", 11)])
def test_larger_variants_and_images_too(variant: str, every: int, photo: Path, tmp_path: Path):
    reference = Reference.from_pretrained(write_seeded_checkpoint(tmp_path, variant))
    assert faint(reference, reference.preprocess(photo, size=(128, 128)), every) == []


def test_measuring_leaves_the_model_as_it_was(reference_b0: Reference, pixels: np.ndarray):
    before = reference_b0.forward(pixels).logits
    list(examine.sensitivities(reference_b0, pixels, every=100))
    np.testing.assert_array_equal(reference_b0.forward(pixels).logits, before)


def test_the_exceptions_are_invisible_indeed(seeded_b0: Path, pixels: np.ndarray):
    """Their reasons hold: in float64 these tensors leave only rounding behind, doubled or not."""
    reference = Reference.from_pretrained(seeded_b0, "float64")
    before = reference.forward(pixels).logits
    names, tensors = published_keys(reference.model), reference.model.state_dict()
    exceptions = [key for key in tensors if examine.is_invisible(names[key])]
    assert len(exceptions) == 8 + 1  # a key bias a block, and the counter
    for key in exceptions:
        tensors[key].mul_(2)
    after = reference.forward(pixels).logits
    assert np.abs(after - before).max() < 1e-12 * examine.scale_of(before)


def test_a_forgotten_default_is_seen(seeded_b0: Path, pixels: np.ndarray):
    """The check can fail: with the usual zero biases, scaling them moves nothing."""
    reference = Reference.from_pretrained(seeded_b0)
    for module in reference.model.modules():
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()
    measured = list(examine.sensitivities(reference, pixels, every=9))
    biases = [each.moved for each in measured if each.key.endswith(".bias")]
    assert len(biases) >= 8
    assert max(biases) == 0


def test_attention_is_far_from_uniform_and_logits_are_diverse(reference_b0: Reference, photo: Path):
    for size in (64, 128):
        outputs = reference_b0.forward(reference_b0.preprocess(photo, size=(size, size)))
        assert max(map(examine.attention_entropy, outputs.attentions)) <= 0.9
        assert 1 <= examine.scale_of(outputs.logits) <= 20
        assert examine.winning_classes(outputs.logits) >= 8


def test_float32_stays_close_to_float64(seeded_b0: Path, reference_b0: Reference, photo: Path):
    pixels = reference_b0.preprocess(photo, size=(128, 128))
    exact = Reference.from_pretrained(seeded_b0, "float64").forward(pixels).logits
    noise = examine.float32_noise(reference_b0.forward(pixels).logits, exact)
    assert 1e-8 < noise < examine.PARITY_GATE / 2


def test_entropy_of_known_attentions():
    assert examine.attention_entropy(np.full((1, 2, 3, 5), 0.2)) == pytest.approx(1)
    assert examine.attention_entropy(np.eye(4)[None, None]) == 0
    assert examine.attention_entropy(np.array([[[[0.5, 0.5, 0, 0]]]])) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="single key"):
        examine.attention_entropy(np.ones((1, 1, 4, 1)))
