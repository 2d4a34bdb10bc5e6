"""Relaxation with any ASE calculator, one crystal after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.relaxation import (
    Progress,
    Relaxation,
    displacement,
    read_crystal,
    volume_failure,
    write_structure,
)

if TYPE_CHECKING:
    from pymatgen.core import Structure


class AseRelaxer:
    """FIRE with ``FrechetCellFilter`` around an ASE calculator.

    Args:
        calculator: called once, returns an ASE calculator with energy, forces and stress.
        potential: name of the energy scale; a reference set fits when it carries the same name.
        fmax: force criterion (eV/A; eV for the virial per atom).
        max_steps: optimizer steps before giving up on convergence; 0 gives the energy as it is.
        max_volume_ratio: a volume change beyond this factor is a Failure.
    """

    def __init__(
        self,
        calculator: Callable[[], Any],
        *,
        potential: str,
        fmax: float,
        max_steps: int,
        max_volume_ratio: float,
    ) -> None:
        self.potential = potential
        self._calculator = calculator()
        self._fmax = fmax
        self._max_steps = max_steps
        self._max_volume_ratio = max_volume_ratio

    def relax(self, structures: Sequence[Structure], progress: Progress | None = None) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`~matinvent.screening.relaxation.Relaxer`)."""
        results: list[Relaxation | Failure] = []
        for structure in structures:
            results.append(self._relax(structure))
            if progress is not None:
                progress(len(results) / len(structures))
        return results

    def close(self) -> None:
        """Nothing to release."""

    def _relax(self, structure: Structure) -> Relaxation | Failure:
        start = read_crystal(structure)
        if isinstance(start, Failure):
            return start
        defect = cell_defect(start)
        if defect is not None:
            return defect
        try:
            return self._minimise(structure, start)
        except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and one crystal must not stop the rest
            return Failure("error", f"{type(error).__name__}: {error}")

    def _minimise(self, structure: Structure, start: Crystal) -> Relaxation | Failure:
        from ase import Atoms
        from ase.filters import FrechetCellFilter
        from ase.optimize import FIRE

        atoms = Atoms(start.numbers, scaled_positions=start.frac, cell=start.lattice, pbc=True)
        atoms.calc = self._calculator
        movable = FrechetCellFilter(atoms)
        optimizer = FIRE(movable, logfile=None)
        for _ in optimizer.irun(fmax=self._fmax, steps=self._max_steps):
            changed = volume_failure(start.volume, atoms.get_volume(), self._max_volume_ratio)
            if changed is not None:
                return changed
        energy = float(atoms.get_potential_energy())
        force = float(np.linalg.norm(movable.get_forces(), axis=1).max())
        if not (np.isfinite(energy) and np.isfinite(force)):
            return Failure("not-finite", "the calculator gives no finite energy or force")
        end = Crystal(start.numbers, np.array(atoms.cell), atoms.get_scaled_positions(wrap=False))
        return Relaxation(
            structure=write_structure(structure, end),
            energy=energy,
            converged=force <= self._fmax,
            steps=optimizer.nsteps,
            max_force=force,
            rmsd=displacement(start, end),
        )
