"""FIRE for atoms and cell together, one state per crystal.

Fast inertial relaxation engine (Bitzek et al., PRL 97, 170201, 2006) in the coordinates and with the settings of ASE's
FIRE and FrechetCellFilter, so that a crystal takes the path that it takes there. Generated crystals start far from a
minimum and often on a saddle point, where the path decides which minimum is found: bolder settings save a tenth of the
steps, and one crystal in ten then ends elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from matinvent.screening.neighbors import Crystal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from matinvent.screening.potential import Evaluation

# Masses are 1, hence time in A / sqrt(eV).
_TIME_STEP = 0.1
_LARGEST_TIME_STEP = 1.0
_STEPS_BEFORE_SPEEDUP = 5
_GROW, _SHRINK = 1.1, 0.5
_MIXING, _MIXING_DECAY = 0.1, 0.99
_LARGEST_MOVE = 0.2  # A, norm over all coordinates of a crystal


class Fire:
    """The optimizer's state for one crystal (float64).

    A crystal is its first self deformed by F: L = L0 F^T, r = z F^T. The coordinates are the N positions z in the first
    cell and, scaled by N so that atoms and cell move alike, the logarithm of F: shape (N + 3, 3).

    Args:
        crystal: where to start; :attr:`crystal` holds the present geometry, coordinates unwrapped.
    """

    def __init__(self, crystal: Crystal) -> None:
        self.crystal = crystal
        self.steps = 0
        self._first_lattice = crystal.lattice
        self._coordinates = np.vstack([crystal.frac @ crystal.lattice, np.zeros((3, 3))])
        self._velocity = np.zeros((len(crystal) + 3, 3))
        self._time_step = _TIME_STEP
        self._mixing = _MIXING
        self._downhill = 0

    def step(self, evaluation: Evaluation) -> None:
        """Move atoms and cell once along the forces at the present geometry."""
        force = self._force(evaluation)
        self._steer(force)
        self._velocity += self._time_step * force
        move = self._time_step * self._velocity
        length = float(np.linalg.norm(move))
        self._displace(move * min(1.0, _LARGEST_MOVE / length) if length > 0 else move)
        self.steps += 1

    def _force(self, evaluation: Evaluation) -> NDArray[np.float64]:
        """Minus the gradient of the energy by the coordinates.

        With W the virial, -dE/dF = W F^-T, and by log F it is the Frechet derivative of the exponential at (log F)^T in
        the direction W F^-T, which stands in the corner of a block matrix's exponential (Najfeld and Havel, Adv. Appl.
        Math. 16, 321, 1995).
        """
        from scipy.linalg import expm

        logarithm = self._coordinates[-3:] / len(self.crystal)
        deformation = expm(logarithm)
        virial = -evaluation.stress * self.crystal.volume
        zero = np.zeros((3, 3))
        blocks = np.block([[logarithm.T, virial @ np.linalg.inv(deformation.T)], [zero, logarithm.T]])
        return np.vstack([evaluation.forces @ deformation, expm(blocks)[:3, 3:] / len(self.crystal)])

    def _steer(self, force: NDArray[np.float64]) -> None:
        """Turn the velocity toward the force while going downhill; stop when going uphill."""
        if float(np.vdot(force, self._velocity)) > 0:
            speed, strength = np.linalg.norm(self._velocity), np.linalg.norm(force)
            self._velocity = (1 - self._mixing) * self._velocity + self._mixing * speed / strength * force
            if self._downhill > _STEPS_BEFORE_SPEEDUP:
                self._time_step = min(self._time_step * _GROW, _LARGEST_TIME_STEP)
                self._mixing *= _MIXING_DECAY
            self._downhill += 1
        elif self.steps > 0:
            self._velocity[:] = 0.0
            self._mixing = _MIXING
            self._time_step *= _SHRINK
            self._downhill = 0

    def _displace(self, move: NDArray[np.float64]) -> None:
        """Shift the atoms in the first cell and deform it."""
        from scipy.linalg import expm

        self._coordinates = self._coordinates + move
        deformation = expm(self._coordinates[-3:] / len(self.crystal))
        frac = self._coordinates[:-3] @ np.linalg.inv(self._first_lattice)
        self.crystal = Crystal(self.crystal.numbers, self._first_lattice @ deformation.T, frac)


def generalised_force(crystal: Crystal, evaluation: Evaluation) -> NDArray[np.float64]:
    """Atomic forces (eV/A) and below them the virial per atom (eV), shape (N + 3, 3)."""
    return np.vstack([evaluation.forces, -evaluation.stress * crystal.volume / len(crystal)])


def residual(crystal: Crystal, evaluation: Evaluation) -> float:
    """Largest row norm of :func:`generalised_force`.

    ASE's FrechetCellFilter means the same, but measures in its own coordinates, which are those of the first cell.
    """
    return float(np.linalg.norm(generalised_force(crystal, evaluation), axis=1).max())
