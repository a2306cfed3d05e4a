"""`assert_parity` on arrays and saved results, and the pytest plugin as another project uses it."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from parity import runners
from parity.assertions import ParityError, assert_miou, assert_parity
from parity.compare import LANE_LEVELS
from parity.datasets import DatasetError
from parity.miou_pipeline import MiouRequest
from parity.outputs import Outputs
from parity.report import schema
from parity.result_writer import save_result
from parity.results import ResultError
from parity.running import HarnessError
from parity.thresholds import Thresholds
from tests.parity.schema_check import violations
from tests.parity.synthetic import TAPS, result

ROOT = Path(__file__).resolve().parents[2]
pytest_plugins = ["pytester"]


def arrays(**changes):
    random = np.random.default_rng(0)
    made = {
        "logits": random.normal(size=(1, 4, 5, 3)).astype(np.float32),
        "exact": random.normal(size=7),
        "labels": random.integers(0, 9, (4, 5)),
    }
    return made | changes


def test_equal_arrays_pass_and_are_returned():
    run = assert_parity(arrays(), arrays())
    assert run.equal and [row.name for row in run.lanes[0].rows] == ["logits", "exact", "labels"]


LOGITS, EXACT, LABELS = arrays().values()


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        (arrays(logits=LOGITS + np.float32(1e-4)), r"logits: .* × the gate; worst at \[0, "),
        (arrays(exact=EXACT + 1e-9), "exact: .* × the gate"),
        (arrays(labels=LABELS + (LABELS == 3)), "labels: inf × the gate; worst at"),
        (
            arrays(logits=np.where(LOGITS.max() == LOGITS, np.nan, LOGITS)),
            "not finite: 0 values of the reference, 1",
        ),
        (arrays(logits=LOGITS.astype(np.float64)), "dtypes differ: reference float32, candidate float64"),
        (arrays(logits=LOGITS[:, :2]), "shapes differ"),
        ({"logits": LOGITS, "exact": EXACT}, "labels: only the reference has it: missing from the candidate"),
        (arrays(more=EXACT), "more: only the candidate has it: missing from the reference"),
    ],
    ids=["float32", "float64", "integers", "NaN", "dtype", "shape", "missing", "extra"],
)
def test_arrays_that_differ_fail(candidate, message):
    with pytest.raises(ParityError, match=message) as caught:
        assert_parity(arrays(), candidate)
    assert "DIFFERENT" in str(caught.value)


@pytest.mark.parametrize(
    ("both", "message"),
    [
        ({}, "nothing was compared"),
        ({"a": np.zeros((0, 3), np.float32)}, "nothing to compare: both arrays are empty"),
        ({"a": np.full(3, np.nan, np.float32)}, "not finite"),
        ({"a": np.zeros(3, np.float16)}, "there is no gate for float16"),
        ({"a": np.array(["x"])}, "there is no gate for"),
    ],
)
def test_what_proves_nothing_fails(both, message):
    with pytest.raises(ParityError, match=message):
        assert_parity(both, both)


def test_large_integers_are_compared_exactly():
    with pytest.raises(ParityError, match="not equal"):
        assert_parity({"a": np.array([2**53])}, {"a": np.array([2**53 + 1])})


def test_a_project_s_thresholds():
    moved = arrays(logits=LOGITS + np.float32(1e-4))
    assert assert_parity(arrays(), moved, thresholds=Thresholds(logits_float32=1e-3)).equal


def saved(folder, dtype="float64", spoil=None, runner="tf_segformer"):
    made = result(dtype, runner)
    if spoil:
        spoil(made)
    save_result(folder, made.manifest, dict(made.arrays))
    return folder


def test_saved_results(tmp_path):
    ours, theirs = saved(tmp_path / "ours"), saved(tmp_path / "theirs")
    assert assert_parity(ours, str(theirs)).equal
    shifted = saved(tmp_path / "shifted", spoil=lambda made: made.tap(TAPS[3]).__iadd__(1e-6))
    with pytest.raises(ParityError, match=rf"First failing tap \(float64\): {TAPS[3]}"):
        assert_parity(ours, shifted)
    dropped = saved(tmp_path / "dropped", spoil=lambda made: made.arrays.pop(f"taps/{TAPS[3]}"))
    with pytest.raises(ParityError, match="missing tap"):
        assert_parity(ours, dropped)
    with pytest.raises(ResultError, match="no complete parity result"):
        assert_parity(ours, tmp_path / "nothing")
    with pytest.raises(TypeError, match="two mappings"):
        assert_parity(ours, arrays())


def test_reports_are_written_whatever_the_outcome(tmp_path):
    for name, candidate, verdict in (
        ("equal", arrays(), "equal"),
        ("different", arrays(logits=LOGITS + 1), "different"),
        ("broken", "no mapping", "error"),
    ):
        outputs = Outputs(*(tmp_path / f"{name}.{kind}" for kind in ("json", "xml", "html")))
        if verdict == "equal":
            assert_parity(arrays(), candidate, outputs=outputs)
        else:
            with pytest.raises((ParityError, TypeError)):
                assert_parity(arrays(), candidate, outputs=outputs)
        report = json.loads(outputs.json.read_text())
        assert violations(report, schema()) == []
        assert report["verdict"] == verdict
        assert f'data-verdict="{verdict}"' in outputs.html.read_text()


def test_a_dataset_that_is_not_there_is_reported(tmp_path):
    outputs = Outputs(html=tmp_path / "page.html")
    (tmp_path / "model").mkdir()
    with pytest.raises(DatasetError, match="there is no folder"):
        assert_miou(MiouRequest(str(tmp_path / "model"), tmp_path / "none"), outputs=outputs)
    assert 'data-verdict="error"' in outputs.html.read_text()
    with pytest.raises(HarnessError, match="no checkpoint folder"):
        assert_miou(MiouRequest(str(tmp_path / "none"), tmp_path))


# The plugin ---------------------------------------------------------------------------------------


@pytest.fixture
def project(pytester, monkeypatch):
    """Another project, whose tests run with the plugin alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    made = pytester.path / "results"
    saved(made / "reference", runner="torch_ref")
    saved(made / "equal")
    saved(made / "different", spoil=lambda result: result.arrays["logits"].__iadd__(1e-9))

    def run(test, *options):
        pytester.makepyfile(test)
        return pytester.runpytest_inprocess("-p", "parity.pytest_plugin", *options)

    run.path = pytester.path
    return run


