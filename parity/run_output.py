"""The reports of `parity run` and `parity compare`, written whatever became of the run."""

from __future__ import annotations

from parity.junit import cases_of_run
from parity.outputs import Outputs
from parity.pipeline import Run
from parity.report import report_dict
from parity.run_page import Scene, run_page
from parity.thresholds import Thresholds


def write_run(
    outputs: Outputs,
    scene: Scene,
    run: Run | None,
    *,
    exit_code: int,
    error: str | None,
    thresholds: Thresholds,
) -> None:
    """Write what is wanted: a CI job that only keeps artefacts must not be left without.

    Args:
        outputs: which reports, and where.
        scene: what was compared.
        run: what was found; None if the run broke down.
        exit_code: the code that the command ends with.
        error: what broke down.
        thresholds: the gates of a run that broke down.
    """
    outputs.write(
        report=lambda: report_dict(
            model=scene.model,
            image=scene.image,
            run=run,
            exit_code=exit_code,
            error=error,
            thresholds=thresholds,
        ),
        cases=lambda: cases_of_run(run) if run is not None else [],
        page=lambda: run_page(scene, run, error=error),
        error=error,
    )
