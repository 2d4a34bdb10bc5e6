"""An experiment from beginning to end: its folder, its campaigns, its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from matinvent.errors import InputError
from matinvent.experiments.analysis import analyse, at_equal_numbers
from matinvent.experiments.catalogue import Planned, Request, find_experiment
from matinvent.experiments.figures import draw_all
from matinvent.experiments.folder import ExperimentFolder, command_line
from matinvent.experiments.report import REPORT, SUMMARY, TABLE, reported_campaigns, write_report, write_tables
from matinvent.experiments.runner import Listener, run_campaigns

#: Folder of a report of what is finished.
SO_FAR = "so-far"


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
        for planned in plan:
            folder.prepare(planned)
        if folder.unfinished(plan) or reported_campaigns(path) != [planned.name for planned in plan]:
            run_campaigns(folder, plan, request.parallel, listener)
            keep_earlier_report(path)
            make_report(folder, request, plan, path)
    finally:
        folder.unlock()
    return path / REPORT


def report_so_far(request: Request, plan: Sequence[Planned], path: Path) -> Path:
    """Report what is finished of an experiment, whether or not it is running; nothing is run.

    A task and seed is in it once all its arms are finished. It goes to ``so-far/`` and replaces the one that is there.

    Args:
        request: what was asked for.
        plan: its campaigns.
        path: the experiment's folder.

    Returns:
        The report.

    Raises:
        InputError: there is no experiment, or nothing of it is finished.
        ConfigError: it is another experiment, or its campaigns had other settings.
        CheckpointError: a record cannot be read.
    """
    folder = ExperimentFolder.open(path, request, to_read=True)
    missing = folder.unfinished(plan)
    incomplete = {(planned.task, planned.seed) for planned in missing}
    complete = [planned for planned in plan if (planned.task, planned.seed) not in incomplete]
    if not complete:
        raise InputError(f"{path}: of no task and seed all campaigns are finished yet; wait, or continue with --resume")
    for planned in complete:
        folder.require_same(planned)
    target = path / SO_FAR
    target.mkdir(exist_ok=True)
    for figure in target.glob("*.svg"):  # of fewer tasks others are drawn
        figure.unlink()
    left = _in_words(incomplete)
    return make_report(folder, request, complete, target, f"so far; not finished: {left}" if left else "")


def _in_words(incomplete: Iterable[tuple[str, int]]) -> str:
    """Tasks with their seeds, e.g. ``density (seed 2), hhi (seeds 1, 2)``."""
    seeds: dict[str, list[str]] = {}
    for task, seed in sorted(incomplete):
        seeds.setdefault(task, []).append(str(seed))
    return ", ".join(f"{task} (seed{'s' * (len(own) > 1)} {', '.join(own)})" for task, own in seeds.items())


def make_report(
    folder: ExperimentFolder, request: Request, plan: Sequence[Planned], target: Path, remark: str = ""
) -> Path:
    """Read the records of campaigns, which are finished, and write tables and figures.

    Args:
        folder: of the experiment.
        request: what was asked for.
        plan: the campaigns to report.
        target: the folder of the report.
        remark: one more line of its heading.

    Raises:
        CheckpointError: a record cannot be read.
    """
    finished = [folder.finished(planned.name) for planned in plan]
    campaigns = at_equal_numbers([
        analyse(planned, done.record, done.judged) for planned, done in zip(plan, finished, strict=True)
    ])  # fmt: skip
    figures = draw_all(campaigns, target)
    write_tables(campaigns, target)
    seeds = ", ".join(map(str, sorted({planned.seed for planned in plan})))
    spent = sum(campaign.record.seconds for campaign in campaigns) / 3600
    command = command_line(request, Path(folder.path.name), option="")
    heading = [
        f"command: `{command}`",
        f"seeds: {seeds}; scale: {request.scale}; {len(campaigns)} campaigns, {spent:.1f} hours",
        *([remark] if remark else []),
        *(f"machine: {machine}" for machine in sorted({done.surroundings for done in finished})),
    ]
    return write_report(find_experiment(request.experiment), campaigns, heading, figures, target)


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
