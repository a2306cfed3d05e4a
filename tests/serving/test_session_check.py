import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from serving import session_check


class Counted(tf.Module):
    def __init__(self):
        self.variable = tf.Variable(2.0)


def save(folder, functions, with_variable=True):
    """Save a module whose signatures are these functions of one float32 batch."""
    module = Counted()
    spec = tf.TensorSpec([None, 2], tf.float32, name="x")
    signatures = {
        name: tf.function(function, input_signature=[spec], autograph=False).get_concrete_function()
        for name, function in functions.items()
    }
    module.keep = list(signatures.values())
    tf.saved_model.save(module, str(folder), signatures)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    def double(x):
        return {"y": 2.0 * x, "text_bytes": tf.strings.as_string(x[:, 0])}

    return save(tmp_path_factory.mktemp("good"), {"double": double, "triple": lambda x: {"y": 3.0 * x}})


def test_strings_survive_the_npz_file(tmp_path):
    arrays = {
        "zeros": np.array([b"a\0\0", b"", b"\xff\xd8\0"], object),
        "nested": np.array([[b"1", b"22"], [b"", b"4"]], object),
        "scalar": np.array(b"only\0", object),
        "none": np.zeros([0], object),
        "text": ["é", "b"],
        "numbers": np.arange(6).reshape(2, 3),
    }
    session_check.write_npz(tmp_path / "a.npz", arrays)
    read = session_check.read_npz(tmp_path / "a.npz")
    assert list(read) == list(arrays)
    np.testing.assert_array_equal(read.pop("text"), np.array(["é".encode(), b"b"], object))
    for name, array in read.items():
        assert array.shape == np.shape(arrays[name]), name
        np.testing.assert_array_equal(array, arrays[name])


def test_pickled_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([b"a"], object))
    with pytest.raises(ValueError, match="allow_pickle"):
        session_check.read_npz(tmp_path / "a.npz")


def test_runs_a_signature(good):
    with session_check.ServedModel(good) as model:
        outputs = model.run("double", {"x": np.ones((3, 2), np.float32)})
        assert set(model.signatures) == {"double", "triple"}
        with pytest.raises(session_check.CheckError, match="it has double, triple"):
            model.run("missing", {})
        with pytest.raises(session_check.CheckError, match="double takes x; got z"):
            model.run("double", {"z": 1})
        report = model.describe()
    np.testing.assert_array_equal(outputs["y"], np.full((3, 2), 2.0))
    assert report["broken_rules"] == []
    assert report["written_by_tensorflow"] == tf.__version__
    assert report["min_consumer"] <= report["producer"]
    assert report["signatures"]["double"]["outputs"]["text_bytes"] == {"dtype": "string", "shape": [-1]}


def through_python(x):
    return {"y": tf.numpy_function(lambda a: a, [x], tf.float32, stateful=False)}


def through_eager_python(x):
    y = tf.py_function(lambda a: a, [x], tf.float32)
    y.set_shape(x.shape)
    return {"y": y}


def in_a_map(x):
    return {"y": tf.map_fn(lambda row: through_eager_python(row)["y"], x)}


@tf.function(jit_compile=True, autograph=False)
def compiled(x):
    return {"y": 2.0 * x}


