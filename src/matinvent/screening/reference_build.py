"""Making reference sets: from known crystals and their energies to the derived arrays of a reference file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import InputError
from matinvent.screening.fingerprint import LENGTH, fingerprint
from matinvent.screening.matching import Identity
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.reference import FORMAT, QUANTUM, ReferenceSet, pack
from matinvent.screening.stability import Hull, atomic_fractions, whole_amounts

if TYPE_CHECKING:
    from numpy.typing import NDArray

Progress = Callable[[float], None]


def build_reference(
    structures: str | Path,
    energies: str | Path,
    out: str | Path,
    potential: str = "chgnet-0.3.0",
    progress: Progress | None = None,
) -> ReferenceSet:
    """Derive a reference file from tables of known crystals and their energies; minutes per 100,000.

    Args:
        structures: Parquet file with columns material_id, species (list of symbols), abc (A), angles
            (degrees) and frac_coords (flat, 3 N).
        energies: Parquet file with columns formula and energy_per_atom (eV/atom).
        out: file to write (.npz).
        potential: name of the potential that gave the energies.
        progress: called with the finished share of the fingerprints in (0, 1].

    Raises:
        InputError: a file cannot be read or lacks a column.
    """
    table = _columns(energies, ("formula", "energy_per_atom"))
    hull = Hull(atomic_fractions(table["formula"]), table["energy_per_atom"]).pruned()
    known = sorted(_known_crystals(structures, progress), key=lambda entry: (entry[0].composition, entry[1]))
    formulas, counts = np.unique([identity.composition for identity, _ in known], return_counts=True)
    rows = np.array([identity.fingerprint for identity, _ in known]).reshape(-1, LENGTH)
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "potential": np.str_(potential),
        "formulas": pack([str(formula) for formula in formulas]),
        "counts": counts.astype(np.uint16),
        "names": pack([name for _, name in known]),
        "fingerprints": np.rint(rows / QUANTUM).astype(np.int16),
        **_hull_arrays(hull),
    }
    with Path(out).open("wb") as file:
        np.savez_compressed(file, **arrays)
    return ReferenceSet.load(out)


def _hull_arrays(hull: Hull) -> dict[str, NDArray[Any]]:
    """Hull vertices as sparse whole-number compositions."""
    amounts = [whole_amounts(row) for row in hull.fractions]
    return {
        "hull_lengths": np.array([len(amount) for amount in amounts], dtype=np.uint8),
        "hull_numbers": np.array([z for amount in amounts for z in amount], dtype=np.uint8),
        "hull_amounts": np.array([n for amount in amounts for n in amount.values()], dtype=np.uint16),
        "hull_energies": hull.energies.astype(np.float32),
    }


def _known_crystals(path: str | Path, progress: Progress | None) -> Iterator[tuple[Identity, str]]:
    """Identity and name of each crystal of a table; those without neighbour list are left out."""
    from pymatgen.core import Composition, Element, Lattice

    table = _columns(path, ("material_id", "species", "abc", "angles", "frac_coords"))
    total = len(table["material_id"])
    for position, (name, species, abc, angles, frac) in enumerate(zip(*table.values(), strict=True)):
        numbers = np.array([Element(symbol).Z for symbol in species], dtype=np.int64)
        lattice = np.array(Lattice.from_parameters(*abc, *angles).matrix)
        crystal = Crystal(numbers, lattice, np.array(frac, dtype=np.float64).reshape(-1, 3))
        if cell_defect(crystal) is None:
            amounts = {symbol: species.count(symbol) for symbol in set(species)}
            yield Identity(Composition(amounts).reduced_formula, fingerprint(crystal)), name
        if progress is not None and position % 500 == 499:
            progress((position + 1) / total)


def _columns(path: str | Path, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of a Parquet file as lists ("NaN" stays the formula of sodium nitride)."""
    from pyarrow import ArrowException, parquet

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = parquet.read_table(path, columns=list(names))
        return {name: table.column(name).to_pylist() for name in names}
    except (OSError, KeyError, ArrowException) as error:
        raise InputError(f"{path}: needs the columns {', '.join(names)} ({error})") from None
