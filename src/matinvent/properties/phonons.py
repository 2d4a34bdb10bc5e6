"""Harmonic vibrations of a crystal from displaced atoms, through phonopy.

Phonopy (Togo, J. Phys. Soc. Jpn. 92, 012001, 2023) says which displacements the symmetry leaves to be computed and
makes force constants and frequencies of the forces; the forces of all displacements come from a potential in batches.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.properties.equilibrium import RestingCrystal, evaluate_all
from matinvent.screening.neighbors import Crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.screening.potential import Potential

#: Displacement (A) if the lightest atom has unit mass m; otherwise m^(-1/4) of it (oxides 0.1, gold 0.05). This is how
#: far two atoms move against each other at absolute zero under a usual force constant of 2 eV/A^2, which is what a
#: vibration sees of the energy. Narrower ripples of a potential mean nothing: by displacements of 0.05 A CHGNet's LiH,
#: by 0.02 A its TiC seem unstable. Of other crystals the values hardly depend on it.
_DISPLACEMENT = 0.2

#: Cell multiples beyond this are those of cells thinner than any crystal's.
_MOST_CELLS = 12


@dataclass(frozen=True, slots=True)
class Modes:
    """Vibrations at a mesh of wave vectors.

    Attributes:
        frequencies: shape (Q, 3 N), THz; imaginary ones negative.
        weights: number of equivalent wave vectors, shape (Q,).
        wave_vectors: in units of the reciprocal lattice, shape (Q, 3).
    """

    frequencies: NDArray[np.float64]
    weights: NDArray[np.int64]
    wave_vectors: NDArray[np.float64]


class Vibrations:
    """A supercell of a crystal, its displacements, and what follows from their forces.

    Args:
        primitive: the crystal, free of forces and in exact symmetry.
        supercell: lattice vectors of the supercell in units of the primitive ones, rows, shape (3, 3).
    """

    def __init__(self, primitive: Crystal, supercell: NDArray[np.int64]) -> None:
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms

        cell = PhonopyAtoms(numbers=primitive.numbers, cell=primitive.lattice, scaled_positions=primitive.frac)
        # Phonopy's matrices have the new lattice vectors as columns.
        self._phonopy: Any = Phonopy(cell, supercell_matrix=supercell.T, primitive_matrix="P", log_level=0)
        self._phonopy.generate_displacements(distance=_DISPLACEMENT * min(self._phonopy.primitive.masses) ** -0.25)

    @property
    def displaced(self) -> list[Crystal]:
        """The supercells whose forces are needed."""
        cells = self._phonopy.supercells_with_displacements
        return [Crystal(np.array(cell.numbers), np.array(cell.cell), np.array(cell.scaled_positions)) for cell in cells]

    @property
    def work(self) -> int:
        """Atoms in all displaced supercells together."""
        return sum(len(cell) for cell in self._phonopy.supercells_with_displacements)

    def compute(self, potential: Potential) -> Failure | None:
        """Evaluate the displaced supercells; the Failure of one, if the potential cannot treat it."""
        evaluations = evaluate_all(potential, self.displaced)
        if isinstance(evaluations, Failure):
            return evaluations
        self._phonopy.forces = np.array([evaluation.forces for evaluation in evaluations])
        self._phonopy.produce_force_constants()
        self._phonopy.symmetrize_force_constants()  # no force when all atoms move together
        return None

    def force_constants(self) -> NDArray[np.float64]:
        """Second derivatives of the supercell's energy by its M atoms, shape (3 M, 3 M), eV/A^2."""
        constants = np.asarray(self._phonopy.force_constants)
        atoms = len(constants)
        return constants.transpose(0, 2, 1, 3).reshape(3 * atoms, 3 * atoms)

    def modes(self, length: float) -> Modes:
        """Frequencies at a mesh around the zone centre.

        Args:
            length: the mesh is that of a supercell about so wide (A).
        """
        reciprocal = np.linalg.norm(np.linalg.inv(self._phonopy.primitive.cell), axis=0)
        numbers = np.maximum(np.rint(length * reciprocal), 1).astype(int).tolist()
        with warnings.catch_warnings():  # of a mesh that has less symmetry than the crystal: it is only larger then
            warnings.simplefilter("ignore")
            self._phonopy.run_mesh(numbers, is_gamma_center=True)
        mesh = self._phonopy.mesh
        return Modes(np.asarray(mesh.frequencies), np.asarray(mesh.weights), np.asarray(mesh.qpoints))


def choose_supercell(crystal: RestingCrystal, length: float) -> NDArray[np.int64]:
    """The supercell of fewest atoms in which an atom's images are at least ``length`` (A) apart.

    It is a multiple of the primitive cell, the same along all its edges, or of the conventional cell, the same along
    edges of the same length: such supercells keep the crystal's symmetry.

    Returns:
        Lattice vectors in units of the primitive ones, rows, shape (3, 3).
    """
    candidates = [n * np.eye(3, dtype=np.int64) for n in range(1, _MOST_CELLS + 1)]
    edges = np.linalg.norm(crystal.conventional @ crystal.primitive.lattice, axis=1)
    times = np.clip(np.ceil(length / edges - 1e-6), 1, _MOST_CELLS).astype(np.int64)
    candidates.append(times[:, None] * crystal.conventional)
    wide = [matrix for matrix in candidates if _width(matrix @ crystal.primitive.lattice) >= length - 1e-6]
    return min(wide or candidates[-1:], key=lambda matrix: abs(np.linalg.det(matrix)))


def _width(lattice: NDArray[np.float64]) -> float:
    """The shortest translation of a lattice (A)."""
    from ase.geometry import minkowski_reduce

    reduced, _ = minkowski_reduce(lattice)
    return float(np.linalg.norm(reduced, axis=1).min())
