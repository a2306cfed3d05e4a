"""JUnit XML, which CI systems read: one test case for each thing that was required.

A run that broke down is one case with an error; there are no skipped cases, because nothing that was
required is ever skipped.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

from parity.pipeline import Run
from parity.report import failure_of
from parity.verdict import Evaluation

# What XML 1.0 cannot carry, even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Case:
    """One test case.

    Attributes:
        suite: name of its suite.
        name: what was required.
        failure: why it failed; None if it passed.
    """

    suite: str
    name: str
    failure: str | None = None


def cases_of_run(run: Run) -> list[Case]:
    """One case a compared tensor or label map."""
    cases = [
        Case(f"parity.{lane.dtype}.{lane.candidate}", row.name, None if row.passed else failure_of(row))
        for lane in run.lanes
        for row in lane.rows
    ]
    return cases or [Case("parity", "comparison", "nothing was compared")]


def cases_of_evaluation(evaluation: Evaluation) -> list[Case]:
    """One case for each thing that was required of a dataset."""
    cases = [
        Case(
            "parity.miou",
            check.name,
            None if check.passed else f"{check.found}; required: {check.required}",
        )
        for check in evaluation.checks
    ]
    return cases or [Case("parity.miou", "comparison", "nothing was compared")]


def junit_xml(cases: Sequence[Case], *, error: str | None = None) -> str:
    """The report.

    Args:
        cases: what was required; ignored if the run broke down.
        error: what broke down; None if nothing did.
    """
    shown = [Case("parity", "comparison")] if error is not None else list(cases)
    failures = sum(case.failure is not None for case in shown)
    errors = int(error is not None)
    totals = {"tests": len(shown), "failures": failures, "errors": errors, "skipped": 0}
    root = ET.Element("testsuites", {"name": "parity", **_texts(totals)})
    for name in dict.fromkeys(case.suite for case in shown):
        own = [case for case in shown if case.suite == name]
        failed = sum(case.failure is not None for case in own)
        counts = {"tests": len(own), "failures": failed, "errors": errors, "skipped": 0}
        suite = ET.SubElement(root, "testsuite", {"name": name, **_texts(counts)})
        for case in own:
            element = ET.SubElement(suite, "testcase", {"classname": name, "name": _clean(case.name)})
            if error is not None:
                _outcome(element, "error", error)
            elif case.failure is not None:
                _outcome(element, "failure", case.failure)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _outcome(element: ET.Element, kind: str, text: str) -> None:
    cleaned = _clean(text)
    message = cleaned.splitlines()[0] if cleaned.strip() else kind
    ET.SubElement(element, kind, {"message": message}).text = cleaned


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def _texts(values: dict[str, int]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}
