"""Loss, gradients and batch-norm statistics of one training step against PyTorch's."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from parity.gradients import (
    Step,
    candidate_step,
    gradient_errors,
    reference_step,
    seeded_batch,
    unbiased_variance_factor,
    zero_by_design,
)
from parity.tolerances import GRADIENTS_FLOAT32_MULTIPLE, GRADIENTS_FLOAT64_MULTIPLE
from tf_segformer.configuration import read_config
from torch_ref import Reference, write_seeded_checkpoint
from torch_ref.training import training_step

FIXTURES = Path(__file__).parents[1] / "fixtures"
SIZE = 64
GRADIENT_MULTIPLE = {"float32": GRADIENTS_FLOAT32_MULTIPLE, "float64": GRADIENTS_FLOAT64_MULTIPLE}


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """A narrow checkpoint with one class: the loss is the binary cross entropy."""
    folder = tmp_path_factory.mktemp("binary") / "checkpoint"
    return write_seeded_checkpoint(
        folder,
        num_labels=1,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1, 1, 1, 1],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=16,
    )


@pytest.fixture(scope="module", params=["segmentation_tiny", "classification_tiny", "binary"])
def checkpoint(request):
    return request.getfixturevalue("binary") if request.param == "binary" else FIXTURES / request.param


def batch(folder):
    return seeded_batch(read_config(folder / "config.json"), SIZE)


@pytest.fixture(scope="module")
def steps(checkpoint):
    """Both frameworks' steps, in both dtypes."""
    pixels, labels = batch(checkpoint)
    return {
        (name, dtype): step(checkpoint, pixels, labels, dtype)
        for name, step in (("reference", reference_step), ("candidate", candidate_step))
        for dtype in GRADIENT_MULTIPLE
    }


@pytest.mark.parametrize("dtype", GRADIENT_MULTIPLE)
def test_loss_and_every_gradient_equal_pytorchs(steps, checkpoint, dtype):
    reference, candidate = steps["reference", dtype], steps["candidate", dtype]
    # the reference's binary loss is a float32 number even of a float64 model, as its labels are
    binary = read_config(checkpoint / "config.json").num_labels == 1
    tolerance = 1e-14 if dtype == "float64" and not binary else 1e-6
    assert abs(candidate.loss - reference.loss) <= tolerance * reference.loss
    # float32 gradients are held against the exact ones: docs/decisions/0004-tolerances.md
    errors = gradient_errors(steps["reference", "float64"], candidate)
    trainable = Reference.from_pretrained(checkpoint).model.parameters()
    assert len(errors) == sum(1 for _ in trainable)
    assert max(errors.values()) <= GRADIENT_MULTIPLE[dtype], max(errors.items(), key=lambda item: item[1])


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_float32_gradients_keep_their_gate_on_other_batches(seed):
    folder = FIXTURES / "segmentation_tiny"
    pixels, labels = seeded_batch(read_config(folder / "config.json"), SIZE, seed=seed)
    exact = reference_step(folder, pixels, labels, "float64")
    errors = gradient_errors(exact, candidate_step(folder, pixels, labels, "float32"))
    assert max(errors.values()) <= GRADIENT_MULTIPLE["float32"], max(errors.items(), key=lambda item: item[1])


def test_gradients_that_are_zero_by_design_are_zero(steps):
    for step in (steps["reference", "float64"], steps["candidate", "float64"]):
        zero = zero_by_design(step.gradients)
        largest = {key: np.abs(gradient).max() for key, gradient in step.gradients.items()}
        assert zero
        for key in largest:
            scale = largest[key.removesuffix("bias") + "weight"] if key.endswith("bias") else largest[key]
            assert (largest[key] < 1e-12 * scale) == (key in zero), key


@pytest.mark.parametrize("dtype", GRADIENT_MULTIPLE)
def test_batch_norm_statistics_differ_only_by_the_divisor_of_the_variance(steps, checkpoint, dtype):
    reference, candidate = steps["reference", dtype], steps["candidate", dtype]
    if "classification" in checkpoint.name:
        assert reference.statistics == candidate.statistics == {}
        return
    before = Reference.from_pretrained(checkpoint, dtype).model.state_dict()
    mean, variance = "decode_head.batch_norm.running_mean", "decode_head.batch_norm.running_var"
    assert set(candidate.statistics) == set(reference.statistics) == {mean, variance}
    # what the step added: PyTorch divides by n - 1, Keras by n
    kept = 0.9 * before[variance].numpy()
    added = candidate.statistics[variance] - kept
    corrected = kept + added * unbiased_variance_factor(2, SIZE // 4, SIZE // 4)
    tolerance = {"float64": 1e-14, "float32": 1e-6}[dtype]
    for found, key in ((candidate.statistics[mean], mean), (corrected, variance)):
        expected = reference.statistics[key]
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    # and the factor can be seen
    difference = np.abs(candidate.statistics[variance] - reference.statistics[variance])
    assert (difference > 1e-3 * added).all()


def test_the_reference_is_left_as_it_was():
    folder = FIXTURES / "segmentation_tiny"
    reference = Reference.from_pretrained(folder)
    before = {key: value.clone() for key, value in reference.model.state_dict().items()}
    first = training_step(reference, *batch(folder))
    assert not reference.model.training
    for key, value in reference.model.state_dict().items():
        assert (value == before[key]).all(), key
    again = training_step(reference, *batch(folder))
    np.testing.assert_array_equal(
        again.gradients["decode_head.classifier.weight"], first.gradients["decode_head.classifier.weight"]
    )


def test_a_wrong_gradient_is_seen():
    weight = np.linspace(-1.0, 1.0, 12).reshape(3, 4)
    right = Step(1.0, {"a.weight": weight, "a.bias": weight[0]}, {})
    for wrong, error in ((weight * (1 + 1e-9), 1e-9), (-weight, 2), (weight * np.nan, np.nan)):
        errors = gradient_errors(right, replace(right, gradients={**right.gradients, "a.weight": wrong}))
        assert errors["a.weight"] == pytest.approx(error, rel=1e-5, nan_ok=True)
        assert errors["a.bias"] == 0
        assert not errors["a.weight"] <= GRADIENT_MULTIPLE["float64"]
    with pytest.raises(ValueError, match=r"different parameters: \['a.bias'\]"):
        gradient_errors(right, replace(right, gradients={"a.weight": weight}))
