"""Energy above the convex hull of a reference set: is a crystal stable against its competitors?

The hull energy of a composition is the lowest energy of any mixture of reference entries with
that composition, a small linear programme (Akbarzadeh, Ozolins, Wolverton 2007; the same number
as pymatgen's ``PhaseDiagram``). It needs no geometry, so systems of many elements cost no more
than binaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure, InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Composition

#: Columns of a dense composition array: atomic number Z is column Z, column 0 stays empty.
COLUMNS = 119

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
        self._masks = _element_masks(self.fractions)

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
        try:
            row = atomic_fractions([composition])[0]
        except InputError as error:
            return Failure("unknown-element", str(error))
        chosen, elements = self._competitors(row)
        mixture = _mix(self.fractions[chosen][:, elements], self.energies[chosen], row[elements])
        if mixture is None:
            missing = ", ".join(symbol(int(z)) for z in elements if not self.has_element(int(z)))
            detail = f"no energies for {missing}" if missing else "its elements cannot be made from the entries"
            return Failure("missing-reference", f"{composition.reduced_formula}: {detail} in the reference set")
        hull_energy, shares = mixture
        phases = {
            formula(self.fractions[entry]): float(share)
            for entry, share in zip(chosen, shares, strict=True)
            if share > _TRACE
        }
        return HullResult(float(energy_per_atom) - hull_energy, phases)

    def energies_above_hull(
        self, compositions: Sequence[Composition | str], energies_per_atom: ArrayLike
    ) -> NDArray[np.float64]:
        """Energies above the hull of many crystals (eV/atom), shape (N,); NaN where there is none.

        One linear programme per distinct composition (about 1 ms), so 80,000 crystals take
        minutes. Formula strings are read by pymatgen.

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

    def _bulk(self, rows: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Energies above the hull for rows of fractions; chemical systems are gathered once each."""
        _, index, inverse = np.unique(np.round(rows, _DECIMALS), axis=0, return_index=True, return_inverse=True)
        distinct = rows[index]
        systems, membership = np.unique(_element_masks(distinct), axis=0, return_inverse=True)
        order = np.argsort(membership.reshape(-1), kind="stable")
        groups = np.split(order, np.cumsum(np.bincount(membership.reshape(-1), minlength=len(systems)))[:-1])
        floor = np.full(len(distinct), np.nan)
        for group in groups:
            chosen, elements = self._competitors(distinct[group[0]])
            inside, energies = self.fractions[chosen][:, elements], self.energies[chosen]
            for member in group:
                mixture = _mix(inside, energies, distinct[member][elements])
                if mixture is not None:
                    floor[member] = mixture[0]
        return values - floor[inverse.reshape(-1)]

    def _competitors(self, row: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Entries within the row's chemical system, and the atomic numbers of that system."""
        outside = ~_element_masks(row[None])[0]
        chosen = np.flatnonzero(~(self._masks & outside).any(axis=1))
        return chosen, np.flatnonzero(row > 0)


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
    numbers = np.flatnonzero(row > 0)
    for total in range(len(numbers), _LARGEST_FORMULA):
        amounts = row[numbers] * total
        whole = np.rint(amounts)
        if np.abs(amounts - whole).max() < 1e-4 and whole.min() > 0:
            return {int(z): int(n) for z, n in zip(numbers, whole, strict=True)}
    raise InputError(f"atomic fractions {row[numbers]} belong to no formula of at most {_LARGEST_FORMULA} atoms")


def formula(row: NDArray[np.float64]) -> str:
    """Reduced formula of one row of atomic fractions."""
    from pymatgen.core import Composition

    return str(Composition({symbol(z): n for z, n in whole_amounts(row).items()}).reduced_formula)


def symbol(atomic_number: int) -> str:
    """Chemical symbol of an atomic number."""
    from pymatgen.core import Element

    return str(Element.from_Z(atomic_number).symbol)


def _mix(
    inside: NDArray[np.float64], energies: NDArray[np.float64], target: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]] | None:
    """The cheapest mixture of entries with the target composition: its energy and atomic shares.

    min_x x.E subject to x.F = f, x >= 0; rows of F and f sum to 1, hence so does x. None when no
    mixture has the composition.
    """
    from scipy.optimize import linprog

    if len(energies) == 0:
        return None
    if len(target) == 1:
        return float(energies.min()), (np.arange(len(energies)) == energies.argmin()).astype(np.float64)
    solution = linprog(energies, A_eq=inside.T, b_eq=target, bounds=(0, None), method="highs")
    if solution.status != 0:
        return None
    return float(solution.fun), np.asarray(solution.x)


def _lowest_per_composition(rows: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the lowest energy of each distinct composition, ascending."""
    by_energy = np.argsort(values, kind="stable")
    _, first = np.unique(np.round(rows[by_energy], _DECIMALS), axis=0, return_index=True)
    return np.sort(by_energy[first])


def _element_masks(rows: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Which elements each row contains, as two 64-bit words, shape (N, 2)."""
    present = np.zeros((len(rows), 128), dtype=np.uint8)
    present[:, :COLUMNS] = rows > 0
    return np.packbits(present, axis=1).view(np.uint64)
