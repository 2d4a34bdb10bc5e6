"""An experiment from beginning to end: its folder, its campaigns, its report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matinvent.experiments.analysis import analyse
from matinvent.experiments.catalogue import Planned, Request, find_experiment
from matinvent.experiments.figures import draw_all
from matinvent.experiments.folder import ExperimentFolder, command_line
from matinvent.experiments.report import REPORT, SUMMARY, TABLE, write_report, write_tables
from matinvent.experiments.runner import Listener, run_campaigns


def conduct(request: Request, plan: Sequence[Planned], path: Path, listener: Listener, *, resume: bool) -> Path:
    """Run what is left of an experiment, then write its report.

    A report of fewer seeds or tasks that is there already is moved to ``report-1`` (or 2, ...), never overwritten.

    Args:
        request: what was asked for.
        plan: its campaigns.
        path: the experiment's folder.
        listener: told how it goes on.
        resume: go on in the folder instead of making it.

    Returns:
        The report.

    Raises:
        InputError, ConfigError: the folder does not fit.
        Interrupted: a signal came; everything can be resumed.
        MatInventError: campaigns failed.
    """
    if resume and path.exists():
        folder = ExperimentFolder.open(path, request)
    else:
        folder = ExperimentFolder.create(path, request)
    try:
        reported = (path / REPORT).is_file() and all(folder.is_finished(planned.name) for planned in plan)
        if not reported:
            run_campaigns(folder, plan, request.parallel, listener)
            keep_earlier_report(path)
            make_report(folder, request, plan)
    finally:
        folder.unlock()
    return path / REPORT


def make_report(folder: ExperimentFolder, request: Request, plan: Sequence[Planned]) -> Path:
    """Read the records of all campaigns, which are finished, and write tables and figures.

    Raises:
        CheckpointError: a record cannot be read.
    """
    finished = [folder.finished(planned.name) for planned in plan]
    campaigns = [analyse(p, done.record, done.judged) for p, done in zip(plan, finished, strict=True)]
    figures = draw_all(campaigns, folder.path)
    write_tables(campaigns, folder.path)
    seeds = ", ".join(map(str, range(request.seeds)))
    spent = sum(campaign.record.seconds for campaign in campaigns) / 3600
    heading = [
        f"command: `{command_line(request, Path(folder.path.name), resume=False)}`",
        f"seeds: {seeds}; scale: {request.scale}; {len(campaigns)} campaigns, {spent:.1f} hours",
        *(f"machine: {machine}" for machine in sorted({done.surroundings for done in finished})),
    ]
    return write_report(find_experiment(request.experiment), campaigns, heading, figures, folder.path)


def keep_earlier_report(path: Path) -> None:
    """Move a finished report and its files out of the way."""
    if not (path / REPORT).is_file():
        return
    number = 1
    while (path / f"report-{number}").exists():
        number += 1
    kept = path / f"report-{number}"
    kept.mkdir()
    # The report itself goes last: as long as it is there, this is done again.
    for file in [path / TABLE, path / SUMMARY, *sorted(path.glob("*.svg")), path / REPORT]:
        if file.is_file():
            file.rename(kept / file.name)
