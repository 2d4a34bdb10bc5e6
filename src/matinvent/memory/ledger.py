"""The ledger: every candidate of a campaign, its fate and why, in an ASE database.

``ase db``, ``ase gui`` and pandas read it without us. What one wants to search for stands in the rows' key-value
pairs; the exact record (both structures, every number to the last bit) in their data.
"""

from __future__ import annotations

import math
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.candidate import Candidate, Fate
from matinvent.errors import CheckpointError

if TYPE_CHECKING:
    from ase import Atoms
    from ase.db.sqlite import SQLite3Database
    from pymatgen.core import Structure

#: Fields of a candidate that are plain values, in the order of the dataclass.
_PLAIN = tuple(f.name for f in fields(Candidate) if f.name not in {"structure", "relaxed"})
#: Plain fields that become key-value pairs under their own name.
_SEARCHABLE = tuple(name for name in _PLAIN if name not in {"properties", "scores"})


class Ledger:
    """Database of all candidates.

    Key-value pairs of a row: the searchable fields of :class:`Candidate` (None, empty and non-finite ones left out),
    ``composition``, each property by its name, each score as ``score_<name>``. A property whose name ASE or this
    ledger uses already is stored as ``property_<name>``. The row's atoms are the final structure (none where there is
    no ordered crystal), its energy (eV) the potential energy.

    Args:
        path: the SQLite file; made when missing.

    Raises:
        CheckpointError: the file is damaged or no ASE database.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            _create(path)
        self._db = _connect(path)
        try:
            with self._db.managed_connection() as connection:
                connection.execute("SELECT COUNT(*) FROM number_key_values")
        except (sqlite3.Error, OSError) as error:
            raise CheckpointError(f"{path}: the ledger is damaged or no ASE database ({error})") from None

    def record(self, candidates: Sequence[Candidate]) -> None:
        """Append candidates: all of them or, when the program dies meanwhile, none."""
        with self._db:
            for candidate in candidates:
                self._db.write(_atoms(candidate), key_value_pairs=_pairs(candidate), data=_encode(candidate))

    def candidates(self, iteration: int | None = None) -> list[Candidate]:
        """The candidates of one iteration (None: of all), by iteration and index, exactly as recorded."""
        selection = [] if iteration is None else [("iteration", "=", iteration)]
        found = [_decode(row.data) for row in self._db.select(selection)]
        return sorted(found, key=lambda candidate: (candidate.iteration, candidate.index))

    def rollback(self, iteration: int) -> None:
        """Forget the candidates of ``iteration`` and later ones, so that these can be repeated."""
        rows = self._db.select([("iteration", ">=", iteration)], include_data=False, columns=["id", "key_value_pairs"])
        self._db.delete([row.id for row in rows])

    def best(self, n: int) -> list[Candidate]:
        """The ``n`` proposals of largest reward, one per reduced composition, best first, the earlier of equals.

        Crystals that the campaign was given, with a ``source``, are no proposals.
        """
        rows = [row for row in self._db.select("reward", include_data=False) if not row.get("source")]
        rows.sort(key=lambda row: (-row.reward, row.iteration, row.index))
        ids: dict[str, int] = {}
        for row in rows:
            ids.setdefault(row.composition, row.id)
        return [_decode(self._db.get(id=number).data) for number in list(ids.values())[:n]]


def _connect(path: Path) -> SQLite3Database:
    from ase.db import connect

    # SQLite locks the file itself. ASE's lock file would outlive a killed campaign and block its resume.
    return connect(str(path), type="db", use_lock_file=False, serial=True)


def _create(path: Path) -> None:
    """Make an empty database under its final name only once all of its tables exist."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.unlink(missing_ok=True)
    with _connect(temporary).managed_connection():
        pass
    temporary.replace(path)


def _encode(candidate: Candidate) -> dict[str, Any]:
    record = {name: getattr(candidate, name) for name in _PLAIN}
    record["fate"] = candidate.fate.value
    record["structure"] = _structure_dict(candidate.structure)
    record["relaxed"] = _structure_dict(candidate.relaxed)
    return record


def _decode(record: dict[str, Any]) -> Candidate:
    values = {name: record[name] for name in _PLAIN if name in record}
    values["fate"] = Fate(record["fate"])
    return Candidate(structure=_structure(record["structure"]), relaxed=_structure(record["relaxed"]), **values)


def _structure_dict(structure: Structure | None) -> dict[str, Any] | None:
    return None if structure is None else structure.as_dict(verbosity=0)


def _structure(record: dict[str, Any] | None) -> Structure | None:
    from pymatgen.core import Structure

    return None if record is None else Structure.from_dict(record)


def _atoms(candidate: Candidate) -> Atoms:
    """The final crystal for ASE; empty where there is none or where sites are shared or no element."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from pymatgen.core import DummySpecies

    crystal = candidate.final
    if crystal is None or not crystal.is_ordered or any(isinstance(s, DummySpecies) for s in crystal.composition):
        return Atoms()
    numbers = [site.specie.Z for site in crystal]
    atoms = Atoms(numbers, positions=crystal.cart_coords, cell=crystal.lattice.matrix, pbc=True)
    energy = candidate.energy_per_atom
    if energy is not None and math.isfinite(energy):
        atoms.calc = SinglePointCalculator(atoms, energy=energy * len(atoms))
    return atoms


def _pairs(candidate: Candidate) -> dict[str, float | str]:
    """What can be searched for with ``ase db``."""
    pairs = {name: getattr(candidate, name) for name in _SEARCHABLE}
    pairs["fate"] = candidate.fate.value
    pairs["composition"] = candidate.composition
    pairs.update({f"score_{_identifier(name)}": score for name, score in candidate.scores.items()})
    pairs.update({_property_key(name, pairs): value for name, value in candidate.properties.items()})
    return {key: _searchable(value) for key, value in pairs.items() if _usable(value)}


def _usable(value: Any) -> bool:
    """Whether a value can be searched for: not missing, not empty, finite."""
    return bool(value) if isinstance(value, str) else value is not None and math.isfinite(value)


def _searchable(value: Any) -> float | str:
    """ASE refuses strings that read like a number or truth value (sodium nitride is NaN, indium fluoride InF)."""
    from ase.db.core import convert_str_to_int_float_bool_or_str as parse

    if isinstance(value, str) and not isinstance(parse(value), str):
        return f"'{value}'"
    return value


def _property_key(name: str, taken: dict[str, Any]) -> str:
    """Key of a property; prefixed where its name has a meaning already."""
    from ase.db.core import get_key_descriptions, reserved_keys
    from ase.db.row import AtomsRow

    key = _identifier(name)
    meant = key in reserved_keys or key in get_key_descriptions() or hasattr(AtomsRow, key) or _is_formula(key)
    return f"property_{key}" if meant or key in taken else key


def _identifier(name: str) -> str:
    """The name in letters, digits and underscores."""
    key = re.sub(r"[^0-9A-Za-z_]", "_", name)
    return f"_{key}" if key[:1].isdigit() else key


def _is_formula(key: str) -> bool:
    """Whether ``ase db`` would take the key for a chemical formula."""
    from ase.formula import Formula

    try:
        Formula(key, strict=True)
    except ValueError:
        return False
    return True
