"""Relaxation of many crystals at once, in one process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matinvent.errors import Failure
from matinvent.screening.fire import Fire, residual
from matinvent.screening.give_up import Outlook
from matinvent.screening.neighbors import Crystal
from matinvent.screening.potential import Evaluation, Potential
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
        max_atoms: a larger crystal is a Failure ``too-large``; None: no limit.
        give_up: whether a crystal that will not reach its ceiling is dropped on the way. Who leaves makes room, hence
            giving up changes the batches and with them the last digits of the others.
    """

    def __init__(
        self,
        evaluator: Potential,
        *,
        fmax: float,
        max_steps: int,
        batch_atoms: int,
        max_volume_ratio: float,
        max_atoms: int | None = None,
        give_up: bool = True,
    ) -> None:
        self.potential = evaluator.potential
        self._evaluator = evaluator
        self._fmax = fmax
        self._max_steps = max_steps
        self._batch_atoms = batch_atoms
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
        """Relax crystals (see :class:`Relaxer`)."""
        results = Results(len(structures), on_result)
        waiting: list[_Run] = []
        for index, ceiling in enumerate(each_ceiling(ceilings, len(structures))):
            start = read_crystal(structures[index], self._max_atoms)
            if isinstance(start, Failure):
                results.settle(index, start)
            else:
                waiting.append(_Run(index, start, Fire(start), Outlook(ceiling if self._give_up else None)))
        waiting.reverse()
        active: list[_Run] = []
        with one_thread():
            while waiting or active:
                self._fill(active, waiting)
                outcomes = self._evaluator.evaluate([run.fire.crystal for run in active])
                going_on = []
                for run, outcome in zip(active, outcomes, strict=True):
                    result = self._advance(structures[run.index], run, outcome)
                    if result is None:
                        going_on.append(run)
                    else:
                        results.settle(run.index, result)
                active = going_on
                if progress is not None:
                    progress(results.share)
        return results.complete()

    def close(self) -> None:
        """Nothing to release."""

    def _fill(self, active: list[_Run], waiting: list[_Run]) -> None:
        """Let waiting crystals enter while their atoms fit into the batch."""
        atoms = sum(len(run.start) for run in active)
        while waiting and (not active or atoms + len(waiting[-1].start) <= self._batch_atoms):
            active.append(waiting.pop())
            atoms += len(active[-1].start)

    def _advance(self, structure: Structure, run: _Run, outcome: Evaluation | Failure) -> Relaxation | Failure | None:
        """The result when the crystal is done; None after a step when it is not."""
        start, fire = run.start, run.fire
        if isinstance(outcome, Failure):
            where = f"after {fire.steps} relaxation steps: " if fire.steps else ""
            return Failure(outcome.kind, where + outcome.reason)
        blown_up = volume_failure(start.volume, fire.crystal.volume, self._max_volume_ratio)
        if blown_up is not None:
            return blown_up
        force = residual(fire.crystal, outcome)
        under_way = force > self._fmax and fire.steps < self._max_steps
        hopeless = under_way and run.outlook.is_hopeless(outcome.energy / len(start))
        if under_way and not hopeless:
            fire.step(outcome)
            return None
        return Relaxation(
            structure=write_structure(structure, fire.crystal),
            energy=outcome.energy,
            converged=force <= self._fmax,
            steps=fire.steps,
            max_force=force,
            rmsd=displacement(start, fire.crystal),
            given_up=hopeless,
        )


@dataclass(slots=True)
class _Run:
    """One crystal on its way to the minimum.

    Attributes:
        index: its place in the input.
        start: how it came.
        fire: its optimizer and present geometry.
        outlook: whether going on is worth the while.
    """

    index: int
    start: Crystal
    fire: Fire
    outlook: Outlook


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
