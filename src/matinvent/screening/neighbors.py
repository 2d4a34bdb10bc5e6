"""Periodic neighbour lists: the geometry that potentials, fingerprints and validity share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Beyond this many atoms per A^3 no neighbour list is built (diamond 0.18, fcc hydrogen at 1 TPa 1.0).
MAX_DENSITY = 1.0

#: Cells thinner than this (A, between opposite faces) are degenerate and need absurdly many images.
MIN_HEIGHT = 0.3

#: Atomic number of the last element (oganesson).
HEAVIEST = 118

#: Among pairs closer than this (A) are those of an atom with itself.
_TOUCHING = 1e-3


@dataclass(frozen=True, slots=True)
class Crystal:
    """A periodic crystal as plain arrays.

    Attributes:
        numbers: atomic numbers, shape (N,).
        lattice: lattice vectors as rows, shape (3, 3), A.
        frac: fractional coordinates, shape (N, 3).
    """

    numbers: NDArray[np.int64]
    lattice: NDArray[np.float64]
    frac: NDArray[np.float64]

    @classmethod
    def from_structure(cls, structure: Structure) -> Crystal:
        """Copy the arrays of an ordered pymatgen structure.

        Raises:
            AttributeError: a site holds several species.
            ValueError: a site holds something that is no chemical element.
        """
        numbers = structure.atomic_numbers
        if any(not 0 < number <= HEAVIEST for number in numbers):  # pymatgen numbers dummy species by a hash
            raise ValueError("a site holds something that is no chemical element")
        return cls(
            np.array(numbers, dtype=np.int64),
            np.array(structure.lattice.matrix, dtype=np.float64),
            np.array(structure.frac_coords),
        )

    def to_structure(self) -> Structure:
        """The crystal as a pymatgen structure."""
        from pymatgen.core import Structure

        return Structure(self.lattice, self.numbers.tolist(), self.frac)

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Cell volume (A^3)."""
        return float(abs(np.linalg.det(self.lattice)))


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Directed neighbour pairs: atom ``center`` sees atom ``other`` shifted by ``image`` cells.

    Attributes:
        center: shape (E,), ascending.
        other: shape (E,).
        image: shape (E, 3), integer lattice translations.
        distance: shape (E,), A.
    """

    center: NDArray[np.int64]
    other: NDArray[np.int64]
    image: NDArray[np.int64]
    distance: NDArray[np.float64]


def cell_defect(crystal: Crystal) -> Failure | None:
    """Why no neighbour list can be had of a crystal, or None when one can."""
    if len(crystal) == 0:
        return Failure("empty", "the crystal has no atoms")
    if not (np.isfinite(crystal.lattice).all() and np.isfinite(crystal.frac).all()):
        return Failure("not-finite", "the lattice or a coordinate is not a finite number")
    volume = crystal.volume
    metric = crystal.lattice @ crystal.lattice.T
    squared_edges = metric.diagonal()
    # |a x b|^2 = |a|^2 |b|^2 - (a.b)^2 for all pairs of vectors at once
    largest_face = math.sqrt(max(0.0, float((np.outer(squared_edges, squared_edges) - metric**2).max())))
    if volume < MIN_HEIGHT * largest_face:
        return Failure("flat-cell", f"the cell is thinner than {MIN_HEIGHT} A between opposite faces")
    if len(crystal) > MAX_DENSITY * volume:
        return Failure("too-dense", f"{len(crystal)} atoms in {volume:.3g} A^3 is denser than any matter")
    return None


def find_neighbors(crystal: Crystal, cutoff: float) -> Neighbors:
    """All pairs closer than ``cutoff`` (A), an atom's own periodic images included.

    The crystal must be free of :func:`cell_defect`; coincident atoms are listed at distance 0.
    """
    pairs = find_pairs(crystal, cutoff)
    order = np.argsort(pairs.center, kind="stable")
    return Neighbors(pairs.center[order], pairs.other[order], pairs.image[order], pairs.distance[order])


def find_pairs(crystal: Crystal, cutoff: float) -> Neighbors:
    """The pairs of :func:`find_neighbors` with the centres in any order, which saves time."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    positions = np.ascontiguousarray(crystal.frac @ crystal.lattice)
    center, other, image, distance = find_points_in_spheres(
        positions,
        positions,
        r=float(cutoff),
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(crystal.lattice),
        tol=1e-8,
    )
    touching = np.flatnonzero(distance < _TOUCHING)
    itself = touching[(center[touching] == other[touching]) & ~image[touching].any(axis=1)]
    keep = np.delete(np.arange(len(center)), itself)
    return Neighbors(center[keep], other[keep], image[keep].astype(np.int64), distance[keep])
