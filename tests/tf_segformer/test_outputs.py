"""Every combination of what a call may ask for, read in every way."""

from itertools import product

import numpy as np
import pytest

from tests.tf_segformer import tiny
from tf_segformer import (
    TFBaseModelOutput,
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
    TFSemanticSegmenterOutput,
    TFSequenceClassifierOutput,
)

PIXELS, LABELS = tiny.batch()
CLASSES = {
    TFSegformerModel: (TFBaseModelOutput, None),
    TFSegformerForImageClassification: (TFSequenceClassifierOutput, np.array([0, 1, 2, 4])),
    TFSegformerForSemanticSegmentation: (TFSemanticSegmenterOutput, LABELS),
}
COMBINATIONS = list(product([False, True], repeat=3))


@pytest.fixture(scope="module", params=[True, False], ids=["reshaped", "flat"])
def reshape_last_stage(request):
    return request.param


@pytest.fixture(scope="module", params=CLASSES, ids=lambda model_class: model_class.__name__)
def model(request, reshape_last_stage):
    return request.param(tiny.config(reshape_last_stage=reshape_last_stage))


def shapes_of(model):
    """What hidden states and attentions must look like for a 32 × 32 image."""
    config, batch, sides = model.config, len(PIXELS), (8, 4, 2, 1)
    states = [(batch, c, side, side) for c, side in zip(config.hidden_sizes, sides, strict=True)]
    if not config.reshape_last_stage:
        states[-1] = (batch, 1, config.hidden_sizes[-1])
    attentions = [
        (batch, heads, side**2, (side // reduction) ** 2)
        for heads, side, reduction in zip(config.num_attention_heads, sides, config.sr_ratios, strict=True)
    ]
    return states, attentions


def assert_same(found, expected):
    """Equal tensors, or tuples of equal tensors."""
    if not isinstance(expected, tuple):
        found, expected = (found,), (expected,)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("with_states", "with_attentions", "with_labels"), COMBINATIONS)
def test_fields_are_there_when_asked_for_and_absent_otherwise(
    model, with_states, with_attentions, with_labels
):
    output_class, labels = CLASSES[type(model)]
    if with_labels and labels is None:
        with pytest.raises(TypeError, match="labels"):  # the encoder has no loss
            model(PIXELS, labels=LABELS)
        return
    arguments = {"output_hidden_states": with_states, "output_attentions": with_attentions}
    if with_labels:
        arguments["labels"] = labels
    output = model(PIXELS, **arguments)
    values = model(PIXELS, **arguments, return_dict=False)

    main = "last_hidden_state" if labels is None else "logits"
    names = ["loss"] * with_labels + [main]
    names += ["hidden_states"] * with_states + ["attentions"] * with_attentions
    assert isinstance(output, output_class)
    assert list(output) == names
    assert type(values) is tuple and len(values) == len(names)
    for index, name in enumerate(names):
        expected = getattr(output, name)
        for found in (output[name], output[index], output.to_tuple()[index]):
            assert found is expected
        assert_same(values[index], expected)
    for name in {"loss", "hidden_states", "attentions"} - set(names):
        assert getattr(output, name, None) is None
        with pytest.raises(KeyError):
            output[name]
    states, attentions = shapes_of(model)
    if with_states:
        assert [tuple(state.shape) for state in output.hidden_states] == states
    if with_attentions:
        assert [tuple(each.shape) for each in output.attentions] == attentions
        np.testing.assert_allclose(np.sum(values[-1][0], axis=-1), 1.0, rtol=1e-5)
    if with_labels:
        assert output.loss.shape == ()


@pytest.mark.parametrize(("states", "attentions", "return_dict"), COMBINATIONS)
def test_the_config_decides_where_the_call_does_not(states, attentions, return_dict):
    config = tiny.config(output_hidden_states=states, output_attentions=attentions, return_dict=return_dict)
    model = TFSegformerForSemanticSegmentation(config)
    output = model(PIXELS)
    assert isinstance(output, TFSemanticSegmenterOutput if return_dict else tuple)
    assert len(output) == 1 + states + attentions
    overruled = model(
        PIXELS, output_hidden_states=not states, output_attentions=not attentions, return_dict=True
    )
    assert list(overruled) == ["logits"] + ["hidden_states"] * (not states) + ["attentions"] * (
        not attentions
    )
