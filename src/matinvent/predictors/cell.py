"""What a crystal's cell and symmetry tell: density, packing, space group, the size of its primitive cell."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.screening.neighbors import Crystal

#: Distance within which atoms count as equivalent (A). Trained models rest on it.
SYMPREC = 0.1

_AMU_PER_A3 = 1.66053906660  # g/cm^3

#: First space group of each crystal system, triclinic to cubic.
_SYSTEMS = np.array([1, 3, 16, 75, 143, 168, 195])
_SYSTEM_NAMES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")

CELL_NAMES = (
    "log_density",
    "log_volume_per_atom",
    "packing",
    "log_electron_density",
    "space_group",
    "log_operations",
    "inversion",
    "polar",
    "log_primitive_atoms",
    "orbits_per_atom",
    "log_site_symmetry",
    "odd_electrons",
    *_SYSTEM_NAMES,
)


def cell_features(crystal: Crystal) -> NDArray[np.float64] | Failure:
    """Features of a crystal free of :func:`~matinvent.screening.neighbors.cell_defect`, shape (19,).

    Symmetry is found within :data:`SYMPREC`. Failure kind: ``no-symmetry``.
    """
    symmetry = _symmetry(crystal)
    if isinstance(symmetry, Failure):
        return symmetry
    mass, sphere = _elements()[crystal.numbers].sum(axis=0)
    volume, atoms = crystal.volume, len(crystal)
    geometry = [
        np.log(_AMU_PER_A3 * mass / volume),
        np.log(volume / atoms),
        sphere / volume,
        np.log(crystal.numbers.sum() / volume),
    ]
    return np.array([*geometry, *symmetry])


def _symmetry(crystal: Crystal) -> list[float] | Failure:
    """The features that a space group, its orbits and the primitive cell give."""
    import moyopy

    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac.tolist(), crystal.numbers.tolist())
    try:
        found = moyopy.MoyoDataset(cell, symprec=SYMPREC)
    except (ValueError, OverflowError) as error:
        return Failure("no-symmetry", f"the space group cannot be found: {error}")
    order, inversion, polar = _point_group(found.number)
    primitive = found.prim_std_cell.numbers
    orbits = len(set(found.orbits))
    system = np.zeros(len(_SYSTEM_NAMES))
    system[np.searchsorted(_SYSTEMS, found.number, side="right") - 1] = 1.0
    return [
        found.number / 230,
        float(np.log(order)),
        inversion,
        polar,
        float(np.log(len(primitive))),
        orbits / len(primitive),
        float(np.log(order * orbits / len(primitive))),
        float(sum(primitive) % 2),
        *system,
    ]


@cache
def _point_group(number: int) -> tuple[int, float, float]:
    """Order of a space group's point group, whether it has the inversion, and the number of its polar directions."""
    import moyopy

    rotations = np.unique(np.array(moyopy.operations_from_number(number).rotations), axis=0)
    inversion = (rotations == -np.eye(3, dtype=int)).all(axis=(1, 2)).any()
    polar = np.linalg.matrix_rank(rotations.mean(axis=0), tol=1e-6)
    return len(rotations), float(inversion), float(polar)


@cache
def _elements() -> NDArray[np.float64]:
    """Atomic mass (u) and volume of a sphere of the atomic radius (A^3) by atomic number, shape (119, 2)."""
    from pymatgen.core import Element

    table = np.zeros((119, 2))
    for z in range(1, 119):
        element = Element.from_Z(z)
        radius = float(element.atomic_radius or 1.5)
        table[z] = float(element.atomic_mass), 4 / 3 * np.pi * radius**3
    return table
