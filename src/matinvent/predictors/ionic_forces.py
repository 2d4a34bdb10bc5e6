"""How hard it is to displace the atoms of a crystal: force constants of CHGNet when all cells move alike.

A static electric field displaces the ions of every cell in the same way, so the primitive cell by itself is enough, and
no supercell is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, cell_defect

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.screening.potential import Potential

#: Displacement (A). Zero-point motion is as large, and CHGNet's energy has ripples on a finer scale: force constants of
#: stiff bonds change by 20 % when it is a quarter of this.
_STEP = 0.02

#: Distance within which atoms count as equivalent (A). Less than the shifts of displacive ferroelectrics.
_SYMPREC = 0.02

#: More atoms in one pass no longer pay on a CPU core.
_BATCH_ATOMS = 160


def primitive(crystal: Crystal) -> Crystal | Failure:
    """The standardised primitive cell of a crystal.

    Failure kinds: those of :func:`~matinvent.screening.neighbors.cell_defect`, and ``no-symmetry``.
    """
    defect = cell_defect(crystal)
    if defect is not None:
        return defect
    try:
        cell = _symmetry(crystal).prim_std_cell
    except (ValueError, OverflowError) as error:
        return Failure("no-symmetry", f"the space group cannot be found: {error}")
    return Crystal(np.array(cell.numbers), np.array(cell.basis), np.array(cell.positions))


def force_constants(crystal: Crystal, potential: Potential) -> NDArray[np.float64] | Failure:
    """Second derivatives of the energy by the positions of the atoms of all cells, shape (3N, 3N), eV/A^2.

    One atom of every orbit is displaced both ways along each axis, the others follow by symmetry, and all operations
    are averaged over: a finite displacement by itself breaks the symmetry. The matrix is symmetric and free of the
    three translations.

    Args:
        crystal: its primitive cell.
        potential: gives the forces. Its failures are returned.
    """
    try:
        symmetry = _symmetry(crystal)
    except (ValueError, OverflowError) as error:
        return Failure("no-symmetry", f"the space group cannot be found: {error}")
    chosen = sorted(set(symmetry.orbits))
    rows = _rows(crystal, chosen, potential)
    if isinstance(rows, Failure):
        return rows
    atoms = len(crystal)
    constants, times = np.zeros((atoms, atoms, 3, 3)), np.zeros(atoms)
    for operation in zip(symmetry.operations.rotations, symmetry.operations.translations, strict=True):
        turn, image = _applied(crystal, np.array(operation[0]), np.array(operation[1]))
        for atom, row in zip(chosen, rows, strict=True):
            constants[image[atom], image] += turn @ row @ turn.T
            times[image[atom]] += 1
    constants /= times[:, None, None, None]
    matrix = constants.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)
    shifts = np.tile(np.eye(3), (atoms, 1)) / np.sqrt(atoms)
    without = np.eye(3 * atoms) - shifts @ shifts.T
    return without @ (0.5 * (matrix + matrix.T)) @ without


def _rows(crystal: Crystal, chosen: list[int], potential: Potential) -> list[NDArray[np.float64]] | Failure:
    """Force constants between each chosen atom and all atoms, shape (N, 3, 3) each, by central differences."""
    steps = np.vstack([np.eye(3), -np.eye(3)]) * _STEP @ np.linalg.inv(crystal.lattice)
    moved = []
    for atom in chosen:
        for step in steps:
            frac = crystal.frac.copy()
            frac[atom] += step
            moved.append(Crystal(crystal.numbers, crystal.lattice, frac))
    at_once = max(1, _BATCH_ATOMS // len(crystal))
    forces = []
    for start in range(0, len(moved), at_once):
        for outcome in potential.evaluate(moved[start : start + at_once]):
            if isinstance(outcome, Failure):
                return outcome
            forces.append(outcome.forces)
    pushed = np.stack(forces).reshape(len(chosen), 2, 3, len(crystal), 3)
    return list(((pushed[:, 1] - pushed[:, 0]) / (2 * _STEP)).transpose(0, 2, 1, 3))


def _symmetry(crystal: Crystal):  # type: ignore[no-untyped-def]  # moyopy has no stubs
    import moyopy

    cell = moyopy.Cell(crystal.lattice.tolist(), crystal.frac.tolist(), crystal.numbers.tolist())
    return moyopy.MoyoDataset(cell, symprec=_SYMPREC)


def _applied(
    crystal: Crystal, rotation: NDArray[np.int64], translation: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A symmetry operation as a Cartesian matrix, and where it takes each atom."""
    turn = crystal.lattice.T @ rotation @ np.linalg.inv(crystal.lattice.T)
    apart = (crystal.frac @ rotation.T + translation)[:, None] - crystal.frac[None]
    distance = np.linalg.norm((apart - np.rint(apart)) @ crystal.lattice, axis=2)
    distance[crystal.numbers[:, None] != crystal.numbers] = np.inf
    return turn, distance.argmin(axis=1)
