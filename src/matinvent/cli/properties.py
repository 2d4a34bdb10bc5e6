"""``matinvent properties``: what can be designed for, and its values for a user's own crystals."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from matinvent.cli.evaluation import report_unreadable
from matinvent.cli.output import console, error_console, progress_bar, refuse_existing
from matinvent.cli.property_tables import show_catalogue, show_details, show_results, without_companions, write_results
from matinvent.errors import ConfigError, Failure, InputError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.properties.evaluator import PropertyInfo
    from matinvent.properties.service import PropertyService

Request = tuple[str, Mapping[str, Any]]
Row = Mapping[str, float | Failure]

_EXPONENTIAL = r"[-+]?\d+(\.\d*)?[eE][-+]?\d+"


def properties(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILES...]", help="Crystals to compute properties of.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List the properties that can be designed for.")] = False,
    about: Annotated[
        str | None, typer.Option(metavar="NAME", help="All about one property: bounds, needs, parameters, source.")
    ] = None,
    wanted: Annotated[
        list[str] | None,
        typer.Option("--property", "-p", metavar="NAME[,NAME...]", help="Properties to compute; repeatable."),
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME.KEY=VALUE", help="Set a parameter of a property; repeatable."),
    ] = None,
    relax: Annotated[bool, typer.Option("--relax", help="Relax the crystals first, with CHGNet.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Crystals evaluated at a time, one process each.")] = 1,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="CSV file to write.")] = None,
) -> None:
    """List properties, or compute them for crystals from files.

    A property is one of the list, or a Python function of yours:
    module:function or file.py:function, of a structure, returning a number.
    Where a property fails for a crystal its place stays empty, and the last
    column says why.

    [bold]Examples[/bold]
    $ matinvent properties --list
    $ matinvent properties --about mcia
    $ matinvent properties candidates/ -p density,hhi --output properties.csv
    $ matinvent properties a.cif -p band_gap,bulk_modulus --relax
    $ matinvent properties a.cif -p mcia --param mcia.substrate=GaN
    $ matinvent properties a.cif -p mine.py:stiffness
    """
    if about is not None:
        show_details(about)
        return
    if listing or not (files or wanted or output):
        show_catalogue()
        return
    if not files:
        raise ConfigError("properties of which crystals? Name files or folders; --list shows all properties")
    requests = _requests(wanted or [], params or [])
    if output is not None:
        refuse_existing(output)
        _check_folder(output)
    service = _service(requests, workers)
    try:
        _compute(service, files, relax, workers, output)
    finally:
        service.close()


def _check_folder(output: Path) -> None:
    """Refuse a file that could not be written, before hours of computing."""
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}; make it first or choose another --output")
    if not os.access(output.parent, os.W_OK):
        raise InputError(f"{output}: folder {output.parent} cannot be written to; choose another --output")


def _compute(service: PropertyService, files: Sequence[Path], relax: bool, workers: int, output: Path | None) -> None:
    """Read, perhaps relax, compute and show."""
    from matinvent.cli.structure_files import read_structures

    with progress_bar("reading") as progress:
        sources, crystals = zip(*read_structures(files, progress), strict=True)
    report_unreadable(sources, crystals)
    infos = service.properties
    if relax:
        crystals = tuple(_relaxed(crystals, workers))
    else:
        _advise_relaxing(infos)
    rows = _rows(service, crystals)
    if output is None:
        show_results(sources, crystals, infos, rows)
        return
    write_results(output, sources, crystals, infos, rows)
    console().print(f"{len(rows)} crystals: {output}", soft_wrap=True, highlight=False)


def _requests(wanted: Sequence[str], params: Sequence[str]) -> list[Request]:
    """The properties by name and their parameters.

    Raises:
        ConfigError: no property is named, or a parameter is not ``NAME.KEY=VALUE`` of one of them.
    """
    import yaml

    names = list(dict.fromkeys(name.strip() for part in wanted for name in part.split(",") if name.strip()))
    if not names:
        raise ConfigError("which properties? Name them with --property; 'matinvent properties --list' shows all")
    chosen: dict[str, dict[str, Any]] = {name: {} for name in names}
    for param in params:
        target, equals, text = param.partition("=")
        name, _, key = target.strip().rpartition(".")
        if not (equals and key and name in chosen):
            raise ConfigError(f"--param {param}: must be NAME.KEY=VALUE with NAME one of {', '.join(names)}")
        try:
            # YAML takes 1e3 for a word, for want of a point.
            chosen[name][key] = float(text) if re.fullmatch(_EXPONENTIAL, text.strip()) else yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--param {param}: the value cannot be read: {error}") from None
    return list(chosen.items())


def _service(requests: Sequence[Request], workers: int) -> PropertyService:
    from matinvent.config import EvaluationConfig
    from matinvent.properties.service import PropertyService

    executor = "processes" if workers > 1 else "serial"
    return PropertyService(requests, EvaluationConfig(executor=executor, workers=workers), None)


def _advise_relaxing(infos: Mapping[str, PropertyInfo]) -> None:
    names = [name for name, info in without_companions(infos).items() if "relaxed structure" in info.needs]
    if names:
        advice = f"{', '.join(names)}: meant for relaxed crystals. If yours are not, use --relax."
        error_console().print(escape(advice), style="yellow", soft_wrap=True, highlight=False)


def _relaxed(crystals: Sequence[Structure | Failure], workers: int) -> list[Structure | Failure]:
    """The crystals at the potential's minimum; one that does not get there is a Failure."""
    from matinvent.config_screening import RelaxationConfig
    from matinvent.screening.relaxation import make_relaxer

    readable = [crystal for crystal in crystals if not isinstance(crystal, Failure)]
    relaxer = make_relaxer(RelaxationConfig(give_up=False, max_steps=500), workers)
    try:
        with progress_bar("relaxing") as progress:
            outcomes = iter(relaxer.relax(readable, progress))
    finally:
        relaxer.close()
    relaxed: list[Structure | Failure] = []
    for crystal in crystals:
        outcome = crystal if isinstance(crystal, Failure) else next(outcomes)
        if isinstance(outcome, Failure):
            relaxed.append(Failure(outcome.kind, outcome.reason))
        elif not outcome.converged:
            relaxed.append(Failure("not-converged", f"relaxation left {outcome.max_force:.2g} eV/A"))
        else:
            relaxed.append(outcome.structure)
    return relaxed


def _rows(service: PropertyService, crystals: Sequence[Structure | Failure]) -> list[Row]:
    """For each crystal the value of each property, or why there is none."""
    readable = [crystal for crystal in crystals if not isinstance(crystal, Failure)]
    with progress_bar("computing") as progress:
        found = iter(service.evaluate_each(readable, progress))
    return [
        dict.fromkeys(service.properties, crystal) if isinstance(crystal, Failure) else next(found)
        for crystal in crystals
    ]
