"""The pytest plugin: the fixture `parity`, and options for thresholds and reports.

    def test_the_port_is_the_model(parity):
        parity("path/of/a/checkpoint", image="photo.jpg")

pytest finds it by the entry point `pytest11` of the installed package. Nothing but this module is
imported until a test asks for the fixture.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from parity.miou_pipeline import MiouRun
    from parity.outputs import Outputs
    from parity.pipeline import Run
    from parity.thresholds import Thresholds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("parity", "comparisons with the PyTorch reference")
    group.addoption(
        "--parity-config",
        metavar="FILE",
        help="Thresholds; by default parity.toml beside pytest's own configuration, if there is one.",
    )
    group.addoption(
        "--parity-reports",
        metavar="DIR",
        help="Write a page, JSON and JUnit XML of every comparison into this folder.",
    )
    group.addoption(
        "--parity-in-process",
        action="store_true",
        help="Run both frameworks in pytest's process: quicker for small models, both at once in memory.",
    )


class Parity:
    """What the fixture gives: `assert_parity` and `assert_miou` with the options of the command line.

    Attributes:
        thresholds: what passes.
        reports: folder for reports; None: there are none.
        in_process: whether both frameworks run in this process.
    """

    def __init__(self, thresholds: Thresholds, reports: Path | None, in_process: bool, test: str) -> None:
        self.thresholds = thresholds
        self.reports = reports
        self.in_process = in_process
        self._test = test
        self._count = 0

    def __call__(self, reference: Any, candidate: Any = None, **options: Any) -> Run:
        """`parity.assertions.assert_parity` with this run's thresholds, reports and isolation."""
        from parity.assertions import assert_parity

        __tracebackhide__ = True
        options.setdefault("thresholds", self.thresholds)
        options.setdefault("isolate", not self.in_process)
        return assert_parity(reference, candidate, outputs=self._outputs(), **options)

    def miou(self, model: str | Path, data: str | Path | None = None, **options: Any) -> MiouRun:
        """`parity.assertions.assert_miou`; the options are the fields of `MiouRequest`."""
        from parity.assertions import assert_miou
        from parity.miou_pipeline import MiouRequest

        __tracebackhide__ = True
        for name in ("images", "annotations", "saved_model", "state"):
            if options.get(name) is not None:
                options[name] = Path(options[name])
        options.setdefault("thresholds", self.thresholds)
        folder = None if data is None else Path(data)
        return assert_miou(MiouRequest(str(model), folder, **options), outputs=self._outputs())

    def _outputs(self) -> Outputs:
        from parity.outputs import Outputs

        if self.reports is None:
            return Outputs()
        self._count += 1
        stem = self._test if self._count == 1 else f"{self._test}-{self._count}"
        return Outputs(*(self.reports / f"{stem}.{kind}" for kind in ("json", "xml", "html")))


@pytest.fixture
def parity(request: pytest.FixtureRequest) -> Parity:
    """Compare PyTorch and TensorFlow in a test; see `docs/ci.md`."""
    from parity.thresholds import FILE_NAME, ThresholdError, Thresholds, load_thresholds

    config = request.config
    named = config.getoption("--parity-config")
    path = Path(named) if named else config.rootpath / FILE_NAME
    try:
        thresholds = load_thresholds(path) if named or path.is_file() else Thresholds()
    except ThresholdError as error:
        raise pytest.UsageError(str(error)) from error
    folder = config.getoption("--parity-reports")
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", request.node.nodeid).strip("-")
    return Parity(
        thresholds,
        None if folder is None else Path(folder),
        bool(config.getoption("--parity-in-process")),
        stem[-150:],
    )