FAULTS = {
    "calls Python (PyFuncStateless)": through_python,
    "calls Python (EagerPyFunc)": in_a_map,
    "must be compiled by XLA": compiled,
    "no free batch dimension: []": lambda x: {"y": tf.reduce_sum(x)},
    "no free batch dimension: [2]": lambda x: {"y": tf.reduce_sum(x, axis=0)},
    "no free batch dimension: None": lambda x: {"y": tf.reshape(x, tf.boolean_mask([1, 2], x[0] > 0))},
    "float16, which REST cannot carry": lambda x: {"y": tf.cast(x, tf.float16)},
    "uint16, which REST cannot carry": lambda x: {"y": tf.cast(x, tf.uint16)},
    "does not end in _bytes": lambda x: {"y": tf.strings.as_string(x)},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_broken_rule_is_named(fault, tmp_path):
    folder = save(tmp_path / "1", {"bad": FAULTS[fault]})
    with session_check.ServedModel(folder) as model:
        broken = model.describe()["broken_rules"]
    assert any(fault in rule for rule in broken), broken


def arguments(*parts):
    return [str(part) for part in parts]


def test_command_line_in_a_process_with_nothing_else(good, tmp_path):
    session_check.write_npz(tmp_path / "in.npz", {"double/x": np.ones((1, 2), np.float32)})
    command = [sys.executable, session_check.__file__, *arguments(good, "--inputs", tmp_path / "in.npz")]
    command += arguments("--outputs", tmp_path / "out.npz", "--json", tmp_path / "report.json")
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["foreign_modules"] == []
    assert set(report["runs"]) == {"double"}
    outputs = session_check.read_npz(tmp_path / "out.npz")
    np.testing.assert_array_equal(outputs["double/text_bytes"], np.array([b"1.000000"], object))


@pytest.mark.parametrize(
    ("change", "code"), [(0.0, 0), (1e-7, 0), (1e-3, 1), (np.nan, 1)], ids=["same", "noise", "off", "NaN"]
)
def test_expected_answers_are_compared(good, tmp_path, capsys, change, code):
    session_check.write_npz(tmp_path / "in.npz", {"triple/x": np.ones((1, 2), np.float32)})
    session_check.write_npz(tmp_path / "want.npz", {"triple/y": np.full((1, 2), 3.0 + change, np.float32)})
    options = arguments(good, "--inputs", tmp_path / "in.npz", "--expect", tmp_path / "want.npz")
    assert session_check.main(options) == code
    assert ("triple/y: off by" in capsys.readouterr().err) == bool(code)


def test_comparing_nothing_is_an_error(good, tmp_path, capsys):
    session_check.write_npz(tmp_path / "none.npz", {})
    assert session_check.main(arguments(good, "--expect", tmp_path / "none.npz")) == 1
    assert "nothing was compared" in capsys.readouterr().err


def test_png_images_are_compared_by_their_pixels():
    pixels = np.zeros((20, 50, 1), np.uint8)
    pixels[0, 0] = 1
    small, large = (tf.io.encode_png(pixels, compression=level).numpy() for level in (9, 0))
    ours, theirs = ({"m": np.array([png], object)} for png in (small, large))
    assert small != large
    assert session_check.compare(ours, theirs, 0.0, ties=0.0)[0] == []
    pixels[5, :2] = 7
    theirs = {"m": np.array([tf.io.encode_png(pixels).numpy()], object)}
    differences, measured = session_check.compare(ours, theirs, 0.0, ties=1e-3)
    assert "2 of" in differences[0]
    assert measured["m"]["different"] == 2
    assert session_check.compare(ours, theirs, 0.0, ties=1e-2)[0] == []


def test_missing_shape_and_text_differences_are_found():
    ours = {"a": np.zeros(3), "b": np.zeros(2), "t": np.array([b"ok"], object)}
    theirs = {"c": np.zeros(3), "b": np.zeros(3), "t": np.array([b"no"], object)}
    differences, _ = session_check.compare(ours, theirs, 1.0, ties=0.0)
    assert [line.split(":")[0] for line in differences] == ["a", "b", "c", "t"]


def test_usage_and_loading_errors(good, tmp_path, capsys):
    assert session_check.main(arguments(good, "--image", tmp_path / "no.jpg")) == 2
    assert "no such file" in capsys.readouterr().err
    assert session_check.main(arguments(tmp_path)) == 1
    assert "no saved_model.pb" in capsys.readouterr().err
    assert session_check.main(arguments(good, "--signature", "double")) == 1
    assert "no input given" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        session_check.main([])


def test_a_version_without_its_variables_is_refused(good, tmp_path, capsys):
    """The half-written version that a server would load and serve errors from."""
    (tmp_path / "saved_model.pb").write_bytes((good / "saved_model.pb").read_bytes())
    assert session_check.main(arguments(tmp_path)) == 1
    assert "cannot load it" in capsys.readouterr().err


def test_statistics_of_tied_pixels_may_differ_by_their_share():
    expected = {"s/class_share": np.array([0.9, 1e-5]), "s/class_confidence": np.array([0.5, 0.8])}
    one_pixel_more = {"s/class_share": np.array([0.9, 3e-5]), "s/class_confidence": np.array([0.5, 0.3])}
    assert session_check.compare(one_pixel_more, expected, 2e-6, ties=1e-4)[0] == []
    wrong = {**expected, "s/class_confidence": np.array([0.51, 0.8])}
    (difference,) = session_check.compare(wrong, expected, 2e-6, ties=1e-4)[0]
    assert difference.startswith("s/class_confidence: off by 0.009")
