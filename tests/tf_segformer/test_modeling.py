"""The forward pass against the PyTorch outputs stored with the fixtures, wherever a Keras model runs."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_segformer import (
    TFSegformerDecodeHead,
    TFSegformerForImageClassification,
    TFSegformerForSemanticSegmentation,
    TFSegformerModel,
    variant_config,
)

FIXTURES = Path(__file__).parents[1] / "fixtures"
SEGMENTATION = FIXTURES / "segmentation_tiny"
CLASSIFICATION = FIXTURES / "classification_tiny"
PYTORCH_FORMS = [".", "renamed_keys_safetensors", "sharded_bin", "sharded_safetensors"]
TENSORFLOW_FORMS = ["tf_h5", "tf_h5_sharded", "tf_safetensors"]

LOGITS_TOLERANCE = 2e-6  # the port is held to the reference's own float32 noise
HIDDEN_STATES_TOLERANCE = 5e-6  # measured: PyTorch's float32 noise there is 1.5e-6
LOSS_TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def expected():
    return np.load(SEGMENTATION / "expected.npz")


@pytest.fixture(scope="module")
def model():
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, from_pt=True)


@pytest.fixture(scope="module")
def graph(model):
    """The model's logits in a graph that knows neither the batch nor the size."""
    signature = [tf.TensorSpec((None, 3, None, None), tf.float32)]
    return tf.function(lambda x: model(x).logits, input_signature=signature)


def pixels(height=64, width=64, batch=1, dtype="float32"):
    return np.random.default_rng(0).normal(size=(batch, 3, height, width)).astype(dtype)


def shown(attention, expected):
    """The fixture keeps only the first 4 × 4 entries of large attention maps."""
    attention = np.asarray(attention)
    return attention if attention.shape == expected.shape else attention[..., :4, :4]


@pytest.fixture(scope="module", params=PYTORCH_FORMS + TENSORFLOW_FORMS)
def loaded(request):
    from_pt = True if request.param in PYTORCH_FORMS else None
    return TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION / request.param, from_pt=from_pt)


@pytest.mark.parametrize("case", ["0", "1", "2"])
def test_outputs_equal_pytorch(loaded, case, expected):
    model = loaded
    output = model(
        expected[f"{case}/pixel_values"],
        labels=expected[f"{case}/labels"],
        output_attentions=True,
        output_hidden_states=True,
    )
    np.testing.assert_allclose(output.logits, expected[f"{case}/logits"], rtol=0, atol=LOGITS_TOLERANCE)
    assert output.loss.shape == ()
    np.testing.assert_allclose(output.loss, expected[f"{case}/loss"], rtol=0, atol=LOSS_TOLERANCE)
    assert len(output.hidden_states) == 4
    for index, state in enumerate(output.hidden_states):
        np.testing.assert_allclose(
            state, expected[f"{case}/hidden_states/{index}"], rtol=0, atol=HIDDEN_STATES_TOLERANCE
        )
    assert len(output.attentions) == sum(model.config.depths)
    for index, attention in enumerate(output.attentions):
        reference = expected[f"{case}/attentions/{index}"]
        np.testing.assert_allclose(shown(attention, reference), reference, rtol=0, atol=LOGITS_TOLERANCE)


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin", "tf_h5/tf_model.h5"])
def test_classifier_equals_pytorch(file, tmp_path):
    for name in ("config.json", file):
        (tmp_path / Path(name).name).write_bytes((CLASSIFICATION / name).read_bytes())
    expected = np.load(CLASSIFICATION / "expected.npz")
    model = TFSegformerForImageClassification.from_pretrained(tmp_path)
    logits = model(expected["pixel_values"]).logits
    np.testing.assert_allclose(logits, expected["logits"], rtol=0, atol=LOGITS_TOLERANCE)


@pytest.mark.parametrize("size", [(64, 64), (70, 97), (33, 128)])
def test_float64_is_exact(size):
    import torch
    from transformers import SegformerForSemanticSegmentation

    x = pixels(*size, dtype="float64")
    model = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, dtype="float64")
    # sdpa keeps float64 throughout; eager attention would take its softmax in float32
    reference = SegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, attn_implementation="sdpa")
    with torch.no_grad():
        logits = reference.double().eval()(torch.from_numpy(x)).logits.numpy()
    np.testing.assert_allclose(model(x).logits, logits, rtol=0, atol=1e-12 * np.abs(logits).max())


def test_graph_with_unknown_sizes_equals_eager(model, graph):
    for x in (pixels(64, 64), pixels(50, 70), pixels(96, 32, batch=3)):
        np.testing.assert_allclose(graph(x), model(x).logits, rtol=0, atol=LOGITS_TOLERANCE)


