"""Relaxation with any ASE calculator, one crystal after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.give_up import Outlook
from matinvent.screening.neighbors import Crystal, cell_defect
from matinvent.screening.relaxation import (
    OnResult,
    Progress,
    Relaxation,
    Results,
    displacement,
    each_ceiling,
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
        max_atoms: a larger crystal is a Failure ``too-large``; None: no limit.
        give_up: whether a crystal that will not reach its ceiling is dropped on the way.
    """

    def __init__(
        self,
        calculator: Callable[[], Any],
        *,
        potential: str,
        fmax: float,
        max_steps: int,
        max_volume_ratio: float,
        max_atoms: int | None = None,
        give_up: bool = True,
    ) -> None:
        self.potential = potential
        self._calculator = calculator()
        self._fmax = fmax
        self._max_steps = max_steps
        self._max_volume_ratio = max_volume_ratio
        self._max_atoms = max_atoms
        self._give_up = give_up

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`~matinvent.screening.relaxation.Relaxer`)."""
        results = Results(len(structures), on_result)
        for index, ceiling in enumerate(each_ceiling(ceilings, len(structures))):
            outlook = Outlook(ceiling if self._give_up else None)
            results.settle(index, self._relax(structures[index], outlook))
            if progress is not None:
                progress(results.share)
        return results.complete()

    def close(self) -> None:
        """Nothing to release."""

    def _relax(self, structure: Structure, outlook: Outlook) -> Relaxation | Failure:
        start = read_crystal(structure, self._max_atoms)
        if isinstance(start, Failure):
            return start
        defect = cell_defect(start)
        if defect is not None:
            return defect
        try:
            return self._minimise(structure, start, outlook)
        except Exception as error:  # noqa: BLE001 - a calculator may raise anything, and one crystal must not stop the rest
            return Failure("error", f"{type(error).__name__}: {error}")

    def _minimise(self, structure: Structure, start: Crystal, outlook: Outlook) -> Relaxation | Failure:
        from ase import Atoms
        from ase.filters import FrechetCellFilter
        from ase.optimize import FIRE

        atoms = Atoms(start.numbers, scaled_positions=start.frac, cell=start.lattice, pbc=True)
        atoms.calc = self._calculator
        movable = FrechetCellFilter(atoms)
        optimizer = FIRE(movable, logfile=None)
        hopeless = False
        for converged in optimizer.irun(fmax=self._fmax, steps=self._max_steps):
            changed = volume_failure(start.volume, atoms.get_volume(), self._max_volume_ratio)
            if changed is not None:
                return changed
            if converged or optimizer.nsteps >= self._max_steps:
                break
            hopeless = outlook.is_hopeless(float(atoms.get_potential_energy()) / len(start))
            if hopeless:
                break
        energy, force = float(atoms.get_potential_energy()), _residual(movable)
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
            given_up=hopeless,
        )


def _residual(movable: Any) -> float:
    """Largest force on an atom (eV/A) or virial per atom (eV) of a filter with atoms and cell."""
    return float(np.linalg.norm(movable.get_forces(), axis=1).max())
