"""The SavedModel of `save_pretrained(saved_model=True)`."""

import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer.saving_cases import (
    CLASSIFICATION,
    LOGITS_TOLERANCE,
    SEGMENTATION,
    names,
)
from tf_segformer import (
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
)


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION)


class TestSavedModel:
    def test_any_size_and_the_same_numbers(self, tmp_path, model):
        model.save_pretrained(tmp_path, saved_model=True, version=3)
        served = tf.saved_model.load(tmp_path / "saved_model" / "3").signatures["serving_default"]
        for size in ((1, 3, 64, 64), (2, 3, 50, 70)):
            x = np.random.default_rng(0).normal(size=size).astype("float32")
            outputs = served(pixel_values=tf.constant(x))
            assert list(outputs) == ["logits"]
            np.testing.assert_allclose(outputs["logits"], model(x).logits, rtol=0, atol=LOGITS_TOLERANCE)
        TFSegformerForSemanticSegmentation.from_pretrained(tmp_path)

    def test_a_version_is_replaced_and_others_stay(self, tmp_path, model, monkeypatch):
        def write(_, folder, signatures):
            (folder / "variables").mkdir(parents=True)
            (folder / "saved_model.pb").write_text(str(signatures))

        monkeypatch.setattr("tf_segformer.saved_models.write_saved_model", write)
        model.save_pretrained(tmp_path, saved_model=True, version=1)
        model.save_pretrained(tmp_path, saved_model=True, version=2)
        (tmp_path / "saved_model" / "2" / "stale").touch()
        model.save_pretrained(tmp_path, saved_model=True, version=2)
        model.save_pretrained(tmp_path)
        assert names(tmp_path / "saved_model") == ["1", "2"]
        assert names(tmp_path / "saved_model" / "2") == ["saved_model.pb", "variables"]
        assert names(tmp_path) == ["config.json", "saved_model", "tf_model.h5"]

    def test_own_signatures(self, tmp_path, model):
        @tf.function(input_signature=[tf.TensorSpec((None, 3, 64, 64), tf.float32, name="pixels")])
        def labels(pixels):
            return {"labels": tf.argmax(model(pixels).logits, axis=1)}

        model.save_pretrained(tmp_path, saved_model=True, signatures={"serving_default": labels})
        served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures["serving_default"]
        assert served(pixels=tf.zeros((1, 3, 64, 64)))["labels"].shape == (1, 16, 16)
        with pytest.raises(ValueError, match=r"signatures\['x'\] is a int; expected a tf.function"):
            model.save_pretrained(tmp_path / "bad", saved_model=True, signatures={"x": 1})
        assert not (tmp_path / "bad").exists()

    def test_the_classifier_and_hidden_states(self, tmp_path):
        model = TFSegformerForImageClassification.from_pretrained(CLASSIFICATION, output_hidden_states=True)
        model.save_pretrained(tmp_path, saved_model=True)
        served = tf.saved_model.load(tmp_path / "saved_model" / "1").signatures["serving_default"]
        outputs = served(pixel_values=tf.zeros((1, 3, 64, 64)))
        assert sorted(outputs) == [*(f"hidden_states_{index}" for index in range(4)), "logits"]
