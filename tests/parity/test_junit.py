import xml.etree.ElementTree as ET

import pytest

from parity.junit import Case, cases_of_evaluation, cases_of_run, junit_xml
from parity.pipeline import Run
from tests.parity.generated_dataset import write_ade20k
from tests.parity.made_up_sides import run as run_dataset
from tests.parity.made_up_sides import side
from tests.parity.test_report import TAPS, made_run, shift


def parsed(cases, **options):
    root = ET.fromstring(junit_xml(cases, **options))
    assert root.tag == "testsuites"
    for kind in ("tests", "failures", "errors"):
        assert sum(int(suite.get(kind)) for suite in root) == int(root.get(kind))
    assert len(list(root.iter("testcase"))) == int(root.get("tests"))
    assert len(list(root.iter("failure"))) == int(root.get("failures"))
    assert len(list(root.iter("error"))) == int(root.get("errors"))
    assert root.get("skipped") == "0"
    return root


def test_an_equal_run_has_a_case_for_each_comparison():
    run = made_run()
    root = parsed(cases_of_run(run))
    assert int(root.get("tests")) == sum(len(lane.rows) for lane in run.lanes)
    assert root.get("failures") == "0"
    assert [suite.get("name") for suite in root] == [
        f"parity.{d}.tf_segformer" for d in ("float32", "float64")
    ]


def test_a_failure_names_the_place_and_both_values():
    root = parsed(cases_of_run(made_run(shift)))
    assert root.get("failures") == "2"
    case = next(case for case in root.iter("testcase") if case.find("failure") is not None)
    assert case.get("name") == TAPS[6]
    assert "worst at [0, 1, 2, 3]: reference" in case.find("failure").text


def test_a_breakdown_is_one_error_and_never_a_skip():
    root = parsed([], error="no model\nanywhere")
    (error,) = root.iter("error")
    assert (error.get("message"), error.text) == ("no model", "no model\nanywhere")


def test_nothing_compared_is_a_failure():
    assert parsed(cases_of_run(Run((), ()))).get("failures") == "1"


@pytest.mark.parametrize("failing", [False, True])
def test_a_dataset_has_a_case_for_each_check(tmp_path, failing):
    candidate = side(labels=lambda labels: (labels + 1) % 11) if failing else None
    _, evaluation = run_dataset(write_ade20k(tmp_path), candidate=candidate)
    root = parsed(cases_of_evaluation(evaluation))
    assert int(root.get("tests")) == len(evaluation.checks)
    failed = [c.get("name") for c in root.iter("testcase") if c.find("failure") is not None]
    assert failed == (["label maps"] if failing else [])


def test_what_xml_cannot_carry_is_replaced():
    root = parsed([Case("s", "a\x00b<&>", "line\x1b[31m\ud800")])
    (case,) = root.iter("testcase")
    assert case.get("name") == "a\ufffdb<&>"
