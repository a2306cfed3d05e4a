import numpy as np
import pytest
import tensorflow as tf
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tf_segformer import tiling
from tf_segformer.postprocessing import label_map

SIGNATURE = [tf.TensorSpec([None, None, None]), tf.TensorSpec([], tf.int32)]
in_graph = tf.function(label_map, input_signature=[*SIGNATURE, SIGNATURE[-1]])


def resized_by_torch(logits, height, width):
    channels_first = torch.from_numpy(np.ascontiguousarray(logits.transpose(2, 0, 1)))[None]
    return torch.nn.functional.interpolate(
        channels_first, size=(height, width), mode="bilinear", align_corners=False
    )[0]


def disagreements(found, logits, height, width):
    """Count the pixels that differ, and of those the ones that rounding does not explain."""
    resized = resized_by_torch(logits, height, width)
    expected = resized.argmax(dim=0).numpy()
    assert found.dtype == np.int32
    assert found.shape == expected.shape
    different = np.nonzero(found != expected)
    values = resized.numpy()
    lost = values[(expected[different], *different)] - values[(found[different], *different)]
    rounding = 6 * np.finfo(np.float32).eps * np.abs(logits).max()
    return len(lost), np.count_nonzero(lost > rounding)


def regions(height, width, classes, seed):
    """Logits such as a trained model's: smooth in each class, one class far ahead in a region."""
    random = np.random.default_rng(seed)
    centres = random.uniform(0, [height, width], (6, 2))
    y, x = np.mgrid[:height, :width]
    y, x = y + random.normal(0, 0.6, y.shape), x + random.normal(0, 0.6, x.shape)
    distance = (y[..., None] - centres[:, 0]) ** 2 + (x[..., None] - centres[:, 1]) ** 2
    nearest = random.integers(0, classes, 6)[distance.argmin(-1)]
    logits = random.normal(0, 0.5, (height, width, classes))
    np.put_along_axis(logits, nearest[..., None], random.uniform(3, 9), axis=-1)
    return logits.astype(np.float32)


def noise(height, width, classes, seed):
    random = np.random.default_rng(seed)
    return random.normal(0, 10, (height, width, classes)).astype(np.float32)


def ties(height, width, classes, seed):
    """Few different values, so that classes tie at the corners and in between."""
    random = np.random.default_rng(seed)
    return random.integers(-1, 2, (height, width, classes)).astype(np.float32)


KINDS = {"regions": regions, "noise": noise, "ties": ties}
side = st.integers(1, 20)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    grid=st.tuples(side, side),
    target=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    classes=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
@example(kind="noise", grid=(1, 1), target=(150, 1), classes=3, seed=0)
@example(kind="noise", grid=(2, 2), target=(150, 149), classes=3, seed=0)
@example(kind="noise", grid=(20, 20), target=(1, 1), classes=3, seed=0)
@example(kind="noise", grid=(20, 20), target=(20, 20), classes=3, seed=0)
@example(kind="noise", grid=(20, 19), target=(7, 80), classes=3, seed=0)
def test_label_maps_equal_pytorchs_but_for_rounding(kind, grid, target, classes, seed):
    logits = KINDS[kind](*grid, classes, seed)
    found = in_graph(logits, *target).numpy()
    assert disagreements(found, logits, *target)[1] == 0


@pytest.mark.parametrize("kind", ["regions", "noise"])
@pytest.mark.parametrize("target", [(512, 512), (427, 640), (97, 31), (601, 33)])
def test_a_photographs_label_map_equals_pytorchs_at_every_pixel(kind, target):
    logits = KINDS[kind](32, 40, 150, seed=1)
    tied, wrong = disagreements(in_graph(logits, *target).numpy(), logits, *target)
    assert wrong == 0
    assert tied <= 2  # of up to 273,280 pixels


def test_ties_go_to_the_lowest_class():
    logits = ties(12, 12, 5, seed=3)
    for target in ((12, 12), (24, 48), (96, 96)):  # dyadic: no rounding, so ties are exact
        assert disagreements(in_graph(logits, *target).numpy(), logits, *target) == (0, 0)


def test_a_class_that_wins_at_no_corner_may_win_between_them():
    logits = np.zeros((1, 2, 3), np.float32)
    logits[0, 0] = [10, 0, 6]
    logits[0, 1] = [0, 10, 6]
    found = in_graph(logits, 1, 20).numpy()
    assert set(found.ravel()) == {0, 1, 2}
    assert disagreements(found, logits, 1, 20) == (0, 0)


def test_one_class_is_zero_everywhere():
    assert not in_graph(noise(4, 5, 1, seed=0), 30, 30).numpy().any()


