"""``matinvent run`` and ``matinvent resume``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matinvent.cli.inspection import verdict
from matinvent.cli.output import console, next_directory

if TYPE_CHECKING:
    from matinvent.campaign import Campaign
    from matinvent.config import CampaignConfig
    from matinvent.reporting.events import Callback

#: Exit status of a campaign that was stopped by a signal and can be resumed.
INTERRUPTED = 1


def run(
    task: Annotated[str, typer.Argument(metavar="TASK|CONFIG.yaml", help="A shipped task or a campaign file.")],
    preset: Annotated[str | None, typer.Option(help="Settings laid over the task, e.g. [b]quick[/b].")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting; repeatable.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed; equal seeds give equal campaigns on a CPU.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Run directory; default: runs/NAME-N.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and print all settings, and stop.")] = False,
) -> None:
    """Run a design campaign.

    [bold]Examples[/bold]
    $ matinvent run density --preset quick
    $ matinvent run hhi --seed 7 --set iterations=100 --set learning.sigma=0.05
    $ matinvent run density --set start.agent=runs/density-1 --set start.crystals=mine/
    $ matinvent run density --dry-run > mine.yaml
    $ matinvent run mine.yaml
    """
    from matinvent.run_directory import ensure_free
    from matinvent.tasks import load_task

    changes = [*(overrides or []), *([] if seed is None else [f"seed={seed}"])]
    config = load_task(task, preset, changes)
    if dry_run:
        rehearse(config)
        typer.echo(config.to_yaml(), nl=False)
        return
    directory = output or next_directory(Path("runs"), config.name)
    ensure_free(directory)  # before the seconds that loading torch takes

    def start(callbacks: Sequence[Callback]) -> Campaign:
        from matinvent.campaign import Campaign

        return Campaign.start(config, directory, callbacks)

    conduct_campaign(start)


def rehearse(config: CampaignConfig) -> None:
    """Set a campaign up to its first iteration and forget it, to refuse whatever its start would refuse."""
    from tempfile import TemporaryDirectory

    from matinvent.campaign import Campaign

    with TemporaryDirectory() as scratch:
        Campaign.start(config, Path(scratch) / "run").close()


def resume(
    directory: Annotated[Path, typer.Argument(help="Run directory of an interrupted campaign.")],
) -> None:
    """Continue a campaign from its newest checkpoint.

    The result equals that of a campaign that was never interrupted.

    [bold]Example[/bold]
    $ matinvent resume runs/density-1
    """

    def reopen(callbacks: Sequence[Callback]) -> Campaign:
        from matinvent.campaign import Campaign

        return Campaign.resume(directory, callbacks)

    conduct_campaign(reopen)


def conduct_campaign(begin: Callable[[Sequence[Callback]], Campaign]) -> None:
    """Set a campaign up, run it under the eyes of console and sinks, and report its end.

    Raises:
        typer.Exit: it was interrupted; it can be resumed.
    """
    from matinvent.experiments.hacking import hacking_report
    from matinvent.reporting.console import ConsoleCallback
    from matinvent.reporting.sinks import CsvSink, TensorBoardSink
    from matinvent.reporting.summary import final_report, write_best

    out = console()
    with ConsoleCallback(out) as listener:
        with out.status("loading prior, potential and reference set"):
            campaign = begin([CsvSink(), TensorBoardSink(), listener])
        summary = campaign.run()
    entries = write_best(summary)
    out.print()
    out.print(final_report(summary, entries), crop=False)
    if summary.iterations and entries:
        out.print(verdict(hacking_report(summary.directory)), soft_wrap=True, highlight=False, markup=False)
    if summary.stopped == "interrupted":
        raise typer.Exit(INTERRUPTED)
