"""The reference set: which crystals are known, and the hull that new ones must compete with.

A reference file holds derived arrays only: the vertices of the convex hull (composition, energy)
and, for each known crystal, its name, reduced formula and fingerprint.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.screening.fingerprint import LENGTH, fingerprint
from matinvent.screening.matching import Identity, closest, identify
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.stability import COLUMNS, Hull, atomic_fractions, whole_amounts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

Progress = Callable[[float], None]

#: Reference sets that come with the package.
SHIPPED = {"mp": "reference_mp.npz"}

_FORMAT = 1

#: Fingerprints are stored as 16-bit multiples of this.
_QUANTUM = 0.002


class ReferenceSet:
    """Known crystals and their hull.

    Args:
        hull: competitors, on the energy scale of ``potential``.
        potential: name of the potential that gave the energies.
        formulas: distinct reduced formulas of the known crystals.
        counts: known crystals of each formula, shape (number of formulas,).
        names: names of the known crystals, in the order of the formulas.
        fingerprints: their fingerprints in quanta, shape (M, 38), int16.
    """

    def __init__(
        self,
        hull: Hull,
        potential: str,
        formulas: Sequence[str],
        counts: NDArray[np.int64],
        names: Sequence[str],
        fingerprints: NDArray[np.int16],
    ) -> None:
        self.hull = hull
        self.potential = potential
        stops = np.cumsum(counts)
        self._slices = {
            formula: (int(stop - count), int(stop))
            for formula, count, stop in zip(formulas, counts, stops, strict=True)
        }
        self._names = names
        self._fingerprints = fingerprints

    @classmethod
    def load(cls, source: str | Path) -> ReferenceSet:
        """Open a shipped set by name (``mp``) or a file written by :func:`build_reference`.

        Raises:
            InputError: there is no such set or file, or the file is damaged.
        """
        try:
            with np.load(_locate(source), allow_pickle=False) as data:
                if int(data["format"]) != _FORMAT:
                    raise InputError(
                        f"{source}: written by another version; rebuild it with `matinvent reference build`"
                    )
                return cls._read(data)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{source}: not a readable reference set ({type(error).__name__}: {error})") from None

    @classmethod
    def _read(cls, data: Any) -> ReferenceSet:
        lengths = data["hull_lengths"].astype(np.int64)
        fractions = np.zeros((len(lengths), COLUMNS))
        fractions[np.repeat(np.arange(len(lengths)), lengths), data["hull_numbers"]] = data["hull_amounts"]
        return cls(
            hull=Hull(fractions / fractions.sum(axis=1, keepdims=True), data["hull_energies"]),
            potential=str(data["potential"]),
            formulas=_unpack(data["formulas"]),
            counts=data["counts"].astype(np.int64),
            names=_unpack(data["names"]),
            fingerprints=data["fingerprints"],
        )

    def __len__(self) -> int:
        """Number of known crystals."""
        return len(self._names)

    def match(self, identity: Identity) -> str | None:
        """The name of the known crystal that is the same, or None."""
        span = self._slices.get(identity.composition)
        if span is None:
            return None
        position = closest(_QUANTUM * self._fingerprints[span[0] : span[1]].astype(np.float64), identity.fingerprint)
        return None if position is None else self._names[span[0] + position]

    def is_known(self, structure: Structure) -> bool:
        """Whether the crystal is in the set; a crystal without a fingerprint is not."""
        identity = identify(structure)
        return not isinstance(identity, Failure) and self.match(identity) is not None


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
        "format": np.int64(_FORMAT),
        "potential": np.str_(potential),
        "formulas": _pack([str(formula) for formula in formulas]),
        "counts": counts.astype(np.uint16),
        "names": _pack([name for _, name in known]),
        "fingerprints": np.rint(rows / _QUANTUM).astype(np.int16),
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


def _locate(source: str | Path) -> Any:
    """The file behind a name."""
    if str(source) in SHIPPED:
        return resources.files("matinvent.data").joinpath(SHIPPED[str(source)])
    path = Path(source)
    if not path.is_file():
        raise InputError(f"reference set '{source}': no such file (shipped: {', '.join(SHIPPED)})")
    return path


def _pack(lines: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without line breaks as one byte array, which compresses better than fixed-width strings."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def _unpack(packed: NDArray[np.uint8]) -> list[str]:
    """The texts of :func:`_pack`."""
    text = packed.tobytes().decode()
    return text.split("\n") if text else []
