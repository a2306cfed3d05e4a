"""A pipeline written against the legacy API. Only the import knows whose classes it runs.

Here they are this package's. `make test-legacy` runs the same file with transformers 4.57.6 and tf-keras,
where the tests marked `legacy_fault(n)` must fail, each showing the fault of that number in
`docs/migrating.md`.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

LEGACY = os.environ.get("LEGACY_TRANSFORMERS") == "1"
if LEGACY:
    import transformers as api
else:
    import tf_segformer as api

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
CLASSIFICATION = FIXTURES / "classification_tiny"
EXPECTED = np.load(SEGMENTATION / "expected.npz")
X = EXPECTED["0/pixel_values"]
IGNORING = EXPECTED["0/labels"].astype("int64")  # 255 where a pixel carries no label
LABELS = np.where(IGNORING == 255, 0, IGNORING)
LOGITS_TOLERANCE, HIDDEN_STATES_TOLERANCE = 2e-6, 5e-6


def legacy_fault(number):
    """The test fails with the legacy classes, because of this one of their faults."""
    return pytest.mark.xfail(LEGACY, reason=f"legacy fault {number}", strict=True)


def tiny_config(**changes):
    fields = {
        "hidden_sizes": [4, 4, 8, 8],
        "depths": [1, 1, 1, 1],
        "num_attention_heads": [1, 1, 2, 2],
        "decoder_hidden_size": 8,
        "num_labels": 5,
    }
    return api.SegformerConfig(**{**fields, **changes})


# Where a graph of a training step is built, which takes longer than all else: with half of the stages.
TWO_STAGES = {
    "num_encoder_blocks": 2,
    "hidden_sizes": [4, 8],
    "depths": [1, 1],
    "num_attention_heads": [1, 2],
    "sr_ratios": [8, 1],
    "patch_sizes": [7, 3],
    "strides": [4, 2],
    "mlp_ratios": [4, 4],
}


def tiny_batch(ignoring=False):
    random = np.random.default_rng(0)
    labels = random.integers(0, 5, (4, 4, 4)).repeat(8, 1).repeat(8, 2)
    pixels = random.normal(scale=0.1, size=(4, 3, 32, 32)) + labels[:, None] - 2.5
    if ignoring:
        labels[:, :8] = 255
    return pixels.astype("float32"), labels


@pytest.fixture(scope="module")
def model():
    return api.TFSegformerForSemanticSegmentation.from_pretrained(str(SEGMENTATION / "tf_h5"))


@pytest.fixture
def policy():
    """Sets Keras' global dtype policy for one test."""
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy("float32")


