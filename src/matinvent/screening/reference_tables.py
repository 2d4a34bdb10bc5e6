"""Tables that reference sets are built from: crystals in Parquet, energies in Parquet or CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.screening.stability import Entries, atomic_fractions, whole_amounts

if TYPE_CHECKING:
    from pymatgen.core import Structure

_STRUCTURE_COLUMNS = ("material_id", "species", "abc", "angles", "frac_coords")
_ENERGY_COLUMNS = ("formula", "energy_per_atom")

#: Energies against separate atoms or ions are smaller than this (eV/atom); per cell or in kJ/mol they are not.
_LARGEST_ENERGY = 100.0

#: Rows turned into Python objects at a time.
_ROWS = 1000


class StructureTable:
    """Crystals of a Parquet file, made as they are asked for.

    Columns: material_id, species (list of symbols), abc (A), angles (degrees), frac_coords (flat, 3 N).

    Args:
        path: the file.

    Raises:
        InputError: the file cannot be read or lacks a column.
    """

    def __init__(self, path: Path) -> None:
        self._table = _read_parquet(path, _STRUCTURE_COLUMNS, hint="; energies are given with --energies")
        self._name = path.name

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._table.num_rows)

    def __iter__(self) -> Iterator[tuple[str, Structure | Failure]]:
        """Name of each crystal and the crystal, or why its row is none."""
        number = 0
        for batch in self._table.to_batches(max_chunksize=_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield str(row["material_id"] or f"{self._name} row {number}"), _structure(row)


def read_energies(path: Path) -> Entries:
    """Energies of a table with columns formula and energy_per_atom (eV/atom).

    Raises:
        InputError: the file is not Parquet or CSV or lacks a column; an energy is missing, no finite number, or beyond
            100 eV/atom; a formula cannot be read.
    """
    formulas, texts = _read_csv(path) if path.suffix.lower() == ".csv" else _read_energy_parquet(path)
    energies = np.array([_energy(text, f"{path}, row {row}") for row, text in enumerate(texts, start=1)])
    try:
        fractions = atomic_fractions(formulas)
        for fraction in fractions:
            whole_amounts(fraction)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return Entries(fractions, energies)


def _energy(given: Any, where: str) -> float:
    """An energy in eV/atom."""
    try:
        energy = float(given)
    except (TypeError, ValueError):
        raise InputError(f"{where}: energy_per_atom is no number but {given!r}") from None
    if not np.isfinite(energy):
        raise InputError(f"{where}: energy_per_atom is {energy}; leave out what has no energy")
    if abs(energy) > _LARGEST_ENERGY:
        raise InputError(f"{where}: energy_per_atom is {energy:g}; eV/atom is expected, not eV per cell or kJ/mol")
    return energy


def _read_energy_parquet(path: Path) -> tuple[list[str], list[Any]]:
    table = _read_parquet(path, _ENERGY_COLUMNS)
    formulas, energies = (table.column(name).to_pylist() for name in _ENERGY_COLUMNS)
    return [str(formula) for formula in formulas], energies


def _read_csv(path: Path) -> tuple[list[str], list[Any]]:
    """The columns as text ("NaN" stays the formula of sodium nitride)."""
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pd.read_csv(path, usecols=list(_ENERGY_COLUMNS), dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:  # a UnicodeDecodeError and pandas' ParserError are ValueErrors
        raise InputError(f"{path}: needs the columns {', '.join(_ENERGY_COLUMNS)} ({error})") from None
    return table["formula"].tolist(), table["energy_per_atom"].tolist()


def _structure(row: dict[str, Any]) -> Structure | Failure:
    from pymatgen.core import Lattice, Structure
    from pymatgen.core.structure import StructureError

    try:
        lattice = Lattice.from_parameters(*row["abc"], *row["angles"])
        return Structure(lattice, row["species"], np.reshape(row["frac_coords"], (-1, 3)))
    except (TypeError, ValueError, IndexError, StructureError) as error:
        return Failure("unreadable", f"{type(error).__name__}: {error}")


def _read_parquet(path: Path, names: Sequence[str], hint: str = "") -> Any:
    from pyarrow import ArrowException, parquet

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        return parquet.read_table(path, columns=list(names)).select(list(names))
    except (OSError, KeyError, ArrowException) as error:
        raise InputError(f"{path}: needs the columns {', '.join(names)}{hint} ({error})") from None