def test_predict_returns_the_output_class(model):
    x = pixels(batch=3)
    output = model.predict(x, batch_size=2, verbose=0)
    np.testing.assert_allclose(output.logits, model(x).logits, rtol=0, atol=LOGITS_TOLERANCE)


def test_inside_a_functional_model(model, tmp_path):
    image = keras.Input((3, None, None))
    scores = keras.layers.Softmax(axis=1)(model(image).logits)
    functional = keras.Model(image, scores)
    assert functional.output_shape == (None, 11, None, None)
    x = pixels(50, 70)
    expected = tf.nn.softmax(model(x).logits, axis=1)
    np.testing.assert_allclose(functional.predict(x, verbose=0), expected, rtol=0, atol=LOGITS_TOLERANCE)
    functional.save(tmp_path / "functional.keras")
    again = keras.models.load_model(tmp_path / "functional.keras")
    np.testing.assert_allclose(again(x), expected, rtol=0, atol=LOGITS_TOLERANCE)


@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_keras_file_round_trip(dtype, tmp_path):
    model = TFSegformerForSemanticSegmentation.from_pretrained(
        SEGMENTATION, dtype=dtype, data_format="channels_last"
    )
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.dtype_policy.name == dtype
    assert again.data_format == "channels_last"
    x = pixels().transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(tf.cast(again(x).logits, tf.float64), tf.cast(model(x).logits, tf.float64))


def test_static_shapes_are_known(model):
    output = model(keras.Input((3, 50, 70)), output_hidden_states=True)
    assert output.logits.shape == (None, 11, 13, 18)  # rounded up
    assert [state.shape[1:] for state in output.hidden_states] == [
        (8, 13, 18),
        (16, 7, 9),
        (24, 4, 5),
        (32, 2, 3),
    ]


def test_channels_last_holds_the_same_numbers(model):
    last = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, data_format="channels_last")
    x = pixels()
    output = last(x.transpose(0, 2, 3, 1), output_hidden_states=True)
    expected = model(x, output_hidden_states=True)
    np.testing.assert_array_equal(np.transpose(output.logits, (0, 3, 1, 2)), expected.logits)
    for state, wanted in zip(output.hidden_states, expected.hidden_states, strict=True):
        np.testing.assert_array_equal(np.transpose(state, (0, 3, 1, 2)), wanted)