@pytest.mark.parametrize("target", [(0, 0), (0, 9), (9, 0)])
def test_an_empty_target_gives_an_empty_map(target):
    assert in_graph(noise(4, 5, 3, seed=0), *target).shape == target


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("target", [(40, 40), (9, 11), (5, 3)])
def test_what_is_not_finite_wins_or_loses_as_in_pytorch(value, target):
    logits = noise(6, 6, 4, seed=0)
    random = np.random.default_rng(1)
    logits[random.random(logits.shape) < 0.1] = value
    assert np.array_equal(
        in_graph(logits, *target).numpy(), resized_by_torch(logits, *target).argmax(0).numpy()
    )


def test_large_pictures_are_done_in_bands_and_parts(monkeypatch):
    monkeypatch.setattr(tiling, "BUDGET", 600)
    for kind in ("regions", "noise"):
        logits = KINDS[kind](9, 11, 20, seed=2)
        for target in ((130, 70), (33, 200), (5, 5)):
            assert disagreements(label_map(logits, *target).numpy(), logits, *target) == (0, 0)
    logits[0, 0, 0] = np.nan
    assert disagreements(label_map(logits, 60, 50).numpy(), logits, 60, 50) == (0, 0)


def test_eager_graph_and_static_shapes_agree():
    logits = regions(16, 16, 10, seed=0)
    expected = in_graph(logits, 75, 50).numpy()
    assert np.array_equal(label_map(logits, 75, 50), expected)
    static = tf.function(lambda x: label_map(x, 75, 50))
    concrete = static.get_concrete_function(tf.TensorSpec([16, 16, 10]))
    assert concrete.structured_outputs.shape == (75, 50)
    assert np.array_equal(concrete(tf.constant(logits)), expected)


@pytest.mark.parametrize("classes", [256, 257])
def test_many_classes_fit_their_numbers(classes):
    logits = noise(5, 5, classes, seed=0)
    logits[2, 2] = 0
    logits[2, 2, -1] = 100
    static = tf.function(lambda x: label_map(x, 40, 40))
    found = static(tf.constant(logits)).numpy()
    assert found.max() == classes - 1
    assert disagreements(found, logits, 40, 40) == (0, 0)


def test_double_and_half_precision_are_taken():
    logits = regions(8, 8, 5, seed=0)
    expected = in_graph(logits, 30, 30).numpy()
    assert np.array_equal(label_map(logits.astype(np.float64), 30, 30), expected)
    half = logits.astype(np.float16)
    expected = in_graph(half.astype(np.float32), 30, 30).numpy()
    assert np.array_equal(label_map(half, 30, 30), expected)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"expected \[h, w, classes\]"):
        label_map(tf.zeros([1, 4, 4, 3]), 8, 8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="logits are empty"):
        in_graph(tf.zeros([4, 4, 0]), 8, 8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="size is negative"):
        in_graph(tf.zeros([4, 4, 3]), -8, 8)


def test_logits_are_checked_before_anything_is_made_of_them():
    """Otherwise it is chance whether the check fails first, or an operation that names no logits."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        given = tf.compat.v1.placeholder(tf.float32, [None, None, None])
        placed, _, _ = tiling.place(given, 8, 8)
        with pytest.raises(tf.errors.InvalidArgumentError, match="logits are empty"):
            session.run(placed, {given: np.zeros([4, 4, 0], np.float32)})


def test_a_batch_of_photographs_of_different_sizes_in_a_session(tmp_path):
    """As a server runs it: a SavedModel in a TF1 Session, one label-map PNG per photograph."""

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None, None]),
                tf.TensorSpec([None], tf.int32),
                tf.TensorSpec([None], tf.int32),
            ]
        )
        def serve(self, logits, heights, widths):
            def png(item):
                labels = label_map(*item)[..., None]
                return tf.io.encode_png(tf.cast(labels, tf.uint8))

            outputs = tf.map_fn(png, (logits, heights, widths), fn_output_signature=tf.string)
            return {"mask_png_bytes": outputs}

    tf.saved_model.save(Module(), str(tmp_path), signatures=Module().serve)
    logits = np.stack([regions(16, 12, 21, seed) for seed in range(3)])
    sizes = [(64, 48), (33, 100), (200, 7)]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        meta = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = meta.signature_def["serving_default"]
        feed = {
            signature.inputs["logits"].name: logits,
            signature.inputs["heights"].name: [height for height, _ in sizes],
            signature.inputs["widths"].name: [width for _, width in sizes],
        }
        pngs = session.run(signature.outputs["mask_png_bytes"].name, feed)
    for item, size, png in zip(logits, sizes, pngs, strict=True):
        found = tf.io.decode_png(png)[..., 0].numpy().astype(np.int32)
        assert disagreements(found, item, *size) == (0, 0)


def test_one_class_everywhere_eagerly_and_in_a_graph():
    # no cell is mixed, so there is nothing to contest
    logits = np.zeros((4, 5, 3), np.float32)
    logits[..., 1] = 1.0
    assert (label_map(logits, 13, 17).numpy() == 1).all()
    assert (tf.function(label_map)(tf.constant(logits), 13, 17).numpy() == 1).all()
