"""``matinvent properties``: what can be designed for, and its values for a user's own crystals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.evaluation import report_unreadable
from matinvent.cli.output import console, progress_bar, refuse_existing
from matinvent.errors import ConfigError, Failure

if TYPE_CHECKING:
    from pymatgen.core import Structure


def properties(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES...]", help="Crystals to compute properties of.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the properties that can be designed for.")] = False,
    wanted: Annotated[
        list[str] | None,
        typer.Option("--property", "-p", metavar="NAME[,NAME...]", help="Properties to compute; repeatable."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file to write.")] = None,
) -> None:
    """List properties, or compute them for crystals from files (as they are, without relaxation).

    [bold]Examples[/bold]
    $ matinvent properties --list
    $ matinvent properties candidates/ -p density,hhi --output properties.csv
    """
    if listing or not (files or wanted or output):
        _list_properties()
        return
    if not files:
        raise ConfigError("properties of which crystals? Name files or folders; --list shows all properties")
    names = list(dict.fromkeys(name.strip() for part in wanted or [] for name in part.split(",") if name.strip()))
    if not names:
        raise ConfigError("which properties? Name them with --property; 'matinvent properties --list' shows all")
    if output is not None:
        refuse_existing(output)
    from matinvent.cli.structure_files import read_structures

    sources, crystals = zip(*read_structures(files), strict=True)
    report_unreadable(sources, crystals)
    rows = [
        [source, _formula(crystal), *_cells(values)]
        for source, crystal, values in zip(sources, crystals, _compute(names, crystals), strict=True)
    ]
    _show([["source", "formula", *names, "failure"], *rows], output)


def _list_properties() -> None:
    from matinvent.properties.registry import describe

    table = Table("property", "unit", "cost", "what", "source")
    for info in sorted(describe(), key=lambda info: info.name):
        table.add_row(*map(escape, (info.name, info.unit, info.cost, info.description, info.source)))
    console().print(table)


def _compute(names: Sequence[str], crystals: Sequence[Structure | Failure]) -> list[list[float | Failure]]:
    """For each crystal the value of each property.

    The service fails a crystal as a whole and computes properties of one evaluator together. So all are asked for at
    once, and one by one only for the crystals that fail.
    """
    readable = [crystal for crystal in crystals if not isinstance(crystal, Failure)]
    values = [_row(names, result) for result in _evaluate(names, readable, "computing properties")]
    failed = [position for position, row in enumerate(values) if isinstance(row[0], Failure)]
    if failed and len(names) > 1:
        for column, name in enumerate(names):
            results = _evaluate(
                [name], [readable[position] for position in failed], f"computing {name} where others fail"
            )
            for position, result in zip(failed, results, strict=True):
                values[position][column] = _row([name], result)[0]
    rows = iter(values)
    return [[crystal] * len(names) if isinstance(crystal, Failure) else next(rows) for crystal in crystals]


def _evaluate(names: Sequence[str], crystals: Sequence[Structure], text: str) -> list[dict[str, float] | Failure]:
    from matinvent.config import EvaluationConfig
    from matinvent.properties.service import PropertyService

    service = PropertyService([(name, {}) for name in names], EvaluationConfig(), None)
    try:
        with progress_bar(text) as progress:
            return service.evaluate(crystals, progress)
    finally:
        service.close()


def _row(names: Sequence[str], result: dict[str, float] | Failure) -> list[float | Failure]:
    return [result if isinstance(result, Failure) else result[name] for name in names]


def _cells(values: Sequence[float | Failure]) -> list[str]:
    """The values of one crystal, blank where one failed, and why."""
    reasons = dict.fromkeys(str(value) for value in values if isinstance(value, Failure))
    return [*("" if isinstance(value, Failure) else f"{value:.6g}" for value in values), "; ".join(reasons)]


def _formula(crystal: Structure | Failure) -> str:
    return "" if isinstance(crystal, Failure) else crystal.composition.reduced_formula


def _show(rows: Sequence[Sequence[str]], output: Path | None) -> None:
    """Print the table, or write it to a new CSV file."""
    if output is None:
        header, *body = rows
        table = Table(*map(escape, header))
        for row in body:
            table.add_row(*map(escape, row))
        console().print(table)
        return
    from matinvent.reporting.screened import write_csv

    write_csv(output, rows)
    console().print(f"{len(rows) - 1} crystals: {output}", soft_wrap=True, highlight=False)
