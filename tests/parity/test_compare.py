from dataclasses import replace

import numpy as np
import pytest

from parity.compare import LANE_LEVELS, LEVELS, compare_lane, measure_noise
from parity.localize import explain_replay, first_failing_tap, localize
from parity.results import TAP_PREFIX, ResultError
from parity.tolerances import (
    FLOAT64_MULTIPLE,
    LOGITS_FLOAT32_MULTIPLE,
    LOGITS_NOISE_MULTIPLE,
    PIXELS_MULTIPLE,
    TAP_NOISE_MULTIPLE,
    ToleranceError,
)
from tests.parity.synthetic import TAPS, floors, result


def compare(reference, candidate, **options):
    dtype = reference.manifest.dtype
    given = floors(1e-6) if dtype == "float32" else None
    options = {"levels": LANE_LEVELS[dtype], "floors": given, "exact": result("float64")} | options
    return compare_lane(reference, candidate, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equal_results_are_equal(dtype):
    lane = compare(result(dtype), result(dtype, "tf_segformer"))
    assert lane.equal
    assert lane.failures == ()
    assert {row.level for row in lane.rows} == set(LANE_LEVELS[dtype])
    assert [row.name for row in lane.of_level("taps")] == list(TAPS)


def gates():
    noise = 1e-6 * TAP_NOISE_MULTIPLE
    return [
        ("float32", "pixels", lambda scale: PIXELS_MULTIPLE * scale),
        ("float32", "logits", lambda scale: LOGITS_FLOAT32_MULTIPLE * scale),
        ("float32", TAP_PREFIX + TAPS[7], lambda scale: noise),
        ("float64", "logits", lambda scale: FLOAT64_MULTIPLE * scale),
        ("float64", TAP_PREFIX + TAPS[0], lambda scale: FLOAT64_MULTIPLE * scale),
    ]


@pytest.mark.parametrize(("dtype", "name", "limit"), gates())
@pytest.mark.parametrize(("part", "passes"), [(0.8, True), (1.5, False)])
def test_gates(dtype, name, limit, part, passes):
    reference, candidate = result(dtype), result(dtype, "tf_segformer")
    # A zero takes a small error without rounding it.
    where = (0, 2, 1, 2)
    reference.arrays[name][where] = 0.0
    scale = float(np.abs(reference.arrays[name]).max())
    candidate.arrays[name][where] = part * limit(scale)
    lane = compare(reference, candidate)
    assert lane.equal is passes
    if not passes:
        (row,) = lane.failures
        assert row.name == name.removeprefix(TAP_PREFIX)
        assert row.ratio == pytest.approx(part, rel=0.05)
        assert row.errors.worst_index == where


@pytest.mark.parametrize(("part", "passes"), [(0.8, True), (1.5, False)])
@pytest.mark.parametrize("tap", [TAPS[-1], TAPS[0]])
def test_logits_of_a_reference_that_is_itself_noisy(tap, part, passes):
    """Twice its noise is the gate then; the noise of any other tap counts for nothing."""
    reference, candidate = result(), result(runner="tf_segformer")
    scale = float(np.abs(reference.arrays["logits"]).max())
    noise = 4 * LOGITS_FLOAT32_MULTIPLE * scale
    limit = LOGITS_NOISE_MULTIPLE * noise
    where = (0, 2, 1, 2)
    reference.arrays["logits"][where] = 0.0
    candidate.arrays["logits"][where] = part * limit
    measured = floors(1e-6)
    noisy = replace(measured, taps={**measured.taps, tap: noise})
    lane = compare_lane(reference, candidate, levels=["logits"], floors=noisy)
    assert lane.equal is (passes and tap == TAPS[-1])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["pixels", "logits", TAP_PREFIX + TAPS[3]])
@pytest.mark.parametrize("sides", ["reference", "candidate", "both"])
def test_values_that_are_not_finite_fail(value, name, sides):
    reference, candidate = result(), result()
    if sides != "candidate":
        reference.arrays[name].flat[5] = value
    if sides != "reference":
        candidate.arrays[name].flat[5] = value
    lane = compare(reference, candidate)
    row = next(row for row in lane.failures if row.name == name.removeprefix(TAP_PREFIX))
    assert "not finite" in row.note
    assert row.ratio == np.inf


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_missing_tap_fails(side):
    sides = {"reference": result(), "candidate": result()}
    del sides[side].arrays[TAP_PREFIX + TAPS[4]]
    lane = compare(**sides)
    (row,) = lane.failures
    assert row.name == TAPS[4]
    assert f"missing tap: not in the {side}" in row.note


