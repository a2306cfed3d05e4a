"""The taps: complete, in order, named as the published checkpoints name their modules."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tf_segformer import TFSegformerForImageClassification, TFSegformerForSemanticSegmentation
from tf_segformer.taps import record_taps
from tf_segformer.weights import weights_by_key

FIXTURES = Path(__file__).parents[1] / "fixtures"
X = np.random.default_rng(0).normal(size=(1, 3, 64, 96)).astype("float32")


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(FIXTURES / "segmentation_tiny")


def test_every_module_with_weights_has_a_tap(model):
    with record_taps(model) as taps:
        output = model(X, output_attentions=True, output_hidden_states=True)
    modules = {key.rpartition(".")[0] for key in weights_by_key(model)}
    assert modules <= set(taps)
    np.testing.assert_array_equal(np.transpose(taps["decode_head.classifier"], (0, 3, 1, 2)), output.logits)
    np.testing.assert_array_equal(
        taps["segformer.encoder.block.1.1.attention.self.probabilities"], output.attentions[2]
    )
    for stage, state in enumerate(output.hidden_states):
        tap = taps[f"segformer.encoder.layer_norm.{stage}"]
        np.testing.assert_array_equal(np.transpose(tap, (0, 3, 1, 2)), state)
    assert taps["segformer.encoder.block.0.0.attention.self.key"].shape == (1, 2, 3, 8)  # reduced by 8
    assert next(iter(taps)) == "segformer.encoder.patch_embeddings.0.proj"
    assert list(taps)[-1] == "decode_head.classifier"


def test_taps_come_out_of_a_graph(model):
    @tf.function
    def forward(x):
        with record_taps(model) as taps:
            model(x)
        return dict(taps)

    with record_taps(model) as eager:
        model(X)
    graph = forward(X)
    assert set(graph) == set(eager)
    for name, value in eager.items():
        np.testing.assert_allclose(graph[name], value, rtol=0, atol=1e-5)


def test_names_do_not_depend_on_the_models_own_name():
    named = TFSegformerForSemanticSegmentation.from_pretrained(FIXTURES / "segmentation_tiny", name="mine")
    with record_taps(named) as taps:
        named(X)
    assert "segformer.encoder.block.0.0" in taps


def test_the_classifier_has_its_own_taps():
    model = TFSegformerForImageClassification.from_pretrained(FIXTURES / "classification_tiny")
    with record_taps(model) as taps:
        model(X)
    assert list(taps)[-2:] == ["classifier.pooled", "classifier"]


def test_a_second_call_in_one_recording_is_refused(model):
    with record_taps(model), pytest.raises(ValueError, match="recorded twice"):
        model(X)
        model(X)


def test_nothing_is_recorded_outside(model):
    with record_taps(model) as taps:
        pass
    model(X)
    assert taps == {}


def test_a_given_tap_is_the_input_of_what_follows(model):
    with record_taps(model) as computed:
        model(X)
    name, behind = "segformer.encoder.block.0.0.mlp.dense1", "segformer.encoder.block.0.0.mlp.dwconv.dwconv"
    with record_taps(model, given={name: np.zeros_like(computed[name])}) as taps:
        output = model(X)
    np.testing.assert_array_equal(taps[name], computed[name])  # as it was computed
    bias = model.segformer.encoder.blocks[0][0].mlp.dwconv.dwconv.bias
    np.testing.assert_allclose(taps[behind], np.broadcast_to(bias, taps[behind].shape), atol=1e-7)
    with record_taps(model, given=dict(computed)) as again:
        model(X)
    for name, value in computed.items():
        np.testing.assert_array_equal(again[name], value)
    assert not np.array_equal(output.logits, np.transpose(computed["decode_head.classifier"], (0, 3, 1, 2)))


def test_a_sink_takes_each_tap_as_it_is_computed(model):
    with record_taps(model) as expected:
        model(X)
    taken = {}
    with record_taps(model, sink=taken.__setitem__) as names:
        model(X)
    assert list(taken) == list(names) == list(expected)
    assert all(value is None for value in names.values())
    for name, value in taken.items():
        np.testing.assert_array_equal(value, expected[name])
    with record_taps(model, sink=taken.__setitem__), pytest.raises(ValueError, match="recorded twice"):
        model(X)
        model(X)
