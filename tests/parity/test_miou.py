"""The confusion matrix against counting pixel by pixel, and mmsegmentation's formula on sets of pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from parity import miou
from parity.miou import ConfusionMatrix, LabelError


def areas(truth, prediction, classes, ignore_index, reduce_zero_label):
    """Per class |T ∩ P|, |T|, |P|, one pixel after the other, and the number of ignored pixels."""
    both, true, predicted, ignored = [0] * classes, [0] * classes, [0] * classes, 0
    for t, p in zip(truth.ravel().tolist(), prediction.ravel().tolist(), strict=True):
        if reduce_zero_label:
            t = ignore_index if t in (0, ignore_index) else t - 1
        if t == ignore_index:
            ignored += 1
            continue
        true[t] += 1
        predicted[p] += 1
        both[t] += t == p
    return np.array(both), np.array(true), np.array(predicted), ignored


def expected(truth, prediction, classes, ignore_index=255, reduce_zero_label=False):
    """mmsegmentation's `total_area_to_metrics` of those areas."""
    both, true, predicted, ignored = areas(truth, prediction, classes, ignore_index, reduce_zero_label)
    with np.errstate(all="ignore"):
        iou, accuracy = both / (true + predicted - both), both / true
        pixel = both.sum() / true.sum()
    means = [np.nanmean(x) if not np.isnan(x).all() else np.nan for x in (iou, accuracy)]
    return {
        "iou": iou,
        "accuracy": accuracy,
        "mean_iou": means[0],
        "mean_accuracy": means[1],
        "pixel_accuracy": pixel,
        "true_pixels": true,
        "predicted_pixels": predicted,
        "ignored": ignored,
    }


def matrix_of(truth, prediction, classes, **rules):
    matrix = ConfusionMatrix(classes, **rules)
    matrix.update(truth, prediction)
    return matrix


def assert_same(scores, wanted):
    for name, value in wanted.items():
        np.testing.assert_array_equal(getattr(scores, name), value, err_msg=name)  # NaN equals NaN


@st.composite
def label_maps(draw):
    classes = draw(st.integers(1, 7))
    reduce_zero_label = draw(st.booleans())
    ignore_index = 255 if reduce_zero_label else draw(st.sampled_from([255, 0, None]))
    shape = draw(arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6))
    highest = classes if reduce_zero_label else classes - 1
    labels = st.integers(0, highest)
    if ignore_index is not None:
        labels = labels | st.just(ignore_index)
    dtype = draw(st.sampled_from([np.uint8, np.int32, np.int64]))
    truth = draw(arrays.arrays(dtype, shape, elements=labels))
    prediction = draw(arrays.arrays(dtype, shape, elements=st.integers(0, classes - 1)))
    return truth, prediction, classes, ignore_index, reduce_zero_label


@settings(deadline=None, max_examples=200)
@given(label_maps())
def test_scores_are_those_of_counting_pixel_by_pixel(case):
    truth, prediction, classes, ignore_index, reduce_zero_label = case
    rules = {"ignore_index": ignore_index, "reduce_zero_label": reduce_zero_label}
    assert_same(matrix_of(truth, prediction, classes, **rules).scores(), expected(*case))


@pytest.mark.parametrize("classes", [2, 19, 150])
@pytest.mark.parametrize("reduce_zero_label", [False, True])
def test_scores_of_random_photographs(classes, reduce_zero_label):
    random = np.random.default_rng(classes)
    truth = random.integers(0, classes + reduce_zero_label, (2, 61, 83)).astype(np.uint8)
    prediction = np.where(random.random(truth.shape) < 0.6, truth - reduce_zero_label, 0) % classes
    truth[random.random(truth.shape) < 0.1] = 255
    scores = matrix_of(truth, prediction, classes, reduce_zero_label=reduce_zero_label).scores()
    assert_same(scores, expected(truth, prediction, classes, 255, reduce_zero_label))
    assert 0.1 < scores.mean_iou < 0.9


