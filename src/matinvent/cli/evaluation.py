"""``matinvent evaluate`` and ``matinvent properties``: a user's own crystals through the campaign's rooms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.output import console, error_console, next_directory, progress_bar, refuse_existing
from matinvent.errors import ConfigError, Failure, InputError
from matinvent.reporting.screened import write_csv, write_screened

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.candidate import Candidate
    from matinvent.config import ScreeningConfig

_SCREENING = "screening."


def evaluate(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILES...", help="CIF, POSCAR, extended XYZ, JSON, folders or zip files.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="screening.KEY=VALUE", help="Change one screening setting; repeatable."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for results; default: runs/evaluate-N.", show_default=False),
    ] = None,
) -> None:
    """Screen crystals from files: valid? relaxed, stable? unique? novel?

    Writes results.csv (one row per crystal) and the relaxed crystals as CIF files.

    [bold]Examples[/bold]
    $ matinvent evaluate candidates/ --output screened
    $ matinvent evaluate crystals.extxyz --set screening.relaxation.fmax=0.05 --set screening.validity.smact=false
    """
    from matinvent.candidate import Candidate
    from matinvent.cli.structure_files import read_structures

    folder = output or next_directory(Path("runs"), "evaluate")
    refuse_existing(folder)
    settings = _screening_settings(overrides or [])
    sources, crystals = zip(*read_structures(files), strict=True)
    candidates = [Candidate.of(0, index, crystal) for index, crystal in enumerate(crystals)]
    _report_unreadable(sources, crystals)
    _screen(candidates, settings)
    folder.mkdir(parents=True)
    write_screened(sources, candidates, folder)
    _show_funnel(candidates, folder)


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
    if listing or not files:
        _list_properties()
        return
    names = list(dict.fromkeys(name.strip() for part in wanted or [] for name in part.split(",") if name.strip()))
    if not names:
        raise ConfigError("which properties? Name them with --property; 'matinvent properties --list' shows all")
    if output is not None:
        refuse_existing(output)
    from matinvent.cli.structure_files import read_structures

    sources, crystals = zip(*read_structures(files), strict=True)
    _report_unreadable(sources, crystals)
    values = _compute(names, crystals)
    rows = [
        [source, _formula(crystal), *_property_cells(names, value)]
        for source, crystal, value in zip(sources, crystals, values, strict=True)
    ]
    header = ["source", "formula", *names, "failure"]
    if output is None:
        table = Table(*map(escape, header))
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        console().print(table)
    else:
        write_csv(output, [header, *rows])
        console().print(f"{len(rows)} crystals: {output}", soft_wrap=True, highlight=False)


def _screening_settings(overrides: Sequence[str]) -> ScreeningConfig:
    """Screening as campaigns do it by default, every crystal to the end."""
    from matinvent.tasks import load_task

    for override in overrides:
        if not override.strip().startswith(_SCREENING):
            raise ConfigError(f"--set {override}: only screening settings apply here, e.g. {_SCREENING}novelty=false")
    # Screening does not depend on the goal; any task serves to read its settings.
    return load_task("density", overrides=overrides).screening.model_copy(update={"exhaustive": True})


def _screen(candidates: list[Candidate], settings: ScreeningConfig) -> None:
    from matinvent.screening.screen import Screener

    screener = Screener(settings)
    try:
        with progress_bar(f"screening {len(candidates)} crystals") as progress:
            screener.screen(candidates, len(candidates), progress)
    finally:
        screener.close()


def _report_unreadable(sources: Sequence[str], crystals: Sequence[Structure | Failure]) -> None:
    """Name the files that could not be read; only when none could, that is an error."""
    unreadable = [(s, c) for s, c in zip(sources, crystals, strict=True) if isinstance(c, Failure)]
    if len(unreadable) == len(crystals):
        raise InputError(f"none of the files can be read: {unreadable[0][0]}: {unreadable[0][1].reason}")
    for source, failure in unreadable:
        error_console().print(f"[yellow]{escape(source)}: {escape(str(failure))}[/yellow]", soft_wrap=True)


def _show_funnel(candidates: Sequence[Candidate], folder: Path) -> None:
    from matinvent.candidate import FUNNEL, funnel

    counts = funnel(candidates)
    table = Table("station", "crystals", "share", title="Funnel", title_justify="left")
    for station in FUNNEL[:-1]:  # nothing is scored here
        name = "read" if station == "sampled" else station
        count = sum(c.structure is not None for c in candidates) if station == "sampled" else counts[station]
        table.add_row(name, str(count), f"{count / len(candidates):.0%}")
    out = console()
    out.print(table)
    out.print(f"Results: {folder / 'results.csv'}   relaxed crystals: {folder / 'relaxed'}", soft_wrap=True)


def _list_properties() -> None:
    from matinvent.properties.registry import describe

    table = Table("property", "unit", "cost", "what", "source")
    for info in sorted(describe(), key=lambda info: info.name):
        table.add_row(*map(escape, (info.name, info.unit, info.cost, info.description, info.source)))
    console().print(table)


def _compute(names: Sequence[str], crystals: Sequence[Structure | Failure]) -> list[dict[str, float] | Failure]:
    """Properties of each readable crystal; a Failure stays one."""
    from matinvent.config import EvaluationConfig
    from matinvent.properties.service import PropertyService

    service = PropertyService([(name, {}) for name in names], EvaluationConfig(), None)
    try:
        with progress_bar("computing properties") as progress:
            computed = iter(service.evaluate([c for c in crystals if not isinstance(c, Failure)], progress))
    finally:
        service.close()
    return [crystal if isinstance(crystal, Failure) else next(computed) for crystal in crystals]


def _property_cells(names: Sequence[str], values: dict[str, float] | Failure) -> list[str]:
    if isinstance(values, Failure):
        return [*("" for _ in names), str(values)]
    return [*(f"{values[name]:.6g}" for name in names), ""]


def _formula(crystal: Structure | Failure) -> str:
    return "" if isinstance(crystal, Failure) else crystal.composition.reduced_formula
