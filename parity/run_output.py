"""The reports of `parity run` and `parity compare`, written whatever became of the run."""

from __future__ import annotations

from parity.junit import cases_of_run
from parity.outputs import Outputs
from parity.pipeline import Run
from parity.report import report_dict
from parity.run_page import Scene, run_page
from parity.terminal import exit_code
from parity.thresholds import Thresholds


def write_run(
    outputs: Outputs,
    scene: Scene,
    run: Run | None,
    *,
    error: str | None,
    thresholds: Thresholds,
) -> None:
    """Write what is wanted.

    Args:
        outputs: which reports, and where.
        scene: what was compared.
        run: what was found; None if the run broke down.
        error: what broke down.
        thresholds: the gates of a run that broke down.
    """
    outputs.write(
        report=lambda: report_dict(
            model=scene.model,
            image=scene.image,
            run=run,
            exit_code=exit_code(None if run is None else run.equal),
            error=error,
            thresholds=thresholds,
        ),
        cases=lambda: cases_of_run(run) if run is not None else [],
        page=lambda: run_page(scene, run, error=error),
        error=error,
    )
