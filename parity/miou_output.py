"""The reports of `parity miou`, written whatever became of the run."""

from __future__ import annotations

from parity.junit import cases_of_evaluation
from parity.miou_page import miou_page
from parity.miou_pipeline import MiouRun
from parity.miou_report import Subject, miou_report_dict
from parity.outputs import Outputs
from parity.terminal import exit_code


def write_miou(outputs: Outputs, subject: Subject, run: MiouRun | None, *, error: str | None) -> None:
    """Write what is wanted.

    Args:
        outputs: which reports, and where.
        subject: what was to be compared, for a run that broke down.
        run: what was found; None if the run broke down.
        error: what broke down.
    """
    about = subject if run is None else run.subject
    evaluation = None if run is None else run.evaluation
    outputs.write(
        report=lambda: miou_report_dict(
            about,
            evaluation,
            exit_code=exit_code(None if evaluation is None else evaluation.equal),
            error=error,
        ),
        cases=lambda: cases_of_evaluation(evaluation) if evaluation is not None else [],
        page=lambda: miou_page(about, evaluation, run.shown if run is not None else (), error=error),
        error=error,
    )