def test_a_tap_that_both_forgot_fails():
    reference, candidate = result(), result()
    for each in (reference, candidate):
        del each.arrays[TAP_PREFIX + TAPS[4]]
    (row,) = compare(reference, candidate).failures
    assert "not in the reference nor the candidate" in row.note


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_an_extra_tap_fails(side):
    sides = {"reference": result(), "candidate": result()}
    sides[side].arrays["taps/segformer.surprise"] = np.zeros(3, np.float32)
    (row,) = compare(**sides).failures
    assert row.name == "segformer.surprise"
    assert side in row.note


def test_a_similar_name_is_another_tap():
    reference, candidate = result(), result()
    name = TAP_PREFIX + TAPS[4]
    candidate.arrays[name + "s"] = candidate.arrays.pop(name)
    assert len(compare(reference, candidate).failures) == 2


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_a_missing_level_fails(level, side):
    sides = {"reference": result(), "candidate": result()}
    arrays = sides[side].arrays
    for name in list(arrays):
        if name == level or (level in ("taps", "gradients") and name.startswith(f"{level}/")):
            del arrays[name]
    assert not compare(**sides).equal
    assert level in {row.level for row in compare(**sides).failures}


def test_comparing_nothing_fails():
    lane = compare(result(), result(), levels=())
    assert not lane.equal
    assert "nothing was compared" in lane.failures[0].note


def test_comparing_no_taps_fails():
    lane = compare(result(), result(), levels=("taps",), required_taps=())
    assert not lane.equal


def test_empty_arrays_fail():
    reference, candidate = result(), result()
    for each in (reference, candidate):
        each.arrays["logits"] = np.zeros((1, 0, 0, 7), np.float32)
    assert "nothing to compare" in compare(reference, candidate, levels=("logits",)).failures[0].note


def test_shapes_are_not_broadcast():
    candidate = result()
    candidate.arrays["logits"] = candidate.arrays["logits"][:, :1]
    row = compare(result(), candidate, levels=("logits",)).failures[0]
    assert "shapes differ" in row.note


def test_dtypes_must_agree():
    candidate = result("float64")
    candidate.arrays["logits"] = candidate.arrays["logits"].astype(np.float32)
    row = compare(result("float64"), candidate, levels=("logits",)).failures[0]
    assert "dtypes differ" in row.note


def test_an_unknown_level_is_refused():
    with pytest.raises(ValueError, match="unknown levels"):
        compare(result(), result(), levels=("logits", "loss"))


def test_float32_taps_need_noise_floors():
    with pytest.raises(ToleranceError, match="none were given"):
        compare(result(), result(), floors=None)


def test_a_tap_without_its_noise_floor_fails():
    given = floors()
    given.taps.pop(TAPS[2])
    (row,) = compare(result(), result(), floors=given).failures
    assert "no noise floor" in row.note


def test_results_of_other_pixels_are_refused():
    with pytest.raises(ResultError, match="input_sha256"):
        compare(result(), result(runner="tf_segformer", input_sha256="0" * 64))


def flip(labels, index, candidate_label):
    labels = labels.copy()
    labels[index] = candidate_label
    return labels


def test_a_label_that_flips_by_the_logits_error_is_a_tie():
    reference, candidate = result(), result()
    second = int(np.argsort(reference.arrays["logits"][0, 1, 2])[-2])
    best = int(np.argmax(reference.arrays["logits"][0, 1, 2]))
    close = reference.arrays["logits"][0, 1, 2, best] - np.float32(1e-6)
    for each in (reference, candidate):
        each.arrays["logits"][0, 1, 2, second] = close
    candidate.arrays["logits"][0, 1, 2, second] += np.float32(2e-6)
    flipped = flip(candidate.arrays["labels/logit_size"], (0, 1, 2), second)
    candidate.arrays["labels/logit_size"] = flipped
    lane = compare(reference, candidate, levels=("logits", "labels/logit_size"))
    assert lane.equal
    (row,) = lane.of_level("labels/logit_size")
    assert (row.labels.disagreeing, row.labels.ties) == (1, 1)


