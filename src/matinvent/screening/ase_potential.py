"""Any ASE calculator as a potential: energies, forces and stresses, one crystal after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.potential import Evaluation


class AsePotential:
    """An ASE calculator behind the protocol :class:`~matinvent.screening.potential.Potential`.

    Args:
        calculator: computes energy, forces and stress.
        potential: name of its energy scale.
    """

    def __init__(self, calculator: Any, potential: str) -> None:
        self.potential = potential
        self._calculator = calculator

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        """Evaluate crystals; whatever the calculator raises for one is its Failure ``error``."""
        return [cell_defect(crystal) or self._evaluate(crystal) for crystal in crystals]

    def _evaluate(self, crystal: Crystal) -> Evaluation | Failure:
        from ase import Atoms

        atoms = Atoms(crystal.numbers, scaled_positions=crystal.frac, cell=crystal.lattice, pbc=True)
        atoms.calc = self._calculator
        try:
            energy = float(atoms.get_potential_energy())
            forces, stress = np.asarray(atoms.get_forces()), np.asarray(atoms.get_stress(voigt=False))
        except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and one crystal must not stop the rest
            return Failure("error", f"{type(error).__name__}: {error}")
        if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
            return Failure("not-finite", "the calculator gives no finite energy, force or stress")
        return Evaluation(energy, forces, stress)
