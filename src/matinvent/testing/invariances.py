"""The same crystal written in another way: what no property of it may depend on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from pymatgen.core import Structure


def rotated(structure: Structure) -> Structure:
    """Turned in space by an angle about an axis without any symmetry."""
    axis = np.array([0.36, 0.48, 0.80])
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation = np.eye(3) + np.sin(1.0) * cross + (1 - np.cos(1.0)) * cross @ cross
    return _written(structure, structure.lattice.matrix @ rotation.T, structure.frac_coords)


def translated(structure: Structure) -> Structure:
    """With another origin."""
    shift = np.array([0.11, 0.23, 0.37])
    return _written(structure, structure.lattice.matrix, (structure.frac_coords + shift) % 1.0)


def permuted(structure: Structure) -> Structure:
    """With its atoms in reverse order."""
    return type(structure).from_sites(list(structure)[::-1])


def recast(structure: Structure) -> Structure:
    """In another cell of the same volume, spanned by a, a + b and c - a."""
    change = np.array([[1, 0, 0], [1, 1, 0], [-1, 0, 1]])
    frac = structure.frac_coords @ np.linalg.inv(change)
    return _written(structure, change @ structure.lattice.matrix, frac % 1.0)


def doubled(structure: Structure) -> Structure:
    """In a cell of twice the length along a."""
    return structure * (2, 1, 1)


#: Ways of writing a crystal, by what a property must be invariant to.
REWRITINGS: dict[str, Callable[[Structure], Structure]] = {
    "rotation": rotated,
    "translation": translated,
    "permutation": permuted,
    "cell": recast,
    "supercell": doubled,
}


def _written(structure: Structure, lattice: ArrayLike, frac_coords: ArrayLike) -> Structure:
    return type(structure)(lattice, structure.species, frac_coords)
