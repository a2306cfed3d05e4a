"""The losses of fifty steps of training in both frameworks, and what the comparison sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.training_curves import SIZE, STEPS, small_checkpoint
from parity.training import (
    FLOAT64_GATE,
    LEARNING_RATES,
    Curves,
    candidate_losses,
    compare,
    main,
    reference_losses,
    seeded_batches,
)
from tf_segformer.configuration import read_config
from torch_ref import Reference
from torch_ref.fitting import training_losses


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return small_checkpoint(tmp_path_factory.mktemp("training") / "checkpoint")


def test_sgd_trains_both_frameworks_the_same(checkpoint):
    curves = compare(checkpoint, "sgd", STEPS, SIZE)
    assert curves.equal, (curves.error, curves.error32, curves.noise)
    assert curves.reference[-5:].mean() < 0.95 * curves.reference[:5].mean()
    assert 1e-9 < curves.noise < 3e-6
    moved = replace(curves, candidate=curves.candidate + np.eye(STEPS)[20] * 1e-12)
    assert not moved.equal
    assert not replace(curves, candidate32=curves.candidate32 * np.nan).equal
    diverged = np.append(curves.candidate32[:-1], np.nan)
    assert not replace(curves, candidate32=diverged).equal
    flipped = replace(curves, candidate32=curves.reference32 * (1 + 1e-2 * (np.arange(STEPS) > 40)))
    assert flipped.equal  # a ReLU's input within rounding of zero
    assert not replace(curves, candidate32=curves.candidate32 * (1 + 16 * curves.noise)).equal


def test_adamw_trains_both_frameworks_the_same(checkpoint):
    batches = seeded_batches(read_config(Path(checkpoint) / "config.json"), STEPS, SIZE)
    rate = LEARNING_RATES["adamw"]
    expected = reference_losses(checkpoint, batches, "float64", "adamw", rate)
    found = candidate_losses(checkpoint, batches, "float64", "adamw", rate)
    assert np.max(np.abs(found / expected - 1)) <= FLOAT64_GATE


def test_the_command_prints_the_verdict(monkeypatch, capsys):
    losses = np.linspace(2.0, 1.0, 50)
    same = Curves(losses, losses, losses * (1 + 1e-7), losses * (1 - 1e-7))
    monkeypatch.setattr("parity.training.compare", lambda *_: same)
    assert main(["checkpoint"]) == 0
    assert "sgd, 50 steps: float64 0.0e+00 of the loss" in capsys.readouterr().out
    monkeypatch.setattr("parity.training.compare", lambda *_: replace(same, candidate=losses * 1.01))
    assert main(["checkpoint", "--optimizer", "adamw"]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_an_unknown_optimizer_is_named(checkpoint):
    with pytest.raises(ValueError, match="optimizer is 'adam'; expected one of sgd, adamw"):
        training_losses(Reference.from_pretrained(checkpoint), [], "adam", 0.1)
