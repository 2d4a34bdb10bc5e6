"""What a screening leaves on disk: a table with one row per crystal, and the relaxed crystals as CIF files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matinvent.reporting.symmetry import space_group

if TYPE_CHECKING:
    from matinvent.candidate import Candidate

TABLE = "results.csv"
FOLDER = "relaxed"
COLUMNS = (
    "source", "formula", "space_group", "fate", "reason", "energy_per_atom", "e_above_hull", "rmsd",
    "relax_steps", "converged", "relaxed",
)  # fmt: skip


def write_screened(sources: Sequence[str], candidates: Sequence[Candidate], folder: Path) -> None:
    """Write ``results.csv`` and ``relaxed/0000_Formula.cif``, ... into an existing folder.

    Args:
        sources: where each crystal comes from, for its row.
        candidates: the crystals after their screening; one without structure keeps its row.
        folder: must hold neither yet.
    """
    (folder / FOLDER).mkdir()
    rows: list[Sequence[object]] = [COLUMNS]
    for source, c in zip(sources, candidates, strict=True):
        file = ""
        if c.relaxed is not None:
            file = f"{FOLDER}/{c.index:04d}_{c.composition}.cif"
            (folder / file).write_text(c.relaxed.to(fmt="cif"), encoding="utf-8")
        group = space_group(c.final) if c.final is not None and c.final.is_ordered else ""
        values = (c.energy_per_atom, c.e_above_hull, c.rmsd, c.relax_steps, c.converged)
        rows.append([source, c.composition, group, c.fate.value, c.reason, *values, file])
    write_csv(folder / TABLE, rows)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write rows to a new CSV file."""
    with path.open("x", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
