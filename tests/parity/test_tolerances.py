import json

import numpy as np
import pytest

from parity.tolerances import (
    NOISE_FLOOR_OF_SCALE,
    TAP_NOISE_MULTIPLE,
    NoiseFloors,
    ToleranceError,
    load_noise_floors,
    noise_gate,
    save_noise_floors,
    scale_gate,
)

FLOORS = NoiseFloors({"a": 1e-7, "b": 0.0}, "test", "1" * 64, "2" * 64)


def save(path, floors=FLOORS, reason="first measurement"):
    save_noise_floors(path, floors, date="2026-11-23", machine={"cores": "2"}, reason=reason)


def test_limit_is_multiple_times_unit():
    gate = scale_gate(2e-6, 10.0)
    assert gate.limit == pytest.approx(2e-5)
    assert gate.ratio(1e-5) == pytest.approx(0.5)


def test_a_noise_gate_has_a_floor():
    assert noise_gate(0.0, 4.0).unit_value == 4.0 * NOISE_FLOOR_OF_SCALE
    assert noise_gate(1e-3, 4.0).limit == TAP_NOISE_MULTIPLE * 1e-3


@pytest.mark.parametrize("error", [1.2344e-7, 9.999e-3, 3.0, 1e-12])
def test_what_would_have_passed_passes(error):
    gate = scale_gate(1e-6, 0.7)
    required = gate.required(error)
    assert scale_gate(required, 0.7).limit >= error
    assert scale_gate(required * 0.99, 0.7).limit < error


def test_required_of_nothing_and_of_infinity():
    assert scale_gate(1e-6, 1.0).required(0.0) == 0.0
    assert scale_gate(1e-6, 0.0).required(1.0) == np.inf


def test_a_gate_of_zero_passes_only_equality():
    gate = scale_gate(1e-6, 0.0)
    assert gate.ratio(0.0) == 0.0
    assert gate.ratio(1e-30) == np.inf


def test_no_gate_without_a_measured_noise():
    with pytest.raises(ToleranceError, match="no noise floor for tap c"):
        FLOORS.gate("c", 1.0)


def test_file_round_trip(tmp_path):
    path = tmp_path / "floors.json"
    save(path)
    loaded = load_noise_floors(path)
    assert dict(loaded.taps) == dict(FLOORS.taps)
    assert loaded.input_sha256 == FLOORS.input_sha256
    assert loaded.checkpoint_sha256 == FLOORS.checkpoint_sha256
    content = json.loads(path.read_text())
    assert (content["date"], content["reason"]) == ("2026-11-23", "first measurement")
    assert content["machine"] == {"cores": "2"}


def test_a_file_without_a_reason_is_not_written(tmp_path):
    with pytest.raises(ToleranceError, match="reason"):
        save(tmp_path / "floors.json", reason=" ")
    assert not (tmp_path / "floors.json").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.pop("taps"),
        lambda content: content.update(version=99),
        lambda content: content.update(multiple=1000.0),
        lambda content: content.update(taps={"a": -1.0}),
        lambda content: content.update(taps={"a": None}),
        lambda content: content.update(taps=[1, 2]),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change):
    path = tmp_path / "floors.json"
    save(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(ToleranceError, match=r"floors\.json"):
        load_noise_floors(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_foreign_file_is_refused(tmp_path, text):
    path = tmp_path / "floors.json"
    path.write_text(text)
    with pytest.raises(ToleranceError, match="parity calibrate"):
        load_noise_floors(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ToleranceError, match=r"none\.json"):
        load_noise_floors(tmp_path / "none.json")
