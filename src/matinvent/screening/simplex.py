"""The cheapest mixture of phases with a given composition: a small linear programme.

min x.E subject to F^T x = f, x >= 0, with the atomic fractions F and energies E (eV/atom) of n phases
and the wanted fractions f of m elements. Rows of F and f sum to 1, hence so does x. The elements
themselves are a feasible start whose basis is the unit matrix, so that the textbook tableau (Dantzig
1963) needs no first phase and takes some tens of microseconds where a general solver spends a
millisecond on being called. Nothing is taken on trust: an answer counts when it is feasible and no phase
has a negative reduced cost, computed afresh from the final basis; otherwise HiGHS solves the programme.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Reduced costs above minus this (eV/atom) are none; as shares sum to 1, it bounds the error of the energy.
_TOLERANCE = 1e-10

#: Smallest element of a column on which the tableau may be pivoted.
_PIVOT = 1e-9

#: Fractions that may be off by this much when an answer is checked.
_FEASIBLE = 1e-9

#: Pivots after which degenerate programmes are taken to cycle; ordinary ones need two or three per element.
_MOST_PIVOTS = 200


@dataclass(frozen=True, slots=True)
class Mixture:
    """The cheapest mixture.

    Attributes:
        energy: its energy (eV/atom).
        phases: positions of the phases that may take part, shape (m,) at most.
        shares: their shares of the atoms, same shape, summing to 1.
    """

    energy: float
    phases: NDArray[np.intp]
    shares: NDArray[np.float64]


def cheapest_mixture(
    fractions: NDArray[np.float64], energies: NDArray[np.float64], target: NDArray[np.float64]
) -> Mixture | None:
    """Mix phases to a composition at the lowest energy.

    Args:
        fractions: atomic fractions of the phases, shape (n, m); rows sum to 1.
        energies: their energies, shape (n,), eV/atom.
        target: wanted atomic fractions, shape (m,), all positive, summing to 1.

    Returns:
        The mixture, or None when the phases cannot make up the composition.
    """
    elements = _elements(fractions, energies)
    if elements is not None:
        basis = _pivoted(fractions, energies, target, elements)
        mixture = None if basis is None else _certified(fractions, energies, target, basis)
        if mixture is not None:
            return mixture
    return _by_highs(fractions, energies, target)


def _elements(fractions: NDArray[np.float64], energies: NDArray[np.float64]) -> NDArray[np.intp] | None:
    """The lowest pure phase of each element, shape (m,), or None when an element has none."""
    pure = np.flatnonzero(fractions.max(axis=1, initial=0.0) > 1 - _FEASIBLE)
    lowest = np.full(fractions.shape[1], -1)
    falling = pure[np.argsort(-energies[pure], kind="stable")]
    lowest[fractions[falling].argmax(axis=1)] = falling  # of equal elements the last one, the lowest, stays
    return None if (lowest < 0).any() else lowest


def _pivoted(
    fractions: NDArray[np.float64],
    energies: NDArray[np.float64],
    target: NDArray[np.float64],
    basis: NDArray[np.intp],
) -> NDArray[np.intp] | None:
    """The basis in which no phase has a negative reduced cost, shape (m,); None when it is not reached.

    Columns of the tableau are the phases and the right-hand side; its last row are the reduced costs.
    """
    basis = basis.copy()
    tableau = np.empty((len(target) + 1, len(energies) + 1))
    tableau[:-1, :-1], tableau[:-1, -1] = fractions.T, target
    tableau[-1, :-1] = energies - fractions @ energies[basis]
    tableau[-1, -1] = 0.0
    reduced, shares = tableau[-1, :-1], tableau[:-1, -1]
    ratios = np.empty(len(target))
    for _ in range(_MOST_PIVOTS):
        entering = int(reduced.argmin())
        if reduced[entering] > -_TOLERANCE:
            return basis
        column = tableau[:, entering].copy()
        ratios.fill(np.inf)
        np.divide(shares, column[:-1], out=ratios, where=column[:-1] > _PIVOT)
        leaving = int(ratios.argmin())
        if not np.isfinite(ratios[leaving]):
            return None
        basis[leaving] = entering
        row = tableau[leaving] / column[leaving]
        tableau -= column[:, None] * row
        tableau[leaving] = row
    return None


def _certified(
    fractions: NDArray[np.float64],
    energies: NDArray[np.float64],
    target: NDArray[np.float64],
    basis: NDArray[np.intp],
) -> Mixture | None:
    """The mixture of a basis, or None when it is not feasible or not the cheapest."""
    square = fractions[basis]
    try:
        wanted = np.array([target, energies[basis]])[..., None]
        shares, potentials = np.linalg.solve(np.array([square.T, square]), wanted)[..., 0]
    except np.linalg.LinAlgError:
        return None
    reduced = energies - fractions @ potentials
    if shares.min() < -_FEASIBLE or reduced.min() < -10 * _TOLERANCE:
        return None
    return Mixture(float(potentials @ target), basis, np.maximum(shares, 0.0))


def _by_highs(
    fractions: NDArray[np.float64], energies: NDArray[np.float64], target: NDArray[np.float64]
) -> Mixture | None:
    """The same from the general solver, which also knows when there is no mixture."""
    from scipy.optimize import linprog

    if len(energies) == 0:
        return None
    solution = linprog(energies, A_eq=fractions.T, b_eq=target, bounds=(0, None), method="highs")
    if solution.status != 0:
        return None
    shares = np.asarray(solution.x)
    phases = np.flatnonzero(shares > 0)
    return Mixture(float(solution.fun), phases, shares[phases])
