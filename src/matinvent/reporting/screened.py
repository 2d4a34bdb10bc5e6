"""What a screening leaves on disk: a table with one row per crystal, and the relaxed crystals for pymatgen and ASE."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from matinvent.reporting.symmetry import space_group
from matinvent.screening.quality import METASTABLE, sun_positions, volume_change

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.candidate import Candidate
    from matinvent.screening.quality import Comparison

TABLE = "results.csv"
FOLDER = "relaxed"
TRAJECTORY = "relaxed.extxyz"
COLUMNS = (
    "source", "formula", "atoms", "space_group", "fate", "reason", "sun", "charge_balanced", "energy_per_atom",
    "e_above_hull", "decomposition", "duplicate_of", "known_as", "converged", "given_up", "relax_steps", "rmsd",
    "volume_change", "relaxed",
)  # fmt: skip


def space_groups(candidates: Sequence[Candidate]) -> list[str]:
    """Space group of each crystal as it is now (relaxed if it was), see :mod:`matinvent.reporting.symmetry`."""
    return [space_group(c.final) if c.final is not None and c.final.is_ordered else "" for c in candidates]


def write_screened(
    candidates: Sequence[Candidate],
    comparisons: Sequence[Comparison],
    groups: Sequence[str],
    folder: Path,
    limit: float = METASTABLE,
) -> None:
    """Write ``results.csv``, ``relaxed/0000_Formula.cif``, ... and ``relaxed.extxyz`` into an existing folder.

    Units: eV/atom, A; ``volume_change`` is relative to the volume before the relaxation. Energies are in
    ``relaxed.extxyz`` as ASE keeps them (``atoms.get_potential_energy()``), the rest in ``atoms.info``.

    Args:
        candidates: the crystals after their screening; one without structure keeps its row.
        comparisons: of each of them, see :func:`~matinvent.screening.quality.compare`.
        groups: their space groups, see :func:`space_groups`.
        folder: holds no such files, or those of an earlier attempt, which are replaced.
        limit: energy above the hull (eV/atom) below which a crystal may count as SUN.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    (folder / FOLDER).mkdir()
    sun = set(sun_positions(candidates, comparisons, limit))
    rows: list[Sequence[object]] = [COLUMNS]
    with (folder / TRAJECTORY).open("w", encoding="utf-8") as trajectory:
        for position, (c, x) in enumerate(zip(candidates, comparisons, strict=True)):
            file = ""
            if c.relaxed is not None:
                file = f"{FOLDER}/{c.index:04d}_{c.composition}.cif"
                (folder / file).write_text(c.relaxed.to(fmt="cif"), encoding="utf-8")
                _write_frame(trajectory, c, c.relaxed)
            rows.append([
                c.source, c.composition, "" if c.final is None else len(c.final), groups[position], c.fate.value,
                c.reason, position in sun, x.charge_balanced, c.energy_per_atom, c.e_above_hull, c.decomposition,
                "" if x.first == position else candidates[x.first].label, x.known_as, c.converged, c.given_up,
                c.relax_steps, c.rmsd, volume_change(c), file,
            ])  # fmt: skip
    write_csv(folder / TABLE, rows)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write rows to a CSV file, replacing it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _write_frame(file: IO[str], candidate: Candidate, relaxed: Structure) -> None:
    """Append a relaxed crystal with its energy and its story."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_xyz

    story = {
        "index": candidate.index,
        "source": candidate.source,
        "fate": candidate.fate.value,
        "e_above_hull": candidate.e_above_hull,
        "energy_per_atom": candidate.energy_per_atom,
        "converged": candidate.converged,
    }
    numbers = [site.specie.Z for site in relaxed]
    atoms = Atoms(numbers, positions=relaxed.cart_coords, cell=relaxed.lattice.matrix, pbc=True)
    atoms.info = {key: value for key, value in story.items() if value is not None and value != ""}
    if candidate.energy_per_atom is not None:
        atoms.calc = SinglePointCalculator(atoms, energy=candidate.energy_per_atom * len(atoms))
    write_xyz(file, [atoms])
