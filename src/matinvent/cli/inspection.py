"""``matinvent inspect``: is a campaign's reward earned, or hacked?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from matinvent.cli.output import console

if TYPE_CHECKING:
    from matinvent.experiments.hacking import HackingReport


def inspect(
    directory: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Run directory, finished or running.")],
) -> None:
    """Look for signs of a hacked reward in a campaign.

    Agents find the holes of a reward: pure elements, chemical systems in which
    hardly any compound is known (so that everything looks stable), one element
    that carries the property. The table compares the first with the last
    quarter of the evaluations; what is conspicuous is said below it.

    [bold]Example[/bold]
    $ matinvent inspect runs/density-1
    """
    from matinvent.experiments.hacking import hacking_report

    report = hacking_report(directory)
    out = console()
    out.print(_table(report, directory))
    out.print(escape(verdict(report)), highlight=False)


def verdict(report: HackingReport) -> str:
    """What is conspicuous, in one paragraph."""
    if not report.warnings:
        return "No signs of a hacked reward."
    return "To be looked at before hits are called discoveries: " + "; ".join(report.warnings) + "."


def _table(report: HackingReport, directory: Path) -> Table:
    table = Table("", "first quarter", "last quarter", "all", title=f"Scored crystals of {directory}")
    parts = (report.first, report.last, report.whole)
    rows = {
        "crystals": [str(part.crystals) for part in parts],
        "hits (of so many systems)": [f"{part.hits} ({part.hit_systems})" for part in parts],
        "pure elements": [_percent(part.single_element_share) for part in parts],
        "chemical systems": [str(part.chemical_systems) for part in parts],
        "of these hardly known": [_percent(part.sparse_system_share) for part in parts],
        "elements": [str(part.elements) for part in parts],
        "effective elements": [_number(part.effective_elements) for part in parts],
        "most frequent element": [f"{p.top_element or '-'} ({_percent(p.top_element_share)})" for p in parts],
        "space groups": [str(part.space_groups) for part in parts],
        "most frequent space group": [
            f"{p.top_space_group or '-'} ({_percent(p.top_space_group_share)})" for p in parts
        ],
        "valid samples": [_percent(report.validity_first), _percent(report.validity_last), ""],
        "divergence from the prior": ["", _number(report.divergence, ".3g"), ""],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _number(value: float | None, form: str = ".0f") -> str:
    return "-" if value is None else f"{value:{form}}"
