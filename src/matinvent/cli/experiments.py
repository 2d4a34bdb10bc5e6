"""``matinvent experiment``: the paper's experiments, as tables and figures over seeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.campaigns import INTERRUPTED, rehearse
from matinvent.cli.output import console, error_console, next_directory, progress_bar
from matinvent.errors import ConfigError, MatInventError
from matinvent.interrupt import Interrupted

if TYPE_CHECKING:
    from matinvent.experiments.catalogue import Planned, Request


def experiment(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Which one; [b]list[/b] or nothing: what there is, and its cost.")
    ] = "list",
    scale: Annotated[
        str, typer.Option(help="[b]quick[/b] fits two cores; [b]paper[/b] has the paper's sizes.")
    ] = "quick",
    seeds: Annotated[int, typer.Option(min=1, help="Campaigns of each kind; seeds 0, 1, ...")] = 3,
    tasks: Annotated[
        str, typer.Option(metavar="A,B", help="Shipped tasks or campaign files instead of the experiment's own.")
    ] = "",
    arms: Annotated[
        str, typer.Option(metavar="A,B", help="Only these arms (and the prior); --dry-run names them all.")
    ] = "",
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting of all; repeatable.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="Campaigns at the same time; they share the cores.")] = 1,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder; default: runs/experiment-NAME-N.", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in --output; seeds and tasks may be added.")] = False,
    so_far: Annotated[
        bool, typer.Option("--so-far", help="Report what is finished in --output (in so-far/), also while it runs.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the campaigns and their cost, and stop.")] = False,
) -> None:
    """Run an experiment of the paper: campaigns over seeds, then a report with tables and figures.

    [bold]Examples[/bold]
    $ matinvent experiment
    $ matinvent experiment replay --seeds 3 -o runs/replay
    $ matinvent experiment replay --seeds 5 -o runs/replay --resume
    $ matinvent experiment replay --seeds 5 -o runs/replay --so-far
    $ matinvent experiment single --tasks density,mine.yaml
    $ matinvent experiment ablations --arms learned,no-replay
    """
    from matinvent.experiments.catalogue import Request, plan
    from matinvent.experiments.folder import ExperimentFolder

    chosen, wanted = _names(tasks), _names(arms)
    if name == "list":
        if chosen or wanted or overrides:
            raise ConfigError("--tasks, --arms and --set are of an experiment; name one: matinvent experiment single")
        _list(scale, seeds)
        return
    if resume and so_far:
        raise ConfigError("--resume runs what is left, --so-far runs nothing: choose one")
    if output is None and (resume or so_far):
        raise ConfigError(f"{'--resume' if resume else '--so-far'} needs --output: the folder of the experiment")
    request = Request(name, scale, seeds, chosen, tuple(overrides or ()), parallel, wanted)
    planned = plan(request)
    left = ExperimentFolder(output).unfinished(planned) if resume and output is not None else planned
    if (chosen or overrides) and not so_far:
        _rehearse(left)
    if dry_run:
        _show_plan(planned, request)
        return
    if so_far and output is not None:
        from matinvent.experiments.conduct import report_so_far

        report = report_so_far(request, planned, output)
        console().print(f"Report: {report}", soft_wrap=True, highlight=False, markup=False)
        return
    _conduct(request, planned, left, output or next_directory(Path("runs"), f"experiment-{name}"), resume=resume)


def _names(text: str) -> tuple[str, ...]:
    """The names in a list with commas."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _rehearse(planned: list[Planned]) -> None:
    """Refuse a task, or an arm on it, that could not start now, not when its turn comes."""
    from matinvent.experiments.catalogue import PRIOR

    learners = [campaign for campaign in planned if campaign.arm is not PRIOR]  # the prior can do whatever they can
    first = {(campaign.task, campaign.arm.name): campaign for campaign in reversed(learners or planned)}
    with console().status("checking the tasks"):
        for (task, arm), campaign in first.items():
            try:
                rehearse(campaign.config)
            except MatInventError as error:
                raise ConfigError(f"{task}, arm '{arm}': {error}") from None


