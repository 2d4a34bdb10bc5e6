"""The command line: which commands there are, and what happens when one goes wrong.

Commands import what they need when they run, so that ``matinvent --help`` answers at once.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from rich.markup import escape

from matinvent import __version__
from matinvent.cli import (
    campaigns,
    catalogue,
    crystals,
    doctor,
    evaluation,
    experiments,
    fronts,
    inspection,
    predictors,
    pretraining,
    properties,
    reference,
)
from matinvent.cli.output import error_console
from matinvent.errors import MatInventError

#: Exit status of errors that the user can fix (also that of a wrong command line).
USER_ERROR = 2

_EPILOG = """
[bold]A first campaign[/bold]

$ matinvent doctor   [dim]# is everything in place?[/dim]

$ matinvent run density --preset quick   [dim]# density of 18 g/cm3[/dim]

$ matinvent resume runs/density-1   [dim]# after any interruption[/dim]

$ matinvent generate 100 --run runs/density-1   [dim]# the trained agent[/dim]

[bold]Your own goal[/bold]

$ matinvent run density --dry-run > mine.yaml   [dim]# then edit it[/dim]

$ matinvent run mine.yaml
"""

app = typer.Typer(
    name="matinvent",
    help="Design inorganic crystals for a goal: reinforcement learning on a diffusion model of crystals.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(rich_help_panel="Campaigns")(campaigns.run)
app.command(rich_help_panel="Campaigns")(campaigns.resume)
app.command(rich_help_panel="Campaigns")(inspection.inspect)
app.command(rich_help_panel="Campaigns")(fronts.front)
app.command(rich_help_panel="Campaigns")(experiments.experiment)
app.command(rich_help_panel="Crystals")(crystals.generate)
app.command(rich_help_panel="Crystals")(evaluation.evaluate)
app.command(rich_help_panel="Crystals")(properties.properties)
app.command(rich_help_panel="Set-up")(catalogue.tasks)
app.command(rich_help_panel="Set-up")(catalogue.priors)
app.command(rich_help_panel="Set-up")(catalogue.schema)
app.command(rich_help_panel="Set-up")(doctor.doctor)
app.command(rich_help_panel="Set-up")(pretraining.pretrain)
app.add_typer(reference.app, name="reference", rich_help_panel="Set-up")
app.add_typer(predictors.app, name="predictor", rich_help_panel="Set-up")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"matinvent {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    del version


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status.

    Errors of ours, of the file system and of databases become one message on stderr and status 2; set
    MATINVENT_DEBUG=1 for the traceback. Ctrl-C outside a campaign leaves with 130, as shells expect.
    """
    # Read by OpenMP when torch is loaded, and by OpenBLAS when numpy is. Threads that spin while they wait make a
    # network twice (beside one other busy process) to ten times slower as soon as cores are shared; numpy's matrices
    # are tiny here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        app(None if arguments is None else list(arguments))
    except (MatInventError, OSError, sqlite3.Error) as error:
        if os.environ.get("MATINVENT_DEBUG"):
            raise
        _complain(_message(error))
        sys.exit(USER_ERROR)


def _message(error: MatInventError | OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return str(error) if isinstance(error, MatInventError) else f"database: {error}"


def _complain(message: str) -> None:
    error_console().print(f"[bold red]error:[/bold red] {escape(message)}", soft_wrap=True, highlight=False)
