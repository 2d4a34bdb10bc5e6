"""A crystal at rest: where second derivatives of the energy are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure
from matinvent.screening.batched_relaxer import BatchedRelaxer, one_thread
from matinvent.screening.neighbors import Crystal
from matinvent.screening.relaxation import Relaxation

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.screening.potential import Evaluation, Potential

#: What remains of forces (eV/A) and virial (eV/atom). Derivatives are central differences, but twice as much is 1.5 %
#: of osmium's shear modulus, and leaves rounding (the order of a batch) to decide on the fourth digit.
_FMAX = 0.01
_MAX_STEPS = 500
_BATCH_ATOMS = 160

#: Atoms closer than this (A) to a symmetric site sit on it. What is left of the forces moves atoms by less.
_SYMPREC = 0.02


@dataclass(frozen=True, slots=True)
class RestingCrystal:
    """A crystal at its minimum of energy, in exact symmetry.

    Attributes:
        primitive: its standard primitive cell.
        conventional: lattice vectors of its conventional cell in units of the primitive ones, rows, shape (3, 3).
    """

    primitive: Crystal
    conventional: NDArray[np.int64]


def rest(structures: Sequence[Structure], potential: Potential) -> list[RestingCrystal | Failure]:
    """Relax atoms and cell, and reduce to the primitive cell: supercells and turned cells become the same.

    Failure kinds: those of the potential, ``disordered``, ``volume`` (more than doubled or halved), ``not-converged``,
    ``no-symmetry`` (the cell is degenerate).
    """
    relaxer = BatchedRelaxer(
        potential, fmax=_FMAX, max_steps=_MAX_STEPS, batch_atoms=_BATCH_ATOMS, max_volume_ratio=2.0
    )
    return [outcome if isinstance(outcome, Failure) else _reduce(outcome) for outcome in relaxer.relax(structures)]


def evaluate_all(potential: Potential, crystals: Sequence[Crystal]) -> list[Evaluation] | Failure:
    """Evaluate variants of one crystal in batches; the Failure of the first that fails, if any does."""
    per_batch = max(1, _BATCH_ATOMS // max(map(len, crystals), default=1))
    evaluations: list[Evaluation] = []
    with one_thread():
        for start in range(0, len(crystals), per_batch):
            for outcome in potential.evaluate(crystals[start : start + per_batch]):
                if isinstance(outcome, Failure):
                    return outcome
                evaluations.append(outcome)
    return evaluations


def _reduce(relaxed: Relaxation) -> RestingCrystal | Failure:
    import moyopy
    from moyopy.interface import MoyoAdapter

    if not relaxed.converged:
        return Failure("not-converged", f"relaxation left {relaxed.max_force:.2g} eV/A after {relaxed.steps} steps")
    try:
        dataset = moyopy.MoyoDataset(MoyoAdapter.from_structure(relaxed.structure), symprec=_SYMPREC)
    except (ValueError, OverflowError) as error:
        return Failure("no-symmetry", f"no primitive cell is found: {error}")
    cell = dataset.prim_std_cell
    primitive = Crystal(np.array(cell.numbers, dtype=np.int64), np.array(cell.basis), np.array(cell.positions))
    conventional = np.array(dataset.std_cell.basis) @ np.linalg.inv(primitive.lattice)
    return RestingCrystal(primitive, np.rint(conventional).astype(np.int64))