def _list(scale: str, seeds: int) -> None:
    """What there is, with its estimated cost."""
    from matinvent.execution.executors import available_cores
    from matinvent.experiments.catalogue import Request, list_experiments, plan
    from matinvent.experiments.cost import duration, estimated_seconds

    cores = available_cores()
    table = Table("experiment", "paper", "what", "campaigns", f"about, {cores} cores")
    for entry in list_experiments():
        planned = plan(Request(entry.name, scale, seeds))
        time = duration(estimated_seconds(planned, cores=cores))
        table.add_row(entry.name, entry.figure, escape(entry.question), str(len(planned)), time)
    out = console()
    out.print(table)
    out.print(f"Scale {scale}, {seeds} seeds. Fewer tasks: --tasks density,hhi. Campaigns of one: NAME --dry-run")


def _show_plan(planned: list[Planned], request: Request) -> None:
    from matinvent.experiments.cost import duration, planned_seconds

    out = console()
    table = Table("campaign", "iterations", "sampled", "evaluated", "about, 2 cores")
    for campaign in planned:
        config = campaign.config
        sizes = (config.total_iterations, config.generator.samples, config.evaluation.per_iteration)
        table.add_row(campaign.name, *map(str, sizes), duration(planned_seconds(campaign)))
    out.print(table)
    out.print(_cost(planned, request.parallel), highlight=False)


def _cost(planned: list[Planned], parallel: int) -> str:
    from matinvent.execution.executors import available_cores
    from matinvent.experiments.cost import duration, estimated_seconds, most_evaluations

    cores = available_cores()
    time = duration(estimated_seconds(planned, parallel, cores))
    evaluations = sum(most_evaluations(campaign.config) for campaign in planned)
    return (
        f"{len(planned)} campaigns, at most {evaluations:,} property evaluations, about {time} on {cores} cores "
        "(an estimate for a CPU, to within a factor of two)"
    )


def _conduct(request: Request, planned: list[Planned], left: list[Planned], folder: Path, *, resume: bool) -> None:
    """Run what is left of the planned campaigns and say where the report is; interrupted, how to go on."""
    from matinvent.experiments.conduct import conduct
    from matinvent.experiments.folder import command_line

    out = console()
    done = f"{len(planned) - len(left)} of {len(planned)} campaigns finished; left: " if resume else ""
    work = _cost(left, request.parallel) if left else "nothing"
    out.print(f"{done}{work}; in {folder}", soft_wrap=True, highlight=False, markup=False)
    try:
        with progress_bar(request.experiment) as show:
            report = conduct(request, planned, folder, _Teller(planned, show), resume=resume)
    except Interrupted:
        command = command_line(request, folder)
        error_console().print(f"Interrupted. Continue with: {command}", soft_wrap=True, highlight=False, markup=False)
        raise typer.Exit(INTERRUPTED) from None
    out.print(f"Report: {report}", soft_wrap=True, highlight=False, markup=False)


class _Teller:
    """Says one line for each campaign, and moves the bar."""

    def __init__(self, planned: list[Planned], show: Callable[[float], None]) -> None:
        self._places = {p.name: f"[{number}/{len(planned)}] {p.name}" for number, p in enumerate(planned, start=1)}
        self._show = show

    def started(self, planned: Planned) -> None:
        """A campaign begins or goes on."""
        self._say(f"{self._places[planned.name]}: {planned.config.total_iterations} iterations")

    def progress(self, done: int, total: int) -> None:
        """Iterations finished of all campaigns together."""
        self._show(done / total)

    def ended(self, planned: Planned, seconds: float, fault: str) -> None:
        """A campaign is finished, or failed."""
        from matinvent.experiments.cost import duration

        outcome = f"failed: {fault}" if fault else f"finished after {duration(seconds)}"
        self._say(f"{self._places[planned.name]}: {outcome}")

    def _say(self, line: str) -> None:
        console().print(line, soft_wrap=True, highlight=False, markup=False)
