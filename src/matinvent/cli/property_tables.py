"""Tables of ``matinvent properties``: the catalogue, all about one property, and values of crystals."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from matinvent.cli.output import console
from matinvent.errors import Failure

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.properties.evaluator import PropertyInfo

Row = Mapping[str, float | Failure]

#: Failures that are explained on the terminal; all are in a file.
_REASONS = 10

#: Columns from which on the catalogue has room for what properties need.
_WIDE = 110


def show_catalogue() -> None:
    """Print all properties by name."""
    from matinvent.properties.registry import describe

    infos = sorted(describe(), key=lambda info: info.name)
    out = console()
    wide = out.width >= _WIDE
    table = Table(title=f"{len(infos)} properties", box=HEAVY_HEAD if wide else SIMPLE_HEAD)
    table.add_column("property", no_wrap=True, min_width=max(len(info.name) for info in infos))  # to be typed as it is
    for heading in ("unit", "cost", *(["needs"] if wide else []), "±", "what"):
        table.add_column(heading, overflow="fold")
    for info in infos:
        needs = [", ".join(info.needs)] if wide else []
        cells = (info.name, info.unit, info.cost, *needs, "✓" if info.uncertainty else "", info.description)
        table.add_row(*map(escape, cells))
    out.print(table)
    out.print(
        "±: comes with an uncertainty. Cost: order of magnitude per crystal on one core. All about one: "
        "matinvent properties --about NAME. Your own: module:function or file.py:function",
        highlight=False,
    )


def show_details(name: str) -> None:
    """Print what is declared about one property, the parameters it takes, and what its author says.

    Raises:
        ConfigError: there is no such property.
    """
    from matinvent.properties.registry import about, find_factory

    info = about(name)
    factory = find_factory(name)
    lower, upper = info.bounds
    table = Table.grid(padding=(0, 2))
    for label, text in {
        info.name: info.description,
        "unit": info.unit,
        "values": f"{lower:g} .. {upper:g}; whatever is outside counts as a failure",
        "cost": f"{info.cost} per crystal on one core",
        "needs": ", ".join(info.needs) or "nothing but the crystal",
        "uncertainty": info.uncertainty or "none",
        "source": info.source,
        "parameters": "\n".join(map(_parameter, _parameters(factory))) or "none",
    }.items():
        table.add_row(f"[bold]{escape(label)}[/bold]", escape(text))
    out = console()
    out.print(table)
    out.print(f"\n{_prose(inspect.getdoc(factory) or '')}", markup=False, highlight=False)


def _prose(docstring: str) -> str:
    """A docstring without markup and without the line breaks of its paragraphs."""
    plain = re.sub(r":[a-z]+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", docstring).replace("``", "")
    return re.sub(r"(?<=[^\n:])\n(?: {8,}|(?=\S))", " ", plain)


def _parameters(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    """What can be set: of a function of a structure all but the structure."""
    from matinvent.properties.functions import is_property_function

    parameters = list(inspect.signature(factory).parameters.values())
    return parameters[1:] if is_property_function(factory, {}) else parameters


def _parameter(parameter: inspect.Parameter) -> str:
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.name}{default}"


def show_results(
    sources: Sequence[str],
    crystals: Sequence[Structure | Failure],
    infos: Mapping[str, PropertyInfo],
    rows: Sequence[Row],
) -> None:
    """Print values with their uncertainties; where there is none the kind of the failure, and below why."""
    shown = without_companions(infos)
    named = [f"{escape(name)}\n[dim]{escape(info.unit)}[/dim]" for name, info in shown.items()]
    table = Table()
    for heading in ("source", "formula", *named):
        table.add_column(heading, overflow="fold")  # a number cut short would be another number
    for source, crystal, row in zip(sources, crystals, rows, strict=True):
        values = [_with_uncertainty(row[name], row.get(info.uncertainty)) for name, info in shown.items()]
        table.add_row(escape(source), escape(_formula(crystal)), *values)
    out = console()
    out.print(table)
    reasons = [f"{source}: {reason}" for source, row in zip(sources, rows, strict=True) for reason in _reasons(row)]
    for reason in reasons[:_REASONS]:
        out.print(reason, style="dim", markup=False, highlight=False, soft_wrap=True)
    if len(reasons) > _REASONS:
        out.print(f"... and {len(reasons) - _REASONS} more failures; --output FILE.csv has them all", highlight=False)


def write_results(
    path: Path,
    sources: Sequence[str],
    crystals: Sequence[Structure | Failure],
    infos: Mapping[str, PropertyInfo],
    rows: Sequence[Row],
) -> None:
    """Write a CSV file: a column per property and per uncertainty, empty where one failed."""
    from matinvent.reporting.screened import write_csv

    header = ["source", "formula", *infos, "failure"]
    body = [
        [source, _formula(crystal), *(_number(row[name]) for name in infos), "; ".join(_reasons(row))]
        for source, crystal, row in zip(sources, crystals, rows, strict=True)
    ]
    write_csv(path, [header, *body])


def without_companions(infos: Mapping[str, PropertyInfo]) -> dict[str, PropertyInfo]:
    """The properties without those that are another's uncertainty."""
    companions = {info.uncertainty for info in infos.values()}
    return {name: info for name, info in infos.items() if name not in companions}


def _with_uncertainty(value: float | Failure, spread: float | Failure | None) -> str:
    """A value with as many digits as its uncertainty leaves meaningful."""
    if isinstance(value, Failure):
        return f"[dim]{escape(value.kind)}[/dim]"
    if spread is None or isinstance(spread, Failure) or spread <= 0:
        return f"{value:.5g}"
    decimals = max(0, 1 - math.floor(math.log10(spread)))
    return f"{value:.{decimals}f} ± {spread:.{decimals}f}"


def _number(value: float | Failure) -> str:
    return "" if isinstance(value, Failure) else f"{value:.6g}"


def _reasons(row: Row) -> list[str]:
    return list(dict.fromkeys(str(value) for value in row.values() if isinstance(value, Failure)))


def _formula(crystal: Structure | Failure) -> str:
    return "" if isinstance(crystal, Failure) else crystal.composition.reduced_formula
