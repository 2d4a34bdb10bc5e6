"""Relaxation of many crystals at once, in one process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.screening.fire import Fire, residual
from matinvent.screening.neighbors import Crystal
from matinvent.screening.potential import Evaluation, Potential
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


class BatchedRelaxer:
    """FIRE on many crystals at once, in this process.

    Every crystal keeps its own optimizer state; who is done leaves the batch and the next one
    enters, so that the batch stays full. The sequence of batches depends on the input alone:
    equal input gives bit-identical results on one machine.

    Args:
        evaluator: the potential.
        fmax: force criterion (eV/A; eV for the virial per atom).
        max_steps: optimizer steps before giving up on convergence; 0 gives the energy as it is.
        batch_atoms: atoms evaluated in one pass (a larger crystal goes alone).
        max_volume_ratio: a volume change beyond this factor ends the relaxation as a Failure.
    """

    def __init__(
        self,
        evaluator: Potential,
        *,
        fmax: float,
        max_steps: int,
        batch_atoms: int,
        max_volume_ratio: float,
    ) -> None:
        self.potential = evaluator.potential
        self._evaluator = evaluator
        self._fmax = fmax
        self._max_steps = max_steps
        self._batch_atoms = batch_atoms
        self._max_volume_ratio = max_volume_ratio

    def relax(self, structures: Sequence[Structure], progress: Progress | None = None) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`Relaxer`)."""
        results: list[Any] = [None] * len(structures)
        starts: dict[int, Crystal] = {}
        for index, structure in enumerate(structures):
            start = read_crystal(structure)
            if isinstance(start, Failure):
                results[index] = start
            else:
                starts[index] = start
        waiting = list(starts)[::-1]
        active: dict[int, Fire] = {}
        with one_thread():
            while waiting or active:
                self._fill(active, waiting, starts)
                outcomes = self._evaluator.evaluate([fire.crystal for fire in active.values()])
                for (index, fire), outcome in zip(list(active.items()), outcomes, strict=True):
                    result = self._advance(structures[index], starts[index], fire, outcome)
                    if result is not None:
                        results[index] = result
                        del active[index]
                if progress is not None:
                    progress(1 - (len(waiting) + len(active)) / len(structures))
        return results

    def close(self) -> None:
        """Nothing to release."""

    def _fill(self, active: dict[int, Fire], waiting: list[int], starts: dict[int, Crystal]) -> None:
        """Let waiting crystals enter while their atoms fit into the batch."""
        atoms = sum(len(fire.crystal) for fire in active.values())
        while waiting and (not active or atoms + len(starts[waiting[-1]]) <= self._batch_atoms):
            index = waiting.pop()
            active[index] = Fire(starts[index])
            atoms += len(starts[index])

    def _advance(
        self, structure: Structure, start: Crystal, fire: Fire, outcome: Evaluation | Failure
    ) -> Relaxation | Failure | None:
        """The result when the crystal is done; None after a step when it is not."""
        if isinstance(outcome, Failure):
            where = f"after {fire.steps} relaxation steps: " if fire.steps else ""
            return Failure(outcome.kind, where + outcome.reason)
        blown_up = volume_failure(start.volume, fire.crystal.volume, self._max_volume_ratio)
        if blown_up is not None:
            return blown_up
        force = residual(fire.crystal, outcome)
        if force > self._fmax and fire.steps < self._max_steps:
            fire.step(outcome)
            return None
        return Relaxation(
            structure=write_structure(structure, fire.crystal),
            energy=outcome.energy,
            converged=force <= self._fmax,
            steps=fire.steps,
            max_force=force,
            rmsd=displacement(start, fire.crystal),
        )


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: on tensors this small more threads only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
