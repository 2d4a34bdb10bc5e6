"""Elements that can share a site: when orderings of one disordered alloy count as one crystal.

A generator that places Cu and Au differently on the same lattice has not found a new material but another snapshot of a
solid solution. Hume-Rothery's rules say which elements mix: radii within 15 percent and similar electronegativity
(Hume-Rothery, Powell 1935; MatterGen judges novelty in the same spirit, Zeni et al., Nature 639, 624, 2025). Only
elements of one crystal are merged, so that compositions stay what they are.
"""

from __future__ import annotations

import warnings
from functools import cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from matinvent.screening.neighbors import Crystal

#: Largest relative difference of the atomic radii, and largest difference of Pauling electronegativities.
_RADIUS, _ELECTRONEGATIVITY = 0.15, 0.7


def merge_similar(crystal: Crystal) -> Crystal:
    """The crystal with each group of similar elements labelled as its lightest member."""
    labels = _labels(tuple(np.unique(crystal.numbers).tolist()))
    if all(element == label for element, label in labels.items()):
        return crystal
    return Crystal(np.array([labels[int(z)] for z in crystal.numbers]), crystal.lattice, crystal.frac)


@cache
def are_similar(one: int, other: int) -> bool:
    """Whether two elements, by atomic number, form solid solutions according to Hume-Rothery's rules."""
    a, b = _nature(one), _nature(other)
    radii = (a.metallic, b.metallic) if a.metallic and b.metallic else (a.atomic, b.atomic)
    if not (all(radii) and a.electronegativity and b.electronegativity):
        return False
    similar_size = abs(radii[0] - radii[1]) <= _RADIUS * min(radii)
    return similar_size and abs(a.electronegativity - b.electronegativity) <= _ELECTRONEGATIVITY


class _Nature(NamedTuple):
    """What decides where an element fits: radii (A) and Pauling electronegativity; 0 where none is known."""

    metallic: float
    atomic: float
    electronegativity: float


@cache
def _nature(atomic_number: int) -> _Nature:
    from pymatgen.core import Element

    element = Element.from_Z(atomic_number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns about what it does not know
        known = (getattr(element, name, None) for name in ("metallic_radius", "atomic_radius", "X"))
        return _Nature(*(float(v) if isinstance(v, int | float) and np.isfinite(v) else 0.0 for v in known))


@cache
def _labels(elements: tuple[int, ...]) -> dict[int, int]:
    """Each element's label: the lightest of those it is connected with by similarity."""
    labels = {element: element for element in elements}
    for one, other in combinations(elements, 2):
        if are_similar(one, other):
            low, high = sorted((labels[one], labels[other]))
            labels = {element: low if label == high else label for element, label in labels.items()}
    return labels
