"""What a campaign leaves for the next step: the best crystals as CIF files, a table, and a few words."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from matinvent.errors import InputError
from matinvent.reporting.symmetry import space_group

if TYPE_CHECKING:
    from matinvent.candidate import Candidate
    from matinvent.reporting.events import CampaignSummary

FOLDER = "best"
TABLE = "best.csv"
_COLUMNS = ("rank", "formula", "space_group", "reward", "e_above_hull", "iteration", "index", "file")


@dataclass(frozen=True, slots=True)
class BestEntry:
    """One of the best candidates, its symmetry, and its CIF file relative to the run directory."""

    candidate: Candidate
    space_group: str
    file: Path


def write_best(summary: CampaignSummary) -> list[BestEntry]:
    """Write ``best/01_Formula.cif``, ... and ``best.csv`` into the run directory.

    CIF files that an earlier session of the same campaign listed in ``best.csv`` are removed first; any
    other file is left alone.

    Raises:
        InputError: ``best`` leads out of the run directory, or a foreign file is in the way.
    """
    folder = summary.directory / FOLDER
    folder.mkdir(exist_ok=True)
    if folder.resolve().parent != summary.directory.resolve():
        raise InputError(f"{folder}: leads out of the run directory; remove the link, then resume")
    for name in _listed(summary.directory / TABLE):
        (folder / name).unlink(missing_ok=True)
    entries = [_write_cif(rank, candidate, folder) for rank, candidate in enumerate(summary.best, start=1)]
    _write_table(entries, summary.directory / TABLE)
    return entries


def _listed(table: Path) -> list[str]:
    """Names of the CIF files in an earlier table (only names: no path can lead out of the folder)."""
    if not table.is_file():
        return []
    with table.open(encoding="utf-8", newline="") as file:
        return [Path(row["file"]).name for row in csv.DictReader(file) if row.get("file")]


def _write_cif(rank: int, candidate: Candidate, folder: Path) -> BestEntry:
    crystal = candidate.final
    if crystal is None:
        raise ValueError(f"candidate {candidate.iteration}/{candidate.index} has no crystal")
    path = folder / f"{rank:02d}_{candidate.composition}.cif"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(crystal.to(fmt="cif"))
    except FileExistsError:
        raise InputError(f"{path}: is not ours and in the way; move it, then resume") from None
    return BestEntry(candidate, space_group(crystal), Path(FOLDER) / path.name)


def _write_table(entries: Sequence[BestEntry], path: Path) -> None:
    properties = _properties(entries)
    temporary = path.with_name(path.name + ".part")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*_COLUMNS, *properties])
        for rank, entry in enumerate(entries, start=1):
            c = entry.candidate
            head = [rank, c.composition, entry.space_group, c.reward, c.e_above_hull, c.iteration, c.index]
            writer.writerow([*head, entry.file.as_posix(), *(c.properties.get(name) for name in properties)])
    temporary.replace(path)


def _properties(entries: Sequence[BestEntry]) -> list[str]:
    return list(dict.fromkeys(name for entry in entries for name in entry.candidate.properties))


def final_report(summary: CampaignSummary, entries: Sequence[BestEntry], shown: int = 10) -> RenderableType:
    """The last words of a campaign: how it ended, the best candidates, and where everything is.

    Print it with ``crop=False``: paths and commands stay on one line, to be copied, whatever the width.
    """
    directory = summary.directory
    goal = f" Goal: {summary.goal}." if summary.goal else ""
    lines = [
        f"Spent: {summary.evaluations} evaluations in {summary.iterations} iterations ({summary.stopped}).{goal}",
        f"Hits: {summary.hits} crystals meet all objectives.",
        f"Best crystals: {directory / FOLDER} (as #_formula.cif), {directory / TABLE}",
        f"All candidates: {directory / 'ledger.db'}   metrics: {directory / 'metrics.csv'}",
    ]
    none = (
        "No crystal has a reward above 0: either the evaluations failed (the ledger says why), or the ramps of the "
        "objectives begin beyond all values (metrics.csv tells)."
    )
    nothing = Text(none if summary.evaluations else "No crystal was evaluated yet.", style="yellow")
    table: RenderableType = _table(entries[:shown]) if entries else nothing
    return Group(table, _unwrapped(lines), Text("Next:", style="bold"), _unwrapped(_next_commands(summary)))


def _unwrapped(lines: Sequence[str]) -> Text:
    return Text("\n".join(lines), no_wrap=True, overflow="ignore")


def _table(entries: Sequence[BestEntry]) -> Table:
    properties = _properties(entries)
    table = Table(title="Best candidates", title_justify="left")
    table.add_column("#", justify="right")
    for heading in ("formula", "space group"):
        table.add_column(heading, no_wrap=True)
    for heading in ("reward", *properties, "E_hull (eV/atom)"):
        table.add_column(escape(heading), justify="right")
    for rank, entry in enumerate(entries, start=1):
        c = entry.candidate
        values = (c.reward, *(c.properties.get(name) for name in properties), c.e_above_hull)
        cells = ["-" if value is None else f"{value:.4g}" for value in values]
        table.add_row(str(rank), c.composition, entry.space_group or "-", *cells)
    return table


def _next_commands(summary: CampaignSummary) -> list[str]:
    directory = shlex.quote(str(summary.directory))
    ledger = shlex.quote(str(summary.directory / "ledger.db"))
    commands = [f"  ase db {ledger} fate=scored --sort reward- -c composition,reward    # browse the ledger"]
    if summary.iterations:
        commands.insert(0, f"  matinvent generate 100 --run {directory}    # more crystals from the trained agent")
        commands.insert(1, f"  matinvent inspect {directory}    # is the reward earned, or hacked?")
    if summary.stopped == "interrupted":
        commands.insert(0, f"  matinvent resume {directory}    # continue where it stopped")
    return commands
