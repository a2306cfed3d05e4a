"""The losses of fifty steps of training in both frameworks, and what the comparison sees."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

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
from torch_ref import Reference, write_seeded_checkpoint
from torch_ref.fitting import training_losses

STEPS, SIZE = 50, 32


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_seeded_checkpoint(
        tmp_path_factory.mktemp("training") / "checkpoint",
        num_labels=5,
        # two stages: all kinds of layers, half of the time that building the graphs takes
        num_encoder_blocks=2,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        num_attention_heads=[1, 2],
        sr_ratios=[2, 1],
        patch_sizes=[7, 3],
        strides=[4, 2],
        mlp_ratios=[2, 2],
        decoder_hidden_size=16,
    )


def test_sgd_trains_both_frameworks_the_same(checkpoint):
    curves = compare(checkpoint, "sgd", STEPS, SIZE)
    assert curves.equal, (curves.error, curves.error32, curves.noise)
    assert curves.reference[-5:].mean() < 0.95 * curves.reference[:5].mean()
    assert 1e-9 < curves.noise < 1e-5
    moved = replace(curves, candidate=curves.candidate + np.eye(STEPS)[20] * 1e-12)
    assert not moved.equal
    assert not replace(curves, candidate32=curves.candidate32 * np.nan).equal
    assert not replace(curves, candidate32=curves.candidate32 * (1 + 4 * curves.noise)).equal


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
