import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_segformer import confidence
from tf_segformer.confidence import class_statistics, confidence_map
from tf_segformer.postprocessing import label_map

MEASURES = ["probability", "margin", "entropy"]
LOGITS, SIZE = tf.TensorSpec([None, None, None]), tf.TensorSpec([], tf.int32)


def compiled(measure):
    return tf.function(
        lambda logits, height, width: confidence_map(logits, height, width, measure),
        input_signature=[LOGITS, SIZE, SIZE],
    )


IN_GRAPH = {measure: compiled(measure) for measure in MEASURES}


def expected_map(logits, height, width, measure):
    """The definition, by PyTorch in float64, before rounding to uint8."""
    channels_first = torch.from_numpy(logits.transpose(2, 0, 1).astype(np.float64))[None]
    resized = torch.nn.functional.interpolate(channels_first, size=(height, width), mode="bilinear")
    probability = resized[0].softmax(dim=0)
    classes = len(probability)
    if measure == "entropy":
        entropy = torch.special.entr(probability).sum(0)
        return 255 * entropy.numpy() / np.log(max(classes, 2))
    first, *second = probability.topk(min(2, classes), dim=0).values
    return 255 * (first - second[0] if second and measure == "margin" else first).numpy()


def random_logits(height, width, classes, scale, seed):
    random = np.random.default_rng(seed)
    return random.normal(0, scale, (height, width, classes)).astype(np.float32)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    measure=st.sampled_from(MEASURES),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    target=st.tuples(st.integers(1, 80), st.integers(1, 80)),
    classes=st.integers(1, 60),
    scale=st.sampled_from([0.0, 0.3, 2.0, 8.0, 50.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_confidence_is_that_of_the_whole_softmax(measure, grid, target, classes, scale, seed):
    logits = random_logits(*grid, classes, scale, seed)
    found = IN_GRAPH[measure](logits, *target).numpy()
    assert found.dtype == np.uint8
    error = np.abs(found - expected_map(logits, *target, measure))
    # Half a step is lost to rounding; the classes left out may add a quarter.
    assert error.max() <= 0.75


@pytest.mark.parametrize("measure", MEASURES)
def test_certain_and_undecided_pixels(measure):
    logits = np.zeros((1, 2, 4), np.float32)
    logits[0, 1, 2] = 100
    found = confidence_map(logits, 1, 2, measure).numpy()
    undecided = {"probability": 64, "margin": 0, "entropy": 255}[measure]
    certain = {"probability": 255, "margin": 255, "entropy": 0}[measure]
    assert found.tolist() == [[undecided, certain]]


@pytest.mark.parametrize("measure", MEASURES)
def test_one_class_is_certain(measure):
    found = confidence_map(random_logits(3, 3, 1, 2.0, 0), 7, 7, measure).numpy()
    assert np.all(found == (0 if measure == "entropy" else 255))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_a_guess(measure, value):
    logits = random_logits(6, 6, 3, 8.0, 0)
    expected = confidence_map(logits, 24, 24, measure).numpy()
    logits[0, 0, 1] = value
    found = confidence_map(logits, 24, 24, measure).numpy()
    touched = np.zeros((24, 24), bool)
    touched[:6, :6] = True  # up to the next logit's centre
    assert np.array_equal(found[~touched], expected[~touched])
    assert np.all(found[touched] == (255 if measure == "entropy" else 0))


@pytest.mark.parametrize("measure", MEASURES)
def test_nothing_but_nan_is_a_guess_everywhere(measure):
    found = confidence_map(np.full((3, 3, 4), np.nan, np.float32), 7, 7, measure).numpy()
    assert np.all(found == (255 if measure == "entropy" else 0))


@pytest.mark.parametrize("target", [(0, 0), (0, 9), (9, 0)])
def test_an_empty_target_gives_an_empty_map(target):
    assert IN_GRAPH["probability"](random_logits(4, 5, 3, 1.0, 0), *target).shape == target


def test_large_pictures_are_done_in_bands(monkeypatch):
    logits = random_logits(7, 9, 20, 3.0, 0)
    expected = IN_GRAPH["margin"](logits, 90, 70).numpy()
    monkeypatch.setattr(confidence, "BUDGET", 600)
    assert np.array_equal(confidence_map(logits, 90, 70, "margin"), expected)


def test_static_shapes_are_kept():
    static = tf.function(lambda logits: confidence_map(logits, 75, 50))
    concrete = static.get_concrete_function(tf.TensorSpec([16, 16, 10]))
    assert concrete.structured_outputs.shape == (75, 50)


def test_an_unknown_measure_is_refused():
    with pytest.raises(ValueError, match="expected one of probability, margin, entropy"):
        confidence_map(tf.zeros([2, 2, 2]), 4, 4, "certainty")


def test_class_statistics():
    labels = np.array([[0, 0, 2], [2, 2, 2]], np.int32)
    confidence = np.array([[255, 0, 51], [51, 51, 255]], np.uint8)
    share, mean = class_statistics(labels, confidence, 4)
    np.testing.assert_allclose(share, [1 / 3, 0, 2 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(mean, [0.5, 0, 0.4, 0], rtol=1e-6)


def test_class_statistics_of_an_empty_map():
    share, mean = class_statistics(tf.zeros([0, 0], tf.int32), tf.zeros([0, 0], tf.uint8), 3)
    assert share.numpy().tolist() == mean.numpy().tolist() == [0, 0, 0]


def test_a_batch_in_a_session(tmp_path):
    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None, None]),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def serve(self, logits, heights, widths):
            def one(item):
                labels, confidence = label_map(*item), confidence_map(*item)
                share, mean = class_statistics(labels, confidence, tf.shape(logits)[-1])
                png = tf.io.encode_png(confidence[..., None])
                return {"confidence_png_bytes": png, "share": share, "confidence": mean}

            types = {"confidence_png_bytes": tf.string, "share": tf.float32}
            return tf.map_fn(
                one,
                (logits, heights, widths),
                fn_output_signature={**types, "confidence": tf.float32},
            )

    module = Module()
    tf.saved_model.save(module, str(tmp_path), signatures=module.serve)
    logits = np.stack([random_logits(8, 6, 5, 3.0, seed) for seed in range(2)])
    sizes = [(40, 30), (13, 77)]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = meta.signature_def["serving_default"]
        feed = {
            signature.inputs["logits"].name: logits,
            signature.inputs["heights"].name: [height for height, _ in sizes],
            signature.inputs["widths"].name: [width for _, width in sizes],
        }
        found = session.run({k: v.name for k, v in signature.outputs.items()}, feed)
    for index, (item, size) in enumerate(zip(logits, sizes, strict=True)):
        picture = tf.io.decode_png(found["confidence_png_bytes"][index])[..., 0].numpy()
        assert np.array_equal(picture, IN_GRAPH["probability"](item, *size))
        labels = label_map(item, *size)
        assert found["share"][index].sum() == pytest.approx(1)
        best = found["confidence"][index].argmax()
        mean = picture[labels.numpy() == best].mean() / 255
        assert found["confidence"][index][best] == pytest.approx(mean)