@pytest.mark.parametrize("level", ["labels/logit_size", "labels/original_size"])
def test_a_label_that_flips_without_a_cause_fails(level):
    candidate = result()
    best = candidate.arrays[level][0, 0, 0]
    candidate.arrays[level] = flip(candidate.arrays[level], (0, 0, 0), (best + 1) % 7)
    (row,) = compare(result(), candidate).failures
    assert row.level == level
    assert row.labels.unexplained == 1


def test_labels_without_candidate_logits_use_the_gate():
    candidate = result(runner="saved_model")
    del candidate.arrays["logits"]
    lane = compare(result(), candidate, levels=("labels/original_size",))
    assert lane.equal
    assert "gate" in lane.rows[0].note


def test_labels_fail_when_the_logits_error_is_unknown():
    candidate = result()
    candidate.arrays["logits"][:] = np.nan
    failures = compare(result(), candidate).failures
    assert {"logits", "labels/logit_size", "labels/original_size"} == {row.name for row in failures}


def test_noise_is_float32_against_float64():
    float64, float32 = result("float64"), result("float32")
    float32.tap(TAPS[1]).flat[3] += np.float32(0.25)
    measured = measure_noise(float32, float64)
    assert list(measured.taps) == list(TAPS)
    assert measured.taps[TAPS[1]] == pytest.approx(0.25, rel=1e-5)
    assert 0.0 < measured.taps[TAPS[0]] < 1e-6


def test_noise_of_different_taps_is_refused():
    float32 = result()
    del float32.arrays[TAP_PREFIX + TAPS[1]]
    with pytest.raises(ToleranceError, match="both need the same"):
        measure_noise(float32, result("float64"))


def test_noise_of_nan_is_refused():
    float32 = result()
    float32.tap(TAPS[1])[:] = np.nan
    with pytest.raises(ToleranceError, match="not finite"):
        measure_noise(float32, result("float64"))


def spoil(candidate, first):
    """Every tap from `first` on is off, as a real fault would do."""
    for name in TAPS[first:]:
        candidate.tap(name)[:] += 0.5
    return candidate


def test_localize_names_the_first_failing_tap():
    lane = compare(result("float64"), spoil(result("float64"), 9))
    assert first_failing_tap(lane).name == TAPS[9]
    sentence = localize([lane])
    assert TAPS[9] in sentence
    assert "of the taps before it all 9 pass" in sentence


def test_localize_asks_float64_first():
    lanes = [
        compare(result("float32"), spoil(result("float32"), 3)),
        compare(result("float64"), spoil(result("float64"), 5)),
    ]
    assert TAPS[5] in localize(lanes)
    assert "float64" in localize(lanes)


def test_localize_falls_back_to_float32():
    lanes = [
        compare(result("float32"), spoil(result("float32"), 3)),
        compare(result("float64"), result("float64")),
    ]
    assert TAPS[3] in localize(lanes)


def test_localize_says_what_it_cannot_know():
    equal = compare(result(), result())
    assert localize([equal]) == "Every tap passes."
    no_taps = compare(result(), result(), levels=("logits",))
    assert localize([no_taps]) == "All that was compared passes; no taps were."
    moved = result()
    moved.arrays["logits"][:] += 1
    wrong = compare(result(), moved, levels=("logits",))
    assert localize([wrong]).startswith("What fails: logits (float32). No taps were compared")
    candidate = result()
    candidate.arrays["pixels"][:] += 1
    assert "What fails: pixels (float32)" in localize([compare(result(), candidate)])
    missing = result()
    del missing.arrays[TAP_PREFIX + TAPS[4]]
    assert "missing tap" in localize([compare(result(), missing)])


def test_a_layer_that_is_right_on_the_references_input_only_passed_a_difference_on():
    lane = compare(result("float32"), spoil(result("float32"), 7))
    replayed = compare(result("float32"), result("float32"))
    said = explain_replay(lane, replayed)
    assert said.startswith(f"Accumulated drift: on the reference's own input {TAPS[7]} is within its gate")
    assert "Wrong by themselves" not in said


def test_a_layer_that_is_wrong_by_itself_is_a_local_fault_and_others_are_named():
    lane = compare(result("float32"), spoil(result("float32"), 7))
    alone = result("float32")
    for name in TAPS[7:9]:
        alone.tap(name)[:] += 0.5
    said = explain_replay(lane, compare(result("float32"), alone))
    assert said.startswith(f"Local fault: on the reference's own input {TAPS[7]} is still off")
    assert said.endswith(f"So are {TAPS[8]}.")
