"""serving, its signature, and the auto classes."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import ViTConfig

from tests.tf_segformer import tiny
from tests.tf_segformer.test_modeling import CLASSIFICATION, SEGMENTATION
from tf_segformer import (
    TFAutoModelForImageClassification,
    TFAutoModelForSemanticSegmentation,
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
)
from tf_segformer.weights import CheckpointError

PIXELS, _ = tiny.batch()


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_the_signature_knows_the_channels_alone(data_format):
    model = TFSegformerForSemanticSegmentation(tiny.config(num_channels=4), data_format=data_format)
    spec = model.input_signature["pixel_values"]
    expected = [None, 4, None, None] if data_format == "channels_first" else [None, None, None, 4]
    assert spec.shape.as_list() == expected
    assert spec.dtype == tf.float32
    (dummy,) = model.dummy_inputs.values()
    assert sorted(dummy.shape) == [1, 4, 512, 512]
    assert spec.is_compatible_with(dummy)


def test_a_saved_model_serves_any_size(tmp_path):
    model = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)
    tf.saved_model.save(model, str(tmp_path), signatures=model.serving)
    served = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    for size in ((64, 64), (50, 70)):
        x = np.random.default_rng(0).normal(size=(2, 3, *size)).astype("float32")
        outputs = served(pixel_values=tf.constant(x))
        assert list(outputs) == ["logits"]
        np.testing.assert_allclose(outputs["logits"], model(x).logits, rtol=0, atol=2e-6)
    assert list(model.serving({"pixel_values": PIXELS})) == ["logits"]


@pytest.mark.parametrize("model_class", [TFSegformerModel, TFSegformerForImageClassification])
def test_what_the_config_asks_for_is_served_under_numbered_names(model_class):
    model = model_class(tiny.config(output_hidden_states=True, output_attentions=True, return_dict=False))
    outputs = model.serving({"pixel_values": PIXELS})
    first = "last_hidden_state" if model_class is TFSegformerModel else "logits"
    assert list(outputs) == [
        first,
        *(f"hidden_states_{i}" for i in range(4)),
        *(f"attentions_{i}" for i in range(4)),
    ]
    expected = model(PIXELS, return_dict=True)
    np.testing.assert_allclose(outputs["hidden_states_2"], expected.hidden_states[2], rtol=0, atol=2e-6)
    np.testing.assert_allclose(outputs["attentions_3"], expected.attentions[3], rtol=0, atol=2e-6)


def test_serving_output_leaves_out_what_the_config_does_not_ask_for():
    model = TFSegformerForSemanticSegmentation(tiny.config())
    output = model(PIXELS, output_hidden_states=True, output_attentions=True)
    served = model.serving_output(output)
    assert type(served) is type(output) and list(served) == ["logits"]
    assert list(output) == ["logits", "hidden_states", "attentions"]  # and leaves the argument alone
    assert model.serving_output(5) == 5


@pytest.mark.parametrize(
    ("auto", "model_class", "folder"),
    [
        (TFAutoModelForSemanticSegmentation, TFSegformerForSemanticSegmentation, SEGMENTATION),
        (TFAutoModelForImageClassification, TFSegformerForImageClassification, CLASSIFICATION),
    ],
)
def test_the_auto_classes(auto, model_class, folder):
    expected = np.load(folder / "expected.npz")
    prefix = "0/" if folder is SEGMENTATION else ""
    model = auto.from_pretrained(folder, data_format="channels_first", dtype="float32")
    assert type(model) is model_class
    np.testing.assert_allclose(
        model(expected[f"{prefix}pixel_values"]).logits, expected[f"{prefix}logits"], rtol=0, atol=2e-6
    )
    fresh = auto.from_config(tiny.config(), dtype="mixed_bfloat16")
    assert type(fresh) is model_class and fresh.dtype_policy.name == "mixed_bfloat16"
    with pytest.raises(OSError, match=rf"{auto.__name__}\.from_pretrained"):
        auto(tiny.config())
    with pytest.raises(ValueError, match="config is a ViTConfig; expected a SegformerConfig"):
        auto.from_config(ViTConfig())
    with pytest.raises(CheckpointError, match="neither a folder"):
        auto.from_pretrained(folder / "nowhere" / "at" / "all")


def test_attributes_of_the_legacy_class():
    model = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)
    assert model.name_or_path == str(SEGMENTATION)
    assert (model.framework, model.base_model_prefix, model.main_input_name) == (
        "tf",
        "segformer",
        "pixel_values",
    )
    assert TFSegformerForSemanticSegmentation(tiny.config()).name_or_path == ""
