"""Charge balance while elements are drawn: the last orbit of a crystal takes one with which the charges add up.

An agent that learns from a handful of ionic crystals soon draws anions and cations as it has seen them and loses the
prior's sense for their proportions. Whether oxidation states balance (SMACT, Davies et al., J. Open Source Softw. 4,
1361 (2019)) is known from the formula alone, so it is asked before the crystal is finished, not after.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import gcd
from typing import TYPE_CHECKING

from matinvent.screening.validity import check_charges

if TYPE_CHECKING:
    import torch

#: Elements tried for a last orbit; those farther down are hardly ever meant.
_TRIES = 8


def choose_balanced(
    scores: torch.Tensor, last: torch.Tensor, species: torch.Tensor, sizes: torch.Tensor, orbit: int, *, alloys: bool
) -> torch.Tensor:
    """The element of highest score for an orbit; where it is the last one, the first that balances the charges.

    Where none of the first few balances them it is the highest score all the same.

    Args:
        scores: of each element, -infinity where forbidden, (B, MAX_Z).
        last: for which crystals all other orbits have their element, (B,).
        species: element index of each orbit, (B, O).
        sizes: atoms of each orbit, 0 for padding, (B, O).
        orbit: which is chosen.
        alloys: mixtures of metals count as balanced.

    Returns:
        Element indices, (B,).
    """
    best, ranked = scores.topk(_TRIES)
    chosen = ranked[:, 0].clone()
    rows = last.nonzero().flatten()
    known = zip(*(values[rows].tolist() for values in (species, sizes, ranked, best)), strict=True)
    for row, (elements, atoms, wishes, merits) in zip(rows.tolist(), known, strict=True):
        for wish, merit in zip(wishes, merits, strict=True):
            elements[orbit] = wish
            if merit > -float("inf") and _balanced(_formula(elements, atoms), alloys):
                chosen[row] = wish
                break
    return chosen


def _formula(elements: Sequence[int], sizes: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Atomic numbers with their reduced counts, in order, of orbits with these element indices and sizes."""
    atoms: Counter[int] = Counter()
    for element, size in zip(elements, sizes, strict=True):
        atoms[element + 1] += round(size)
    atoms = +atoms  # without padding
    divisor = gcd(*atoms.values())
    return tuple((number, count // divisor) for number, count in sorted(atoms.items()))


@lru_cache(maxsize=100_000)
def _balanced(formula: tuple[tuple[int, int], ...], alloys: bool) -> bool:
    from pymatgen.core import Composition, Element

    composition = Composition({Element.from_Z(number): count for number, count in formula})
    return check_charges(composition, alloys=alloys) is None