def test_a_class_absent_from_both_is_left_out_and_named():
    truth, prediction = np.array([0, 0, 2, 2]), np.array([0, 2, 2, 2])
    scores = matrix_of(truth, prediction, 4).scores()
    assert scores.absent == (1, 3)
    np.testing.assert_array_equal(scores.iou, [1 / 2, np.nan, 2 / 3, np.nan])
    assert scores.mean_iou == (1 / 2 + 2 / 3) / 2


def test_a_class_that_is_only_predicted_counts_as_zero_in_the_mean_iou_only():
    scores = matrix_of(np.array([0, 0]), np.array([0, 1]), 2).scores()
    assert (scores.mean_iou, scores.mean_accuracy, scores.absent) == (0.25, 0.5, ())


def test_all_ignored_has_no_scores():
    scores = matrix_of(np.full((4, 5), 255, np.uint8), np.zeros((4, 5), np.uint8), 3).scores()
    assert (scores.scored, scores.ignored, scores.absent) == (0, 20, (0, 1, 2))
    assert np.isnan([scores.mean_iou, scores.mean_accuracy, scores.pixel_accuracy]).all()


def test_one_class():
    scores = matrix_of(np.array([0, 0, 255]), np.array([0, 0, 0]), 1).scores()
    assert (scores.mean_iou, scores.pixel_accuracy, scores.ignored) == (1.0, 1.0, 1)


def test_ade20k_reduction_is_mmsegmentation_s():
    truth = np.array([0, 1, 150, 255], np.uint8)  # → ignored, 0, 149, ignored
    matrix = matrix_of(truth, np.array([7, 0, 149, 7]), 150, reduce_zero_label=True)
    assert matrix.counts[0, 0] == matrix.counts[149, 149] == 1
    assert (matrix.counts.sum(), matrix.ignored) == (2, 2)


@pytest.mark.parametrize("chunk", [1, 7, 1 << 22])
def test_the_order_and_the_grouping_do_not_matter(chunk, monkeypatch):
    random = np.random.default_rng(5)
    maps = random.integers(0, 5, (2, 6, 9, 11))
    whole = matrix_of(*maps, 5)
    monkeypatch.setattr(miou, "CHUNK", chunk)
    pieces = ConfusionMatrix(5)
    for index in random.permutation(6):
        pieces.update(maps[0, index], maps[1, index])
    halves, second = matrix_of(maps[0, :2], maps[1, :2], 5), matrix_of(maps[0, 2:], maps[1, 2:], 5)
    halves.add(second)
    for other in (pieces, halves):
        np.testing.assert_array_equal(other.counts, whole.counts)
        assert other.counts.dtype == np.int64


def test_counts_beyond_float32_are_exact():
    matrix = ConfusionMatrix(2)
    matrix.counts[0, 0] = 2**53
    matrix.update(np.zeros(3, np.uint8), np.array([0, 0, 1], np.uint8))
    assert matrix.counts.tolist() == [[2**53 + 2, 1], [0, 0]]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.array([0, 3]), np.array([0, 0]), r"the truth has labels outside 0 to 2: 3"),
        (np.array([0, -1]), np.array([0, 0]), r"the truth has labels outside 0 to 2: -1"),
        (np.array([0, 1]), np.array([0, 9]), r"the prediction has labels outside 0 to 2: 9"),
        (np.array([0, 2**64 - 1], np.uint64), np.array([0, 0]), "outside 0 to 2"),
        (np.array([0, 1]), np.array([[0, 1]]), "shapes differ"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "float64; expected integers"),
        (np.array([0, 1]), np.array([True, False]), "bool; expected integers"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_leaves_no_trace(truth, prediction, message, monkeypatch):
    monkeypatch.setattr(miou, "CHUNK", 1)
    matrix = ConfusionMatrix(3)
    with pytest.raises(LabelError, match=message):
        matrix.update(truth, prediction)
    assert matrix.counts.sum() == matrix.ignored == 0


def test_rules_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="num_classes is 0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match="ignore_index is None"):
        ConfusionMatrix(3, ignore_index=None, reduce_zero_label=True)
    with pytest.raises(ValueError, match="reduce_zero_label is False and True"):
        ConfusionMatrix(3).add(ConfusionMatrix(3, reduce_zero_label=True))
