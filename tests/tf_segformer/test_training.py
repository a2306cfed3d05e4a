"""compile, fit, evaluate and predict as the users of the legacy classes call them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.tf_segformer import tiny
from tf_segformer import (
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
)

PIXELS, LABELS = tiny.batch()


def model(classes=tiny.CLASSES, dtype=None, **changes):
    keras.utils.set_random_seed(1)
    return TFSegformerForSemanticSegmentation(tiny.config(num_labels=classes, **changes), dtype=dtype)


@pytest.fixture(scope="module")
def compiled():
    """A model that runs eagerly: tracing a step takes longer than all its steps."""
    segmenter = model()
    segmenter.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    return segmenter


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_fit_lowers_the_loss_with_pixels_that_carry_no_label(dtype):
    segmenter = model(dtype=dtype, **tiny.TWO_STAGES)
    segmenter.compile(keras.optimizers.SGD(0.3, momentum=0.9))  # of fewer operations to trace than Adam
    losses = segmenter.fit(
        {"pixel_values": PIXELS, "labels": LABELS}, batch_size=2, epochs=12, verbose=0
    ).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.8 * losses[0]
    assert all(np.isfinite(weight).all() for weight in segmenter.get_weights())


def test_a_binary_model_trains():
    pixels, labels = tiny.batch(classes=1)
    segmenter = model(classes=1)
    assert segmenter(pixels).logits.shape == (4, 1, 8, 8)
    segmenter.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    losses = segmenter.fit(pixels, labels, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


FORMS = {
    "dict": ({"pixel_values": PIXELS, "labels": LABELS}, None),
    "x and y": (PIXELS, LABELS),
    "dict and y": ({"pixel_values": PIXELS}, LABELS),
    "dict and dict": ({"pixel_values": PIXELS}, {"labels": LABELS}),
    "dataset of dicts": (
        tf.data.Dataset.from_tensors({"pixel_values": PIXELS, "labels": LABELS}),
        None,
    ),
    "dataset of pairs": (tf.data.Dataset.from_tensors((PIXELS, LABELS.astype("uint8"))), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_batch_gives_the_models_own_loss(compiled, form):
    x, y = FORMS[form]
    expected = float(compiled(PIXELS, labels=LABELS).loss)
    assert compiled.evaluate(x, y, batch_size=4, verbose=0) == pytest.approx(expected, rel=1e-6)
    (trained,) = compiled.fit(x, y, batch_size=4, shuffle=False, verbose=0).history["loss"]
    assert trained == pytest.approx(expected, rel=0.05)  # batch statistics and dropout apply


def test_train_and_test_on_batch(compiled):
    expected = float(compiled(PIXELS, labels=LABELS).loss)
    assert compiled.test_on_batch(PIXELS, LABELS) == pytest.approx(expected, rel=1e-6)
    assert np.isfinite(compiled.train_on_batch({"pixel_values": PIXELS, "labels": LABELS}))


def test_predict_leaves_the_labels_out(compiled):
    output = compiled.predict({"pixel_values": PIXELS, "labels": LABELS}, batch_size=3, verbose=0)
    assert list(output) == ["logits"]
    assert output.logits.shape == (4, tiny.CLASSES, 8, 8)


@pytest.mark.parametrize("loss", ["auto", "auto_with_warning", "passthrough", None])
def test_every_legacy_name_of_the_own_loss(loss):
    segmenter = model()
    segmenter.compile("sgd", loss=loss, run_eagerly=True)
    expected = float(segmenter(PIXELS, labels=LABELS).loss)
    assert segmenter.evaluate(PIXELS, LABELS, verbose=0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("form", ["dict", "x and y"])
def test_another_loss_and_metrics_are_given_labels_and_logits(form):
    seen = []

    def loss(labels, logits):
        seen.append((labels.shape, logits.shape))
        return tf.reduce_mean(logits) ** 2 + 1.0

    def mean_label(labels, logits):
        return tf.reduce_mean(tf.cast(labels, tf.float32))

    segmenter = model()
    segmenter.compile(keras.optimizers.SGD(0.0), loss=loss, metrics=[mean_label], run_eagerly=True)
    x, y = FORMS[form]
    history = segmenter.fit(x, y, batch_size=4, verbose=0).history
    assert history["mean_label"] == [pytest.approx(LABELS.mean())]
    assert history["loss"] == [pytest.approx(1.0, abs=0.1)]
    assert seen[-1] == ((4, 32, 32), (4, tiny.CLASSES, 8, 8))


def test_an_overridden_hf_compute_loss_is_trained_on():
    class Doubled(TFSegformerForSemanticSegmentation):
        def hf_compute_loss(self, logits, labels):
            return 2.0 * super().hf_compute_loss(logits, labels)

    keras.utils.set_random_seed(1)
    doubled = Doubled(tiny.config())
    doubled.compile("sgd", run_eagerly=True)
    expected = 2 * float(model()(PIXELS, labels=LABELS).loss)
    assert doubled.evaluate(PIXELS, LABELS, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_regularisers_count():
    segmenter = model()
    layer = segmenter.decode_head.classifier
    layer.kernel.regularizer = keras.regularizers.L2(100.0)
    segmenter.compile("sgd", run_eagerly=True)
    penalty = 100.0 * float(tf.reduce_sum(layer.kernel**2))
    assert penalty > 0.01
    expected = float(segmenter(PIXELS, labels=LABELS).loss) + penalty
    assert segmenter.evaluate(PIXELS, LABELS, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_config_flags_do_not_disturb_training():
    segmenter = model(output_hidden_states=True, output_attentions=True, return_dict=False)
    segmenter.compile("sgd", run_eagerly=True)
    expected = float(segmenter(PIXELS, labels=LABELS, return_dict=True).loss)
    assert segmenter.evaluate(PIXELS, LABELS, verbose=0) == pytest.approx(expected, rel=1e-6)


def test_an_image_classifier_trains():
    keras.utils.set_random_seed(1)
    classifier = TFSegformerForImageClassification(tiny.config())
    labels = np.array([0, 1, 2, 4])
    classifier.compile(keras.optimizers.Adam(0.05), metrics=["accuracy"], run_eagerly=True)
    history = classifier.fit(PIXELS, labels, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert 0 <= history["accuracy"][-1] <= 1
    loss = classifier.hf_compute_loss(labels, classifier(PIXELS).logits)
    assert loss.shape == ()


def test_the_compilation_is_saved_with_the_model(compiled, tmp_path):
    compiled.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.run_eagerly = True
    assert again.evaluate(PIXELS, LABELS, verbose=0) == compiled.evaluate(PIXELS, LABELS, verbose=0)
    assert again.optimizer.built


def test_xla_is_left_off_unless_asked_for():
    segmenter = model()
    segmenter.compile("sgd")
    assert not segmenter.jit_compile
    segmenter.compile("sgd", jit_compile=True)
    assert segmenter.jit_compile


def test_training_on_nothing_is_named(compiled):
    with pytest.raises(ValueError, match="batch holds no labels"):
        compiled.fit(PIXELS, verbose=0)
    with pytest.raises(ValueError, match="own loss does not take"):
        compiled.fit(PIXELS, LABELS, sample_weight=np.ones(4), verbose=0)
    encoder = TFSegformerModel(tiny.config())
    encoder.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="TFSegformerModel has no head to train"):
        encoder.fit(PIXELS, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS.astype("float32"), "labels has dtype float32; expected integers"),
        (LABELS[:3], "3 label maps for 4 images"),
        (LABELS[0], r"shape \(32, 32\); expected .batch, height, width"),
    ],
)
@pytest.mark.parametrize("graph", [False, True])
def test_labels_that_do_not_fit_are_named(compiled, labels, message, graph):
    call = tf.function(lambda y: compiled(PIXELS, labels=y).loss) if graph else compiled
    with pytest.raises(ValueError, match=message):
        call(labels) if graph else call(PIXELS, labels=labels)


def test_labels_that_do_not_fit_are_named_where_the_graph_does_not_know_their_shape(compiled):
    signature = [tf.TensorSpec([None, 3, None, None]), tf.TensorSpec([None, None, None], tf.int64)]
    loss = tf.function(lambda x, y: compiled(x, labels=y).loss, input_signature=signature)
    assert np.isfinite(loss(PIXELS, LABELS))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many label maps as there are images"):
        loss(PIXELS, LABELS[:1])
    for wrong in (5, -1, 2**32):  # the last would be 0 as a 32-bit integer
        labels = LABELS.copy()
        labels[0, 9, 9] = wrong
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"labels must lie in \[0, 5\)") as error:
            loss(PIXELS, labels)
        assert str(wrong) in str(error.value) and "do_reduce_labels" in str(error.value)
