import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parity import statistics
from parity.label_statistics import bilinear_at, label_errors
from parity.statistics import ShapesDifferError, array_errors, largest_error


def random(shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def test_equal_arrays_have_no_error():
    array = random((2, 3, 4))
    errors = array_errors(array, array.copy())
    assert errors.max_abs == errors.absolute.mean == errors.error_over_scale == 0.0
    assert errors.scale == np.abs(array).max()
    assert errors.finite


def test_worst_index_and_both_values():
    reference = random((2, 5, 4))
    candidate = reference.copy()
    candidate[1, 3, 2] += 0.5
    errors = array_errors(reference, candidate)
    assert errors.worst_index == (1, 3, 2)
    assert errors.worst_reference == reference[1, 3, 2]
    assert errors.worst_candidate == candidate[1, 3, 2]
    assert errors.max_abs == float(candidate[1, 3, 2]) - float(reference[1, 3, 2])
    assert errors.absolute.mean == pytest.approx(errors.max_abs / 40)


def test_scale_is_the_reference_s_alone():
    errors = array_errors(np.array([1.0, -2.0]), np.array([1.0, 50.0]))
    assert errors.scale == 2.0
    assert errors.error_over_scale == 26.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("side", ["reference", "candidate", "both"])
def test_values_that_are_not_finite_are_counted_and_located(value, side):
    reference, candidate = random((3, 4)), random((3, 4))
    if side != "candidate":
        reference[1, 2] = value
    if side != "reference":
        candidate[1, 2] = value
    errors = array_errors(reference, candidate)
    assert not errors.finite
    assert errors.non_finite_reference == (side != "candidate")
    assert errors.non_finite_candidate == (side != "reference")
    assert errors.worst_index == (1, 2)
    assert np.isfinite([errors.max_abs, errors.absolute.mean, errors.scale]).all()


@given(st.integers(1, 400), st.integers(0, 2**32 - 1), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=100, deadline=None)
def test_the_spread_is_that_of_all_sorted_errors(size, seed, dtype):
    generator = np.random.default_rng(seed)
    # Few different values: zeros, ties, and equal places.
    reference, candidate = generator.integers(-3, 4, (2, size)).astype(dtype)
    errors = array_errors(reference, candidate)
    absolute = np.sort(np.abs(candidate.astype(float) - reference))
    there = reference != 0
    relative = np.sort(np.abs(candidate - reference)[there] / np.abs(reference[there]).astype(float))
    assert (errors.relative is None) == (relative.size == 0)
    for found, expected in ((errors.absolute, absolute), (errors.relative, relative)):
        if found is not None:
            assert found.max == expected[-1]
            assert found.mean == pytest.approx(expected.mean(), rel=1e-12)
            for value, share in ((found.median, 0.5), (found.p99, 0.99)):
                # The smallest error that this share of them does not exceed.
                assert (expected <= value).mean() >= share
                assert (expected < value).mean() < share
                assert value in expected


def test_what_is_not_finite_is_left_out_of_the_spread():
    reference = np.array([1.0, 2.0, np.nan, 4.0, 0.0])
    candidate = np.array([1.5, 2.0, 3.0, np.inf, 0.25])
    errors = array_errors(reference, candidate)
    assert (errors.absolute.max, errors.absolute.median) == (0.5, 0.25)
    assert (errors.relative.max, errors.relative.median, errors.relative.mean) == (0.5, 0.0, 0.25)
    assert largest_error(reference, candidate) is None
    assert largest_error(np.array([np.inf]), np.array([np.inf])) is None


def test_nothing_is_broadcast():
    with pytest.raises(ShapesDifferError, match=r"\(2, 1\).*\(2, 2\)"):
        array_errors(np.zeros((2, 1)), np.zeros((2, 2)))


def test_empty_arrays_are_an_error():
    with pytest.raises(ValueError, match="nothing to compare"):
        array_errors(np.zeros((0, 3)), np.zeros((0, 3)))


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_chunks_change_nothing(size, seed):
    reference, candidate = random(size, seed), random(size, seed + 1)
    whole = array_errors(reference, candidate)
    before = statistics.BLOCK
    try:
        statistics.BLOCK = 3
        chunked = array_errors(reference, candidate)
        assert largest_error(reference, candidate) == whole.max_abs
    finally:
        statistics.BLOCK = before
    for spread, name in itertools.product(("absolute", "relative"), ("max", "median", "p99")):
        assert getattr(getattr(chunked, spread), name) == getattr(getattr(whole, spread), name)
    assert chunked.absolute.mean == pytest.approx(whole.absolute.mean, rel=1e-12)
    for name in ("max_abs", "scale", "worst_index", "worst_reference", "worst_candidate"):
        assert getattr(chunked, name) == getattr(whole, name)


def test_differences_are_taken_in_float64():
    reference = np.array([1.0, 1.0], np.float32)
    candidate = np.array([1.0, np.nextafter(np.float32(1), np.float32(2))], np.float32)
    assert array_errors(reference, candidate).max_abs == 2.0**-23


def two_class_logits(margins):
    """Logits (1, 1, n, 3) whose class 0 leads class 1 by the given margins; class 2 is far off."""
    logits = np.zeros((1, 1, len(margins), 3))
    logits[..., 0] = margins
    logits[..., 2] = -10.0
    return logits


def test_equal_label_maps_agree():
    logits = two_class_logits([1.0, 1.0])
    labels = np.zeros((1, 1, 2), np.int32)
    errors = label_errors(labels, labels.copy(), logits, 0.0)
    assert (errors.disagreeing, errors.ties, errors.agreement) == (0, 0, 1.0)


def test_ties_are_told_by_the_margin():
    logits = two_class_logits([0.01, 0.3, 0.0])
    reference = np.zeros((1, 1, 3), np.int32)
    candidate = np.array([[[1, 1, 0]]], np.int32)
    errors = label_errors(reference, candidate, logits, tie_margin=0.02)
    assert (errors.disagreeing, errors.ties, errors.unexplained) == (2, 1, 1)
    assert errors.worst_index == (0, 0, 1)
    assert (errors.worst_reference, errors.worst_candidate) == (0, 1)
    assert errors.worst_margin == pytest.approx(0.3)
    assert errors.agreement == pytest.approx(1 / 3)


def test_the_margin_itself_is_no_tie():
    errors = label_errors(np.zeros((1, 1, 1), int), np.ones((1, 1, 1), int), two_class_logits([0.5]), 0.5)
    assert errors.unexplained == 1


def test_a_wrong_third_label_at_a_tied_pixel_is_no_tie():
    logits = two_class_logits([0.0])
    errors = label_errors(np.zeros((1, 1, 1), int), np.full((1, 1, 1), 2), logits, 0.1)
    assert errors.unexplained == 1


def test_a_label_that_no_class_has_is_no_tie():
    logits = two_class_logits([0.0])
    errors = label_errors(np.zeros((1, 1, 1), int), np.full((1, 1, 1), 255), logits, 0.1)
    assert errors.unexplained == 1
    assert errors.worst_margin == np.inf


def test_label_maps_without_a_batch():
    logits = two_class_logits([0.01, 0.3])[0]
    errors = label_errors(np.zeros((1, 2), int), np.ones((1, 2), int), logits, 0.02)
    assert errors.worst_index == (0, 1)


@pytest.mark.parametrize(
    ("reference", "candidate", "logits"),
    [((1, 2, 2), (1, 2, 3), (1, 2, 2, 4)), ((1, 2, 2), (1, 2, 2), (2, 2, 4)),
     ((2, 2, 2), (2, 2, 2), (1, 2, 2, 4))],
)  # fmt: skip
def test_label_maps_that_do_not_belong_together(reference, candidate, logits):
    with pytest.raises(ShapesDifferError):
        label_errors(np.zeros(reference, int), np.zeros(candidate, int), np.zeros(logits), 1.0)


def test_empty_label_maps_are_an_error():
    empty = np.zeros((1, 0, 4), int)
    with pytest.raises(ValueError, match="nothing to compare"):
        label_errors(empty, empty, np.zeros((1, 0, 4, 3)), 1.0)


@given(
    st.tuples(*[st.integers(1, 9)] * 4),
    st.integers(1, 3),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_sampling_equals_torch_s_resize(sizes, labels, seed):
    torch = pytest.importorskip("torch")
    height, width, rows, columns = sizes
    maps = random((2, height, width, labels), seed, np.float64)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(maps.transpose(0, 3, 1, 2).copy()),
        size=(rows, columns), mode="bilinear", align_corners=False,
    ).numpy()  # fmt: skip
    positions = np.argwhere(np.ones((2, rows, columns), bool))
    sampled = bilinear_at(maps, positions, (rows, columns))
    expected = resized.transpose(0, 2, 3, 1).reshape(-1, labels)
    np.testing.assert_allclose(sampled, expected, rtol=0, atol=1e-14)