# Loading and calling ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tf_h5", "tf_h5_sharded", "tf_safetensors"])
@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_outputs(form, case):
    model = api.TFSegformerForSemanticSegmentation.from_pretrained(str(SEGMENTATION / form))
    outputs = model(EXPECTED[f"{case}/pixel_values"], output_hidden_states=True, output_attentions=True)
    expected = EXPECTED[f"{case}/logits"]
    np.testing.assert_allclose(outputs.logits, expected, rtol=0, atol=LOGITS_TOLERANCE)
    for index, state in enumerate(outputs.hidden_states):
        expected = EXPECTED[f"{case}/hidden_states/{index}"]
        np.testing.assert_allclose(state, expected, rtol=0, atol=HIDDEN_STATES_TOLERANCE)
    assert len(outputs.attentions) == sum(model.config.depths)
    for index, attention in enumerate(outputs.attentions):
        expected = EXPECTED[f"{case}/attentions/{index}"]
        rows, columns = expected.shape[2:]
        shown = np.asarray(attention)[:, :, :rows, :columns]  # the file holds the corners of large ones
        np.testing.assert_allclose(shown, expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_the_ways_to_read_an_output(model):
    outputs = model({"pixel_values": tf.constant(X)}, output_hidden_states=True, training=False)
    assert list(outputs.keys()) == ["logits", "hidden_states"]
    assert outputs.loss is None and outputs.attentions is None
    for logits in (outputs.logits, outputs["logits"], outputs[0], outputs.to_tuple()[0]):
        np.testing.assert_array_equal(logits, outputs.logits)
    assert [state.shape[1] for state in outputs[1]] == model.config.hidden_sizes


@pytest.mark.parametrize(("states", "attentions"), [(False, False), (True, False)])
def test_tuples(model, states, attentions):
    values = model(X, output_hidden_states=states, output_attentions=attentions, return_dict=False)
    outputs = model(X, output_hidden_states=states, output_attentions=attentions)
    assert isinstance(values, tuple) and len(values) == len(outputs.to_tuple())
    np.testing.assert_array_equal(values[0], outputs.logits)


@legacy_fault(5)
@pytest.mark.parametrize("states", [False, True])
def test_tuples_with_attentions(model, states):
    values = model(X, output_hidden_states=states, output_attentions=True, return_dict=False)
    outputs = model(X, output_hidden_states=states, output_attentions=True)
    assert len(values) == 2 + states
    for found, expected in zip(values[-1], outputs.attentions, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_config_may_ask_for_more():
    folder = str(SEGMENTATION / "tf_h5")
    model = api.TFSegformerForSemanticSegmentation.from_pretrained(folder, output_hidden_states=True)
    assert len(model(X).hidden_states) == 4
    assert model(X, output_hidden_states=False).hidden_states is None


def test_encoder(model):
    encoder = api.TFSegformerModel.from_pretrained(str(SEGMENTATION / "tf_h5"))
    expected = model(X, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(encoder(X).last_hidden_state, expected)


def test_classifier():
    expected = np.load(CLASSIFICATION / "expected.npz")
    model = api.TFSegformerForImageClassification.from_pretrained(str(CLASSIFICATION / "tf_h5"))
    x = expected["pixel_values"]
    np.testing.assert_allclose(model(x).logits, expected["logits"], rtol=0, atol=LOGITS_TOLERANCE)
    labels = np.arange(len(x)) % 5
    log_probabilities = tf.nn.log_softmax(expected["logits"]).numpy()
    loss = tf.reduce_mean(model(x, labels=labels).loss)
    assert abs(float(loss) + log_probabilities[range(len(x)), labels].mean()) < 1e-6


def test_decode_head_alone(model):
    head = api.TFSegformerDecodeHead(model.config)
    states = model(X, output_hidden_states=True).hidden_states
    assert head(states).shape == (len(X), 16, 16, 11)  # channels last


@legacy_fault(4)
@pytest.mark.parametrize("size", [(64, 64), (64, 96)])
def test_a_last_stage_that_is_not_reshaped(size):
    segmenter = api.TFSegformerForSemanticSegmentation(tiny_config(reshape_last_stage=False))
    assert segmenter(np.zeros((1, 3, *size), "float32")).logits.shape[2:] == (size[0] // 4, size[1] // 4)
    classifier = api.TFSegformerForImageClassification(tiny_config(reshape_last_stage=False))
    assert classifier(np.zeros((1, 3, *size), "float32")).logits.shape == (1, 5)


@pytest.mark.parametrize("size", [(64, 64), (50, 70)])
def test_in_a_graph(model, size):
    graph = tf.function(lambda x: model(x).logits)
    x = np.random.default_rng(0).normal(size=(1, 3, *size)).astype("float32")
    np.testing.assert_allclose(graph(tf.constant(x)), model(x).logits, rtol=0, atol=LOGITS_TOLERANCE)


def test_predict(model):
    outputs = model.predict(X, batch_size=1, verbose=0)
    np.testing.assert_allclose(outputs.logits, EXPECTED["0/logits"], rtol=0, atol=LOGITS_TOLERANCE)


def test_attributes(model):
    assert model.framework == "tf"
    assert model.main_input_name == "pixel_values"
    assert model.base_model_prefix == "segformer"
    assert model.name_or_path == str(SEGMENTATION / "tf_h5")
    assert model.num_parameters() - model.num_parameters(only_trainable=True) == 2 * 16
    assert model.config.num_labels == 11
    (dummy,) = model.dummy_inputs.values()
    assert dummy.shape == (1, 3, 512, 512)


@legacy_fault(8)
def test_a_new_head_is_initialised_as_the_reference():
    model = api.TFSegformerForSemanticSegmentation(tiny_config(decoder_hidden_size=128, num_labels=64))
    model(np.zeros((1, 3, 32, 32), "float32"))
    kernel = model.decode_head.classifier.kernel
    assert np.std(np.asarray(kernel)) == pytest.approx(model.config.initializer_range, rel=0.05)


@pytest.mark.parametrize(
    ("auto", "model_class", "folder"),
    [
        (
            api.TFAutoModelForSemanticSegmentation,
            api.TFSegformerForSemanticSegmentation,
            SEGMENTATION / "tf_h5",
        ),
        (
            api.TFAutoModelForImageClassification,
            api.TFSegformerForImageClassification,
            CLASSIFICATION / "tf_h5",
        ),
    ],
)
def test_auto_classes(auto, model_class, folder):
    assert type(auto.from_pretrained(str(folder))) is model_class
    assert type(auto.from_config(tiny_config())) is model_class
    with pytest.raises(OSError):
        auto(tiny_config())


@legacy_fault(9)
def test_shards_in_a_subfolder(model):
    sharded = api.TFSegformerForSemanticSegmentation.from_pretrained(
        str(SEGMENTATION), subfolder="tf_h5_sharded", use_safetensors=False
    )
    np.testing.assert_array_equal(sharded(X).logits, model(X).logits)


# Losses and training ------------------------------------------------------------------------------


def test_loss(model):
    loss = model(X, labels=LABELS).loss
    resized = tf.image.resize(tf.transpose(model(X).logits, (0, 2, 3, 1)), LABELS.shape[1:])
    expected = tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, resized)
    assert float(tf.reduce_mean(loss)) == pytest.approx(float(tf.reduce_mean(expected)), abs=1e-6)
    assert list(model({"pixel_values": X, "labels": LABELS})) == ["loss", "logits"]
    assert len(model(X, labels=LABELS, return_dict=False)) == 2


@legacy_fault(3)
def test_the_loss_is_a_scalar(model):
    assert model(X, labels=LABELS).loss.shape == ()


@legacy_fault(2)
@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_pixels_without_a_label(model, case):
    loss = model(EXPECTED[f"{case}/pixel_values"], labels=EXPECTED[f"{case}/labels"]).loss
    assert float(tf.reduce_mean(loss)) == pytest.approx(float(EXPECTED[f"{case}/loss"]), abs=1e-6)


@legacy_fault(3)
def test_one_label_is_binary():
    model = api.TFSegformerForSemanticSegmentation(tiny_config(num_labels=1))
    pixels, labels = tiny_batch()
    loss = model(pixels, labels=np.minimum(labels, 1)).loss
    assert np.isfinite(np.asarray(loss)).all()


def test_hf_compute_loss(model):
    logits = tf.transpose(model(X).logits, (0, 2, 3, 1))
    loss = model.hf_compute_loss(logits=logits, labels=tf.constant(LABELS))
    np.testing.assert_allclose(np.ravel(loss), np.ravel(model(X, labels=LABELS).loss), rtol=1e-6)


def test_a_loop_of_ones_own(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model(X, labels=LABELS, training=True).loss)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == 143
    assert all(gradient is not None for gradient in gradients)


def test_training_draws_dropout(model):
    assert np.abs(model(X, training=True).logits - model(X, training=True).logits).max() > 1e-3
    np.testing.assert_array_equal(model(X, training=False).logits, model(X).logits)


@pytest.mark.parametrize("form", ["dict", "x and y"])
def test_compile_without_a_loss_and_fit(form):
    model = api.TFSegformerForSemanticSegmentation(tiny_config(**TWO_STAGES))
    model.compile(optimizer="adam")
    pixels, labels = tiny_batch()
    x, y = ({"pixel_values": pixels, "labels": labels}, None) if form == "dict" else (pixels, labels)
    history = model.fit(x, y, batch_size=2, epochs=2, verbose=0)
    assert np.isfinite(np.ravel(history.history["loss"])).all()


@legacy_fault(2)
def test_fit_with_pixels_without_a_label():
    model = api.TFSegformerForSemanticSegmentation(tiny_config(**TWO_STAGES))
    model.compile(optimizer="adam")
    pixels, labels = tiny_batch(ignoring=True)
    history = model.fit({"pixel_values": pixels, "labels": labels}, epochs=2, verbose=0)
    assert np.isfinite(np.ravel(history.history["loss"])).all()


@legacy_fault(6)
def test_mixed_precision_trains(policy):
    policy("mixed_float16")
    model = api.TFSegformerForSemanticSegmentation(tiny_config(drop_path_rate=0.5))
    pixels, labels = tiny_batch()
    with tf.GradientTape() as tape:
        outputs = model(pixels, labels=labels, training=True)
        loss = tf.reduce_mean(outputs.loss)
    assert np.isfinite(float(loss))
    assert all(gradient is not None for gradient in tape.gradient(loss, model.trainable_variables))


def test_prepare_tf_dataset():
    datasets = pytest.importorskip("datasets")
    pixels, labels = tiny_batch()
    dataset = datasets.Dataset.from_dict(
        {"pixel_values": list(pixels), "labels": list(labels), "file": list("abcd")}
    )
    model = api.TFSegformerForSemanticSegmentation(tiny_config(**TWO_STAGES))
    batches = model.prepare_tf_dataset(dataset, batch_size=2, shuffle=False)
    assert len(batches) == 2
    x, y = next(iter(batches))
    np.testing.assert_array_equal(x, pixels[:2])
    np.testing.assert_array_equal(y, labels[:2])
    model.compile(optimizer="adam")
    history = model.fit(batches, shuffle=False, verbose=0)
    assert np.isfinite(np.ravel(history.history["loss"])).all()


# Serving and saving -------------------------------------------------------------------------------


def test_serving(model):
    assert model.input_signature["pixel_values"].shape[1] == 3
    x = tf.ones((1, 3, 512, 512))
    np.testing.assert_allclose(
        model.serving({"pixel_values": x})["logits"], model(x).logits, rtol=0, atol=LOGITS_TOLERANCE
    )


@legacy_fault(7)
def test_serving_takes_any_size(model):
    x = tf.ones((1, 3, 64, 96))
    assert model.input_signature["pixel_values"].is_compatible_with(x)
    assert model.serving({"pixel_values": x})["logits"].shape == (1, 11, 16, 24)


@pytest.mark.parametrize("arguments", [{}, {"max_shard_size": "20KB"}, {"safe_serialization": True}], ids=str)
def test_saving_and_loading_again(model, arguments, tmp_path):
    model.save_pretrained(str(tmp_path), **arguments)
    again = api.TFSegformerForSemanticSegmentation.from_pretrained(str(tmp_path))
    np.testing.assert_array_equal(again(X).logits, model(X).logits)


@legacy_fault(1)
def test_saving_a_saved_model(model, tmp_path):
    model.save_pretrained(str(tmp_path), saved_model=True)
    served = tf.saved_model.load(str(tmp_path / "saved_model" / "1")).signatures["serving_default"]
    x = tf.ones((1, 3, 512, 512))
    np.testing.assert_allclose(
        served(pixel_values=x)["logits"], model(x).logits, rtol=0, atol=LOGITS_TOLERANCE
    )


# The image processor ------------------------------------------------------------------------------

PHOTO = Image.open(FIXTURES / "photos" / "chelsea.png").convert("RGB")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def pixel_values(image, height, width):
    levels = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    scaled = (levels.astype(np.float64) * (1 / 255)).astype(np.float32)
    return ((scaled - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("processor_class", [api.SegformerImageProcessor, api.SegformerFeatureExtractor])
def test_image_processor(processor_class, model):
    processor = processor_class(size={"height": 64, "width": 96})
    inputs = processor(images=PHOTO, return_tensors="tf")
    assert isinstance(inputs["pixel_values"], tf.Tensor)
    np.testing.assert_array_equal(inputs.pixel_values[0], pixel_values(PHOTO, 64, 96))
    assert model(**inputs).logits.shape == (1, 11, 16, 24)
    assert model(inputs).logits.shape == (1, 11, 16, 24)


def test_lists_arrays_and_tensors_are_images():
    processor = api.SegformerImageProcessor(size=64)
    array = np.asarray(PHOTO)
    for images in ([PHOTO, PHOTO], [array, array], np.stack([array, array]), tf.constant([array, array])):
        found = processor(images, return_tensors="np").pixel_values
        np.testing.assert_array_equal(found, [pixel_values(PHOTO, 64, 64)] * 2)


def test_steps_can_be_left_out():
    processor = api.SegformerImageProcessor()
    array = np.asarray(PHOTO)
    nothing = {"do_resize": False, "do_rescale": False, "do_normalize": False}
    np.testing.assert_array_equal(processor(array, **nothing).pixel_values[0], array.transpose(2, 0, 1))
    last = processor(array, **nothing, data_format="channels_last", return_tensors="tf")
    np.testing.assert_array_equal(last.pixel_values[0], array)


def test_label_maps():
    processor = api.SegformerImageProcessor(size={"height": 4, "width": 4}, do_reduce_labels=True)
    label_map = np.array([[0, 1], [255, 3]], np.uint8)
    inputs = processor(np.zeros((2, 2, 3), np.uint8), label_map, return_tensors="tf")
    assert inputs["labels"].dtype.is_integer
    expected = np.array([[255, 0], [255, 2]]).repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(inputs["labels"][0], expected)


def test_a_config_file_in_the_old_style(tmp_path):
    processor = api.SegformerImageProcessor.from_pretrained(str(SEGMENTATION), do_resize=False)
    assert processor.do_resize is False
    processor.save_pretrained(str(tmp_path))
    again = api.SegformerImageProcessor.from_pretrained(str(tmp_path))
    assert again.size == processor.size and again.do_resize is False


def test_a_gray_image_is_refused():
    with pytest.raises(ValueError):
        api.SegformerImageProcessor()(PHOTO.convert("L"))
