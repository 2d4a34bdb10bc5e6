"""Energy above the convex hull of a reference set: is a crystal stable against its competitors?

The hull energy of a composition is the lowest energy of any mixture of reference entries with
that composition, a small linear programme (Akbarzadeh, Ozolins, Wolverton, Adv. Mater. 19, 3233, 2007;
the same number as pymatgen's ``PhaseDiagram``). It needs no geometry, so systems of many elements cost
little more than binaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure, InputError
from matinvent.screening.simplex import Mixture, cheapest_mixture

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Composition

#: Columns of a dense composition array: atomic number Z is column Z, column 0 stays empty.
COLUMNS = 119

#: No real compound lies this far (eV/atom) below the hull; a potential that says so is out of its domain.
IMPLAUSIBLE = -1.0

#: Two compositions are the same when no atomic fraction differs by more than this many decimals.
_DECIMALS = 7

#: Mixture components below this atomic fraction are solver noise, not phases.
_TRACE = 1e-6

#: Atoms per reduced formula beyond which fractions are taken for noise.
_LARGEST_FORMULA = 1000


@dataclass(frozen=True, slots=True)
class HullResult:
    """Where a crystal lies relative to the reference hull.

    Attributes:
        e_above_hull: energy above the hull of the reference entries (eV/atom); negative for a
            crystal more stable than every mixture of them.
        decomposition: reduced formula of each competing phase -> its share of the atoms.
    """

    e_above_hull: float
    decomposition: dict[str, float]


@dataclass(frozen=True, slots=True)
class Entries:
    """Energies of compositions.

    Attributes:
        fractions: atomic fractions, shape (E, 119), column = atomic number (see :func:`atomic_fractions`).
        energies: energies, shape (E,), eV/atom.
    """

    fractions: NDArray[np.float64]
    energies: NDArray[np.float64]


class Hull:
    """The lower convex hull of a set of reference energies.

    Args:
        fractions: atomic fractions of the entries, shape (E, 119), column = atomic number
            (see :func:`atomic_fractions`).
        energies: energies of the entries, shape (E,), eV/atom.

    Raises:
        InputError: shapes do not fit, or an energy is not finite.
    """

    def __init__(self, fractions: ArrayLike, energies: ArrayLike) -> None:
        rows = np.asarray(fractions, dtype=np.float64)
        values = np.asarray(energies, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != COLUMNS or values.shape != rows.shape[:1]:
            raise InputError(
                f"hull entries need fractions of shape (E, {COLUMNS}) and energies of shape (E,), "
                f"found {rows.shape} and {values.shape}"
            )
        if not np.isfinite(values).all():
            raise InputError("hull entries need finite energies (eV/atom)")
        lowest = _lowest_per_composition(rows, values)
        self.fractions: NDArray[np.float64] = rows[lowest]
        self.energies: NDArray[np.float64] = values[lowest]
        self._systems = _by_system(self.fractions)
        self._formulas: dict[int, str] = {}

    def __len__(self) -> int:
        """Number of entries after dropping all but the lowest of each composition."""
        return len(self.energies)

    def pruned(self, tolerance: float = 1e-7) -> Hull:
        """The same hull from its vertices only (an entry off the hull never shapes it)."""
        above = self._bulk(self.fractions, self.energies)
        keep = above <= tolerance
        return Hull(self.fractions[keep], self.energies[keep])

    def energy_above_hull(self, composition: Composition, energy_per_atom: float) -> HullResult | Failure:
        """Place one crystal relative to the hull.

        Returns:
            The result, or a Failure ``not-finite`` (no usable energy), ``unknown-element`` (not an
            element) or ``missing-reference`` (the entries cannot make up the composition).
        """
        if not np.isfinite(energy_per_atom):
            return Failure("not-finite", f"{composition.reduced_formula} has no finite energy")
        mixture = self._mixture(composition)
        if isinstance(mixture, Failure):
            return mixture
        phases = {
            self._formula(int(entry)): float(share)
            for entry, share in zip(mixture.phases, mixture.shares, strict=True)
            if share > _TRACE
        }
        return HullResult(float(energy_per_atom) - mixture.energy, phases)

    def hull_energy(self, composition: Composition) -> float | Failure:
        """Energy of the hull at a composition (eV/atom): what a crystal must reach to be stable.

        Returns:
            The energy, or a Failure ``unknown-element`` or ``missing-reference`` (see :meth:`energy_above_hull`).
        """
        mixture = self._mixture(composition)
        return mixture if isinstance(mixture, Failure) else mixture.energy

    def energies_above_hull(
        self, compositions: Sequence[Composition | str], energies_per_atom: ArrayLike
    ) -> NDArray[np.float64]:
        """Energies above the hull of many crystals (eV/atom), shape (N,); NaN where there is none.

        One linear programme per distinct composition (about 0.1 ms). Formula strings are read by pymatgen.

        Raises:
            InputError: a composition is not made of elements, or the lengths differ.
        """
        values = np.asarray(energies_per_atom, dtype=np.float64)
        if values.shape != (len(compositions),):
            raise InputError(f"{len(compositions)} compositions but energies of shape {values.shape}")
        return self._bulk(atomic_fractions(compositions), values)

    def has_element(self, atomic_number: int) -> bool:
        """Whether any entry contains the element."""
        return bool((self.fractions[:, atomic_number] > 0).any())

    def _mixture(self, composition: Composition) -> Mixture | Failure:
        """The cheapest mixture of entries with a composition; ``phases`` are positions among the entries."""
        try:
            row = atomic_fractions([composition])[0]
        except InputError as error:
            return Failure("unknown-element", str(error))
        chosen, elements = self._competitors(row)
        mixture = cheapest_mixture(self.fractions[np.ix_(chosen, elements)], self.energies[chosen], row[elements])
        if mixture is None:
            missing = ", ".join(symbol(int(z)) for z in elements if not self.has_element(int(z)))
            detail = f"no energies for {missing}" if missing else "its elements cannot be made from the entries"
            return Failure("missing-reference", f"{composition.reduced_formula}: {detail} in the reference set")
        return Mixture(mixture.energy, chosen[mixture.phases], mixture.shares)

    def _formula(self, entry: int) -> str:
        """Reduced formula of an entry, worked out once."""
        if entry not in self._formulas:
            self._formulas[entry] = formula(self.fractions[entry])
        return self._formulas[entry]

    def _bulk(self, rows: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energies above the hull for rows of fractions; chemical systems are gathered once each."""
        _, index, inverse = np.unique(_composition_keys(rows), return_index=True, return_inverse=True)
        distinct = rows[index]
        floor = np.full(len(distinct), np.nan)
        for members in _by_system(distinct).values():
            chosen, elements = self._competitors(distinct[members[0]])
            inside, energies = self.fractions[np.ix_(chosen, elements)], self.energies[chosen]
            for member in members:
                mixture = cheapest_mixture(inside, energies, distinct[member][elements])
                if mixture is not None:
                    floor[member] = mixture.energy
        return values - floor[inverse]

    def _competitors(self, row: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Entries within the row's chemical system, and the atomic numbers of that system."""
        elements = np.flatnonzero(row > 0)
        if 2 ** len(elements) < len(self._systems):
            within = [0]
            for z in elements.tolist():
                within += [system | 1 << z for system in within]
        else:
            outside = ~sum(1 << z for z in elements.tolist())
            within = [system for system in self._systems if not system & outside]
        chosen = [entry for system in within for entry in self._systems.get(system, ())]
        return np.array(chosen, dtype=np.intp), elements


def atomic_fractions(compositions: Sequence[Composition | str]) -> NDArray[np.float64]:
    """Atomic fractions of compositions or formulas, shape (N, 119), column = atomic number.

    Raises:
        InputError: a composition is empty, contains something that is no element, or a formula
            cannot be read.
    """
    from pymatgen.core import Composition, Element

    rows = np.zeros((len(compositions), COLUMNS))
    for row, given in zip(rows, compositions, strict=True):
        try:
            composition = Composition(given) if isinstance(given, str) else given
            for species, amount in composition.items():
                row[Element(species.symbol).Z] += amount
        except (ValueError, AttributeError, IndexError, TypeError) as error:
            raise InputError(f"{given!s}: not a composition of chemical elements ({error})") from None
    totals = rows.sum(axis=1, keepdims=True)
    if not (totals > 0).all():
        raise InputError("a composition is empty")
    normalised: NDArray[np.float64] = rows / totals
    return normalised


def whole_amounts(row: NDArray[np.float64]) -> dict[int, int]:
    """The smallest whole numbers of atoms with the given fractions: atomic number -> amount."""
    numbers = np.flatnonzero(row > 0).tolist()
    fractions = row[numbers].tolist()
    least = min(fractions)
    for fewest in range(1, int(_LARGEST_FORMULA * least) + 2):
        amounts = [fraction * fewest / least for fraction in fractions]
        whole = [round(amount) for amount in amounts]
        if all(abs(amount - n) < 1e-4 for amount, n in zip(amounts, whole, strict=True)):
            return dict(zip(numbers, whole, strict=True))
    raise InputError(f"atomic fractions {fractions} belong to no formula of at most {_LARGEST_FORMULA} atoms")


def formula(row: NDArray[np.float64]) -> str:
    """Reduced formula of one row of atomic fractions."""
    from pymatgen.core import Composition

    return str(Composition({symbol(z): n for z, n in whole_amounts(row).items()}).reduced_formula)


@cache
def symbol(atomic_number: int) -> str:
    """Chemical symbol of an atomic number."""
    from pymatgen.core import Element

    return str(Element.from_Z(atomic_number).symbol)


def _lowest_per_composition(rows: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the lowest energy of each distinct composition, ascending."""
    by_energy = np.argsort(values, kind="stable")
    _, first = np.unique(_composition_keys(rows)[by_energy], return_index=True)
    return np.sort(by_energy[first])


def _composition_keys(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    """A number for each row of fractions, equal for equal compositions, shape (N,).

    A random linear hash of 64 bits: among a million compositions two meet by chance with a probability of 3e-8.
    """
    weights = np.random.default_rng(0).integers(np.iinfo(np.int64).max, size=COLUMNS)
    keys = np.zeros(len(rows), dtype=np.int64)
    entry, element = np.nonzero(rows)
    np.add.at(keys, entry, np.rint(rows[entry, element] * 10**_DECIMALS).astype(np.int64) * weights[element])
    return keys


def _by_system(rows: NDArray[np.float64]) -> dict[int, list[int]]:
    """Positions of the rows of each chemical system; a system is a number whose bit Z tells of element Z."""
    positions: dict[int, list[int]] = {}
    present = np.packbits(rows > 0, axis=1, bitorder="little")
    for position, bits in enumerate(present):
        positions.setdefault(int.from_bytes(bits.tobytes(), "little"), []).append(position)
    return positions
