"""The reference set: which crystals are known, and the hull that new ones must compete with.

A reference file holds the vertices of the convex hull (composition, energy) and, for each known crystal, its name,
reduced formula and fingerprint; a second fingerprint where similar elements could share sites; and, if its maker
asked for it, the structure. The shipped set holds no structures.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from matinvent.errors import ConfigError, Failure, InputError
from matinvent.screening.matching import Identity, Matcher
from matinvent.screening.neighbors import Crystal
from matinvent.screening.stability import COLUMNS, Hull

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Reference sets that come with the package.
SHIPPED = {"mp": "reference_mp.npz"}

FORMAT = 2

#: Fingerprints are stored as 16-bit multiples of this.
QUANTUM = 0.02


@dataclass(frozen=True, slots=True)
class KnownCrystals:
    """What is stored of the known crystals, sorted by formula.

    Attributes:
        formulas: distinct reduced formulas.
        counts: crystals of each formula, shape (number of formulas,).
        names: of the crystals, length M.
        fingerprints: in quanta, shape (M, 32), int16.
        merged_rows: crystals in which similar elements could share sites, shape (K,).
        merged_fingerprints: those of these crystals when such elements count as one, in quanta, shape (K, 32).
        crystals: the structures, where they are kept.
    """

    formulas: Sequence[str]
    counts: NDArray[np.int64]
    names: Sequence[str]
    fingerprints: NDArray[np.int16]
    merged_rows: NDArray[np.int64]
    merged_fingerprints: NDArray[np.int16]
    crystals: Sequence[Crystal] | None = None


class ReferenceSet:
    """Known crystals and their hull.

    Args:
        hull: competitors, on the energy scale of ``potential``.
        potential: name of the potential that gave the energies.
        known: the known crystals.
        made_from: a line on the origin, for people.
    """

    def __init__(self, hull: Hull, potential: str, known: KnownCrystals, made_from: str = "") -> None:
        self.hull = hull
        self.potential = potential
        self.made_from = made_from
        self._known = known
        stops = np.cumsum(known.counts)
        self._slices = {
            formula: (int(stop - count), int(stop))
            for formula, count, stop in zip(known.formulas, known.counts, stops, strict=True)
        }

    @classmethod
    def load(cls, source: str | Path) -> ReferenceSet:
        """Open a shipped set by name (``mp``) or a file written by :func:`build_reference`.

        Raises:
            InputError: there is no such set or file, or the file is damaged.
        """
        try:
            with np.load(_locate(source), allow_pickle=False) as data:
                if int(data["format"]) != FORMAT:
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
        known = KnownCrystals(
            formulas=unpack(data["formulas"]),
            counts=data["counts"].astype(np.int64),
            names=unpack(data["names"]),
            fingerprints=data["fingerprints"],
            merged_rows=data["merged_rows"].astype(np.int64),
            merged_fingerprints=data["merged_fingerprints"],
            crystals=StoredCrystals(data) if "structure_offsets" in data else None,
        )
        hull = Hull(fractions / fractions.sum(axis=1, keepdims=True), data["hull_energies"])
        return cls(hull, str(data["potential"]), known, str(data["made_from"]))

    def __len__(self) -> int:
        """Number of known crystals."""
        return len(self._known.names)

    def require_scale(self, potential: str, name: str, hint: str = "") -> None:
        """Energies of two potentials must never meet on one hull.

        Args:
            potential: what gives the energies of crystals that are to be compared with this set.
            name: how the user calls this set.
            hint: another way out than a set of that potential.

        Raises:
            ConfigError: it is another potential than the one of the set.
        """
        if potential != self.potential:
            raise ConfigError(
                f"the reference set '{name}' holds energies of {self.potential}, but crystals get theirs from "
                f"{potential}; build a reference set with that potential (`matinvent reference build`) {hint}".rstrip()
            )

    def match(self, identity: Identity, matcher: Matcher | None = None) -> str | None:
        """The name of the known crystal that is the same, or None."""
        matcher = matcher or Matcher()
        span = self._slices.get(identity.composition)
        if span is None:
            return None
        start = span[0]
        crystals = self._known.crystals
        position = matcher.find(
            identity,
            self._fingerprints(*span, merged=matcher.disordered),
            None if crystals is None else lambda i: crystals[start + i],
        )
        return None if position is None else self._known.names[start + position]

    def distances(self, identity: Identity) -> dict[str, float]:
        """Distances of the fingerprints of all known crystals of the composition, by name."""
        span = self._slices.get(identity.composition)
        if span is None:
            return {}
        distances = np.linalg.norm(self._fingerprints(*span, merged=False) - identity.fingerprint, axis=1)
        return dict(zip(self._known.names[slice(*span)], distances.tolist(), strict=True))

    def is_known(self, structure: Structure, matcher: Matcher | None = None) -> bool:
        """Whether the crystal is in the set; a crystal that cannot be recognised is not."""
        matcher = matcher or Matcher()
        identity = matcher.identify(structure)
        return not isinstance(identity, Failure) and self.match(identity, matcher) is not None

    def _fingerprints(self, start: int, stop: int, *, merged: bool) -> NDArray[np.float32]:
        """Fingerprints of the crystals ``start`` to ``stop``."""
        rows = QUANTUM * self._known.fingerprints[start:stop].astype(np.float32)
        if merged:
            first, last = np.searchsorted(self._known.merged_rows, (start, stop))
            replaced = self._known.merged_rows[first:last] - start
            rows[replaced] = QUANTUM * self._known.merged_fingerprints[first:last].astype(np.float32)
        return rows


class StoredCrystals(Sequence[Crystal]):
    """Structures of a reference file; made when asked for, coordinates in single precision."""

    def __init__(self, data: Any) -> None:
        self._offsets = data["structure_offsets"]
        self._numbers = data["structure_numbers"]
        self._frac = data["structure_frac"]
        self._lattices = data["structure_lattices"]

    def __len__(self) -> int:
        """Number of crystals."""
        return len(self._lattices)

    @overload
    def __getitem__(self, index: int) -> Crystal: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Crystal]: ...
    def __getitem__(self, index: int | slice) -> Crystal | Sequence[Crystal]:
        """One crystal, or several."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        atoms = slice(self._offsets[index], self._offsets[index + 1])
        return Crystal(
            self._numbers[atoms].astype(np.int64),
            self._lattices[index].astype(np.float64),
            self._frac[atoms].astype(np.float64),
        )


def _locate(source: str | Path) -> Any:
    """The file behind a name."""
    if str(source) in SHIPPED:
        return resources.files("matinvent.data").joinpath(SHIPPED[str(source)])
    path = Path(source)
    if not path.is_file():
        raise InputError(f"reference set '{source}': no such file (shipped: {', '.join(SHIPPED)})")
    return path


def pack(lines: Sequence[str]) -> NDArray[np.uint8]:
    """Texts without line breaks as one byte array, which compresses better than fixed-width strings."""
    return np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)


def unpack(packed: NDArray[np.uint8]) -> list[str]:
    """The texts of :func:`pack`."""
    text = packed.tobytes().decode()
    return text.split("\n") if text else []