@pytest.mark.parametrize("size", [8, 16, 24, 28])
def test_too_small_an_image_is_refused(model, graph, size):
    # PyTorch raises here too; TensorFlow's convolution would return uninitialised memory
    with pytest.raises(ValueError, match="image is too small"):
        model(pixels(size, 64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="image is too small"):
        graph(pixels(64, size))
    assert np.isfinite(graph(pixels(32, 32))).all()


def test_return_tuple_and_output_flags(model):
    x = pixels()
    logits, states, attentions = model(
        x, output_attentions=True, output_hidden_states=True, return_dict=False
    )
    output = model(x, output_attentions=True, output_hidden_states=True)
    np.testing.assert_array_equal(logits, output[0])
    np.testing.assert_array_equal(states[3], output["hidden_states"][3])
    np.testing.assert_array_equal(attentions[4], output.attentions[4])
    assert list(model(x)) == ["logits"]
    assert list(model({"pixel_values": x}, output_attentions=True)) == ["logits", "attentions"]


def test_encoder_alone_equals_the_last_hidden_state(model):
    x = pixels()
    encoder = TFSegformerModel.from_pretrained(SEGMENTATION)
    expected = model(x, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(encoder(x).last_hidden_state, expected)


@pytest.mark.parametrize("data_format", ["channels_first", "channels_last"])
def test_decode_head_alone(model, data_format):
    head = TFSegformerDecodeHead(model.config, data_format=data_format)
    head.build()
    for variable, trained in zip(head.weights, model.decode_head.weights, strict=True):
        variable.assign(trained)
    x = pixels(64, 96, batch=2)
    output = model(x, output_hidden_states=True)
    states = output.hidden_states
    if data_format == "channels_last":
        states = [tf.transpose(state, (0, 2, 3, 1)) for state in states]
    expected = tf.transpose(output.logits, (0, 2, 3, 1))  # the head's logits are channels last
    np.testing.assert_array_equal(head(states), expected)
    flat = model.segformer(tf.transpose(x, (0, 2, 3, 1)))[0][-1]
    flat = tf.reshape(flat, (2, -1, flat.shape[-1]))  # as reshape_last_stage=False leaves it
    np.testing.assert_array_equal(head([*states[:3], flat]), expected)
    again = TFSegformerDecodeHead.from_config(head.get_config())
    assert again.config.to_dict() == head.config.to_dict()
    assert again.data_format == data_format


def test_feature_maps_in_the_wrong_order_or_number_are_named(model):
    head = TFSegformerDecodeHead(model.config)
    states = model(pixels(), output_hidden_states=True).hidden_states
    with pytest.raises(ValueError, match=r"3 feature maps; expected 4"):
        head(states[:3])
    with pytest.raises(ValueError, match=r"encoder_hidden_states\[0\] .* with 8 channels"):
        head([tf.transpose(state, (0, 2, 3, 1)) for state in states])


def test_last_stage_may_stay_flat(model):
    encoder = TFSegformerModel.from_pretrained(SEGMENTATION, reshape_last_stage=False)
    flat = encoder(pixels(64, 96), output_hidden_states=True)
    assert flat.last_hidden_state.shape == (1, 2 * 3, 32)
    assert flat.hidden_states[0].shape == (1, 8, 16, 24)
    segmenter = TFSegformerForSemanticSegmentation.from_pretrained(SEGMENTATION, reshape_last_stage=False)
    x = pixels(64, 96)
    np.testing.assert_array_equal(segmenter(x).logits, model(x).logits)


def test_other_architectures_of_the_config_equal_pytorch():
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    from tf_segformer.weight_loading import load_weights

    config = SegformerConfig(
        num_channels=4,
        num_encoder_blocks=3,
        hidden_sizes=[8, 12, 20],
        depths=[1, 2, 1],
        num_attention_heads=[2, 3, 5],
        sr_ratios=[4, 1, 2],
        patch_sizes=[5, 3, 2],
        strides=[3, 2, 1],
        mlp_ratios=[2, 3, 4],
        hidden_act="relu",
        decoder_hidden_size=24,
        num_labels=1,
    )
    torch.manual_seed(0)
    reference = SegformerForSemanticSegmentation(config).eval()

    class InMemory:
        source = "a model in memory"

        def shapes(self):
            return {key: tuple(value.shape) for key, value in reference.state_dict().items()}

        def read(self, key):
            return reference.state_dict()[key].numpy()

    model = TFSegformerForSemanticSegmentation(config)
    assert load_weights(model, InMemory()).missing_keys == []
    x = np.random.default_rng(1).normal(size=(2, 4, 61, 80)).astype("float32")
    with torch.no_grad():
        expected = reference(torch.from_numpy(x)).logits.numpy()
    np.testing.assert_allclose(model(x).logits, expected, rtol=0, atol=LOGITS_TOLERANCE)


def test_dropout_and_drop_path_act_only_in_training(model):
    x = pixels()
    assert np.abs(model(x, training=True).logits - model(x, training=True).logits).max() > 1e-3
    np.testing.assert_array_equal(model(x).logits, model(x, training=False).logits)


def test_drop_path_drops_whole_branches_per_sample():
    rates = [
        block.drop_path.rate
        for stage in TFSegformerModel(variant_config("b0")).segformer.encoder.blocks
        for block in stage
    ]
    np.testing.assert_allclose(rates, np.linspace(0, 0.1, 8), rtol=1e-12)
    narrow = variant_config("b0", drop_path_rate=0.5, hidden_sizes=[8, 16, 40, 64])
    drop = TFSegformerModel(narrow).segformer.encoder.blocks[3][1].drop_path
    dropped = drop(tf.ones((64, 2, 2, 3)), training=True).numpy().reshape(64, -1)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped.min(axis=1) == dropped.max(axis=1)).all()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros((1, 64, 64, 3), "float32"), "with 3 channels"),
        (np.zeros((3, 64, 64), "float32"), "expected .batch, channels, height, width"),
        (np.zeros((1, 3, 64, 64), "uint8"), "expected floating"),
        ({"image": np.zeros((1, 3, 64, 64), "float32")}, "expected 'pixel_values'"),
    ],
)
def test_bad_pixel_values_are_named(model, bad, message):
    with pytest.raises(ValueError, match=message):
        model(bad)


def test_parameter_counts_of_the_paper():
    counts = {"b0": 3_752_694, "b4": 64_108_374}
    for variant, count in counts.items():
        model = TFSegformerForSemanticSegmentation(variant_config(variant, num_labels=150))
        width = model.config.decoder_hidden_size
        assert model.num_parameters(only_trainable=True) == count
        assert model.num_parameters() == count + 2 * width  # and the batch-norm statistics