TWO = """
def test_equal(parity):
    assert parity("results/reference", "results/equal").equal

def test_different(parity):
    parity("results/reference", "results/different")
"""


def test_the_fixture_asserts(project):
    outcome = project(TWO)
    outcome.assert_outcomes(passed=1, failed=1)
    outcome.stdout.fnmatch_lines(
        ["*ParityError*", "*float64: tf_segformer against torch_ref*", "*DIFFERENT*"]
    )
    # What pytest shows is the test's own line and the finding, not this package's lines.
    outcome.stdout.no_fnmatch_line("*raise ParityError*")
    outcome.stdout.fnmatch_lines(["E *ParityError: Every tap passes. What fails: logits (float64).*"])


def test_reports_of_every_test_are_written(project):
    outcome = project(TWO, "--parity-reports", "out/parity")
    outcome.assert_outcomes(passed=1, failed=1)
    names = sorted(path.name for path in (project.path / "out" / "parity").iterdir())
    assert len(names) == 6
    for test, verdict in (("test_equal", "equal"), ("test_different", "different")):
        (page,) = (project.path / "out" / "parity").glob(f"*{test}.html")
        assert f'data-verdict="{verdict}"' in page.read_text()
        assert "<img" in page.read_text()
    outcome.stdout.fnmatch_lines(["*report: out/parity/*test_different.html"])


def test_thresholds_come_from_the_project_s_file_or_the_option(project):
    file = project.path / "parity.toml"
    file.write_text("[tolerances]\nfloat64 = 1e-6\n")
    project(TWO).assert_outcomes(passed=2)
    file.write_text("[tolerances]\nfloat = 1e-6\n")
    outcome = project(TWO)
    outcome.assert_outcomes(errors=2)
    outcome.stdout.fnmatch_lines(["*unknown key 'float' in [[]tolerances]*"])
    other = project.path / "other.toml"
    other.write_text("[tolerances]\nfloat64 = 1e-6\n")
    project(TWO, "--parity-config", str(other)).assert_outcomes(passed=2)
    project(TWO, "--parity-config", "nowhere.toml").assert_outcomes(errors=2)


def test_what_cannot_be_compared_fails_and_is_never_skipped(project):
    test = """
    import numpy as np

    def test_nothing(parity):
        parity({}, {})

    def test_nan(parity):
        both = {"x": np.full(3, np.nan)}
        parity(both, both)

    def test_missing(parity):
        parity({"x": np.zeros(3), "y": np.zeros(3)}, {"x": np.zeros(3)})

    def test_no_result(parity):
        parity("results/reference", "results/none")

    def test_no_model(parity):
        parity("/no/model")

    def test_no_level(parity):
        parity("results/reference", "results/equal", levels=())
    """
    outcome = project(test)
    outcome.assert_outcomes(failed=6)
    assert outcome.ret == 1


def test_a_checkpoint_is_run_on_both_sides(project, monkeypatch):
    def reference(request, output, given, say):
        made = result(request.dtype)
        return save_result(output, made.manifest, dict(made.arrays))

    def candidate(request, output, given, say):
        made = result(request.dtype, "tf_segformer")
        made.arrays["logits"] += float(Path(request.model, "error").read_text())
        return save_result(output, made.manifest, dict(made.arrays))

    for name, run in (("torch_ref", reference), ("tf_segformer", candidate)):
        monkeypatch.setitem(runners.RUNNERS, name, runners.Runner(run, LANE_LEVELS))
    test = """
    def test_model(parity):
        run = parity("model", dtype="float64")
        assert len(run.lanes) == 1
    """
    (project.path / "model").mkdir()
    for error, outcome in (("0", {"passed": 1}), ("1e-3", {"failed": 1})):
        (project.path / "model" / "error").write_text(error)
        project(test, "--parity-in-process", "--parity-reports", "out").assert_outcomes(**outcome)
    assert 'data-verdict="different"' in next((project.path / "out").glob("*.html")).read_text()


def test_the_plugin_costs_other_tests_nothing(project):
    """Installed beside a project, it is loaded in all of its test runs."""
    test = """
    import sys

    def test_other():
        assert "parity.assertions" not in sys.modules
    """
    (project.path / "test_other.py").write_text(textwrap.dedent(test))
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "parity.pytest_plugin", "-q", "test_other.py"]
    answer = subprocess.run(command, cwd=project.path, env=environment, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
