"""``matinvent front``: the compromises that a campaign has found between its goals."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from matinvent.cli.output import console, next_directory
from matinvent.errors import InputError, MatInventError

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.run_directory import RunDirectory


def front(
    directory: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run directory, finished or running.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder; default: RUN_DIR/front-N.", show_default=False)
    ] = None,
) -> None:
    """Show the Pareto front of a campaign.

    The front are the crystals that no other beats in every goal. Writes
    front.csv and crystals/ (CIF files) of them, hypervolume.csv (the ground
    covered per iteration), and front.svg (every pair of goals). Penalties are
    no goals. Of a campaign with stages it is the front of the newest stage.

    [bold]Examples[/bold]
    $ matinvent front runs/high_k-1
    $ matinvent front runs/high_k-1 --output fronts/today
    """
    from matinvent.memory.ledger import Ledger
    from matinvent.reporting.pareto import front_table, trace_front, write_front
    from matinvent.reporting.pareto_figure import FIGURE, draw_front
    from matinvent.run_directory import RunDirectory, ensure_free

    run, config = RunDirectory.open(directory)
    folder = output or next_directory(directory, "front")
    ensure_free(folder)
    if not run.ledger_file.is_file():  # opening would make one
        raise InputError(f"{run.ledger_file}: not there yet; the campaign has not finished an iteration")
    number, first = _newest_stage(run, config)
    candidates = [c for c in Ledger(run.ledger_file).candidates() if c.iteration >= first]
    found = trace_front(config.by_stage()[number].objectives, candidates)
    if not found.members:
        raise InputError(f"{directory}: no crystal has been scored yet, so that there is no front")
    units = _units(goal.property for goal in found.goals)
    write_front(found, folder)
    draw_front(found, units, folder / FIGURE)
    out = console()
    out.print(front_table(found, units))
    out.print(f"Tables, figure and CIF files: {folder}", soft_wrap=True, highlight=False)


def _newest_stage(run: RunDirectory, config: CampaignConfig) -> tuple[int, int]:
    """Number of the stage that a campaign is in, and its first iteration: scores of several stages do not compare."""
    saved = run.load() if config.stages else None
    begins = [0] if saved is None else saved[2]["curriculum"]["begins"]
    return len(begins) - 1, int(begins[-1])


def _units(names: Iterable[str]) -> dict[str, str]:
    """Units of properties, where they can be told without the packages and parameters of their evaluators."""
    from matinvent.properties.registry import about

    units = {}
    for name in names:
        try:
            units[name] = about(name).unit
        except MatInventError:
            units[name] = ""
    return units
