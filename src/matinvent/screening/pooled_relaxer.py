"""Relaxation in worker processes, and the relaxer that each worker runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from matinvent.errors import ConfigError, Failure, MatInventError
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.screening.potential import energy_scale, make_calculator, require_package
from matinvent.screening.relaxation import OnResult, Progress, Relaxation, Relaxer, Results, each_ceiling

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_screening import RelaxationConfig

#: Atoms evaluated in one pass, and atoms in the largest task of a worker: more no longer pays on a CPU core.
_CPU_BATCH_ATOMS = 160

#: Atoms evaluated in one pass on a GPU.
_GPU_BATCH_ATOMS = 4096

#: Atoms in the smallest task of a worker while there are enough for all of them: fewer make slow passes.
_SMALLEST_GROUP_ATOMS = 32


class PooledRelaxer:
    """Relaxes in persistent worker processes, one thread each.

    Which crystals share a batch depends on the input and the number of workers alone, never on
    timing. A group whose worker dies is tried again one by one, so that only the culprit is lost.

    Args:
        config: what every worker relaxes with.
        workers: number of processes.

    Raises:
        ConfigError: the potential is unknown, or the workers cannot make it.
        MissingDependencyError: the potential's package is not installed.
    """

    def __init__(self, config: RelaxationConfig, workers: int) -> None:
        self.potential = potential_name(config)
        require_package(config.potential)
        self._workers = workers
        self._function = partial(_relax_group, config)
        self._runner = Runner(make_executor_factory("processes", workers))
        if config.potential != "chgnet":  # somebody else's: better one error now than one Failure per crystal
            [reason] = self._runner.map(_why_not, [config])
            if reason is not None:
                self.close()
                raise ConfigError(str(reason))

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`~matinvent.screening.relaxation.Relaxer`)."""
        limits = each_ceiling(ceilings, len(structures))
        results = Results(len(structures), on_result)
        again: list[int] = []

        def take(group: Sequence[int], outcomes: list[Relaxation | Failure] | Failure) -> None:
            if not isinstance(outcomes, Failure):
                for index, outcome in zip(group, outcomes, strict=True):
                    results.settle(index, outcome)
            elif len(group) == 1:
                results.settle(group[0], outcomes)
            else:
                again.extend(group)

        def run(groups: Sequence[Sequence[int]], progress: Progress | None) -> None:
            tasks = [_Task([structures[i] for i in group], [limits[i] for i in group]) for group in groups]
            self._runner.map(self._function, tasks, progress, lambda number, outcomes: take(groups[number], outcomes))

        run(make_groups([len(structure) for structure in structures], self._workers), progress)
        run([[index] for index in sorted(again)], None)
        return results.complete()

    def close(self) -> None:
        """Stop the worker processes."""
        self._runner.close()


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker gets: crystals and their ceilings."""

    structures: list[Structure]
    ceilings: list[float | None]


def make_groups(sizes: Sequence[int], workers: int) -> list[list[int]]:
    """Split crystals into the tasks of workers, in the order in which they are to be taken.

    Large crystals go first and tasks become smaller toward the end, so that the workers end together (guided
    self-scheduling: Polychronopoulos and Kuck, IEEE Trans. Comput. C-36, 1425, 1987). What a second process brings is
    measured by ``benchmarks/relaxation.py``.

    Args:
        sizes: atoms of each crystal.
        workers: number of processes.

    Returns:
        Lists of positions; each position occurs once.
    """
    left = sum(sizes)
    smallest = min(_SMALLEST_GROUP_ATOMS, left / workers)
    groups: list[list[int]] = []
    room = 0.0
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        if not groups or sizes[index] > room:
            groups.append([])
            room = min(_CPU_BATCH_ATOMS, max(smallest, left / (2 * workers)))
        groups[-1].append(index)
        room -= sizes[index]
        left -= sizes[index]
    return groups


def local_relaxer(config: RelaxationConfig) -> Relaxer:
    """A relaxer for this process.

    Raises:
        ConfigError: the potential is unknown or cannot be made, or there is no such device.
        MissingDependencyError: the potential's package is not installed.
    """
    device = choose_device(config)
    max_steps = config.max_steps if config.enabled else 0
    if config.potential == "chgnet":
        from matinvent.screening.batched_relaxer import BatchedRelaxer
        from matinvent.screening.chgnet import ChgnetEvaluator

        return BatchedRelaxer(
            ChgnetEvaluator(device),
            fmax=config.fmax,
            max_steps=max_steps,
            batch_atoms=config.batch_atoms or (_GPU_BATCH_ATOMS if device == "cuda" else _CPU_BATCH_ATOMS),
            max_volume_ratio=config.max_volume_ratio,
            max_atoms=config.max_atoms,
            give_up=config.give_up,
        )
    from matinvent.screening.ase_relaxer import AseRelaxer

    return AseRelaxer(
        partial(make_calculator, config.potential, device),
        potential=potential_name(config),
        fmax=config.fmax,
        max_steps=max_steps,
        max_volume_ratio=config.max_volume_ratio,
        max_atoms=config.max_atoms,
        give_up=config.give_up,
    )


def potential_name(config: RelaxationConfig) -> str:
    """The name of the energy scale, known without loading the potential.

    Raises:
        ConfigError: the potential is unknown.
    """
    return energy_scale(config.potential)


def choose_device(config: RelaxationConfig) -> str:
    """``cuda`` or ``cpu``, as configured and at hand.

    Raises:
        ConfigError: a GPU was asked for and there is none.
    """
    if config.device == "cpu":
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if config.device == "cuda":
        raise ConfigError(
            "screening.relaxation.device: 'cuda' was asked for, but torch sees no GPU; use 'auto' or 'cpu'"
        )
    return "cpu"


@lru_cache(maxsize=1)
def _worker_relaxer(config: RelaxationConfig) -> Relaxer:
    """Loaded once per worker process: reading a potential takes seconds."""
    return local_relaxer(config)


def _why_not(config: RelaxationConfig) -> str | None:
    """Why a worker cannot relax with this configuration; None when it can."""
    try:
        _worker_relaxer(config)
    except MatInventError as error:
        return str(error)
    return None


def _relax_group(config: RelaxationConfig, task: _Task) -> list[Relaxation | Failure]:
    """What a worker does with its task."""
    return _worker_relaxer(config).relax(task.structures, ceilings=task.ceilings)
