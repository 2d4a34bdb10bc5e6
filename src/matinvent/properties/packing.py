"""How the atoms of a crystal fill space and surround each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    Array = NDArray[np.float64]

#: Neighbours count in the effective coordination up to this times the nearest one; their weight there is below 1e-20.
_REACH = 2.0

#: Distance (A) within which two atoms are on one place.
_OVERLAP = 1e-6

#: Steps and relative accuracy of the mean bond length, which is defined by itself.
_MAX_STEPS = 100
_ACCURACY = 1e-10


class Packing:
    """Distances, coordination and filling of space."""

    properties = (
        PropertyInfo(
            name="volume_per_atom",
            unit="A^3",
            description="Volume of the cell over its number of atoms.",
            bounds=(0.0, 1e6),
            cost="instant",
            needs=("relaxed structure",),
            source="definition",
        ),
        PropertyInfo(
            name="minimum_distance",
            unit="A",
            description="Shortest distance between two atoms, images of one atom included.",
            bounds=(0.0, 1e3),
            cost="instant",
            needs=("relaxed structure",),
            source="definition",
        ),
        PropertyInfo(
            name="packing_fraction",
            unit="1",
            description="Volume of spheres of the atomic radii over that of the cell; above 1 where they overlap.",
            bounds=(0.0, 20.0),
            cost="instant",
            needs=("relaxed structure",),
            source="definition; radii of Slater, J. Chem. Phys. 41, 3199 (1964), as in pymatgen",
        ),
        PropertyInfo(
            name="effective_coordination",
            unit="1",
            description="Mean effective coordination number of the atoms: neighbours weighted by distance.",
            bounds=(0.0, 50.0),
            cost="instant",
            needs=("relaxed structure",),
            source="Hoppe, Z. Kristallogr. 150, 23 (1979)",
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """All four of each crystal.

        Failure kinds: ``no-volume``, ``overlap`` (atoms on one place), ``missing-data`` (an element has no radius).
        """
        return evaluate_each(_packing, structures)


def _packing(structure: Structure) -> Values | Failure:
    if not (math.isfinite(structure.volume) and structure.volume > 0):
        return Failure("no-volume", f"the cell volume is {structure.volume} A^3")
    # No atom is farther from its nearest neighbour than from its own image along an edge of the cell.
    owners, distances = _neighbours(structure, min(structure.lattice.abc))
    nearest = np.full(len(structure), np.inf)
    np.minimum.at(nearest, owners, distances)
    coordination = _coordination(structure, nearest) if nearest.min() > _OVERLAP else None
    return {
        "volume_per_atom": structure.volume / len(structure),
        "minimum_distance": float(nearest.min()),
        "packing_fraction": _packing_fraction(structure),
        "effective_coordination": Failure("overlap", "atoms share one place") if coordination is None else coordination,
    }


def _neighbours(structure: Structure, radius: float) -> tuple[NDArray[np.int64], Array]:
    """Each pair of neighbours from both sides: index of the atom, distance (A)."""
    owners, _, _, distances = structure.get_neighbor_list(radius * (1 + 1e-9))
    return owners, distances


def _packing_fraction(structure: Structure) -> float | Failure:
    from pymatgen.core import Element

    filled, unknown = 0.0, []
    for symbol, amount in sorted(structure.composition.get_el_amt_dict().items()):
        radius = Element(symbol).data.get("Atomic radius")
        if isinstance(radius, int | float):
            filled += amount * 4 / 3 * math.pi * float(radius) ** 3
        else:
            unknown.append(symbol)
    if unknown:
        return Failure("missing-data", f"no atomic radius for {', '.join(unknown)}")
    return filled / structure.volume


def _coordination(structure: Structure, nearest: Array) -> float:
    """Mean over the atoms of the sum of weights exp(1 - (d/m)^6), where m is the weighted mean of the distances d."""
    owners, distances = _neighbours(structure, _REACH * float(nearest.max()))
    mean = nearest
    for _ in range(_MAX_STEPS):
        weights = np.exp(1 - (distances / mean[owners]) ** 6)
        total = np.bincount(owners, weights, len(structure))
        updated = np.bincount(owners, weights * distances, len(structure)) / total
        done = np.allclose(updated, mean, rtol=_ACCURACY, atol=0)
        mean = updated
        if done:
            break
    return float(np.bincount(owners, np.exp(1 - (distances / mean[owners]) ** 6), len(structure)).mean())
