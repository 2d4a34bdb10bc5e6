"""Relaxation in worker processes, and the relaxer that each worker runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

from matinvent.errors import Failure
from matinvent.execution.executors import make_executor_factory
from matinvent.execution.runner import Runner
from matinvent.plugins import load_callable
from matinvent.screening.relaxation import Progress, Relaxation, Relaxer

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config import RelaxationConfig

#: Crystals that share a task; enough to fill a batch, few enough to keep all workers busy.
_LARGEST_GROUP = 8


class PooledRelaxer:
    """Relaxes in persistent worker processes, one thread each.

    Which crystals share a batch depends on the input and the number of workers alone, never on
    timing. A group whose worker dies is tried again one by one, so that only the culprit is lost.

    Args:
        config: what every worker relaxes with.
        workers: number of processes.
    """

    def __init__(self, config: RelaxationConfig, workers: int) -> None:
        self.potential = potential_name(config)
        self._workers = workers
        self._task = partial(_relax_group, config)
        self._runner = Runner(make_executor_factory("processes", workers))

    def relax(self, structures: Sequence[Structure], progress: Progress | None = None) -> list[Relaxation | Failure]:
        """Relax crystals (see :class:`~matinvent.screening.relaxation.Relaxer`)."""
        size = max(1, min(_LARGEST_GROUP, len(structures) // (2 * self._workers)))
        groups = [list(structures[first : first + size]) for first in range(0, len(structures), size)]
        results: list[Relaxation | Failure] = []
        for group, outcome in zip(groups, self._runner.map(self._task, groups, progress), strict=True):
            results.extend(self._one_by_one(group, outcome) if isinstance(outcome, Failure) else outcome)
        return results

    def close(self) -> None:
        """Stop the worker processes."""
        self._runner.close()

    def _one_by_one(self, group: list[Structure], failure: Failure) -> list[Relaxation | Failure]:
        if len(group) == 1:
            return [failure]
        outcomes = self._runner.map(self._task, [[structure] for structure in group])
        return [outcome if isinstance(outcome, Failure) else outcome[0] for outcome in outcomes]


def local_relaxer(config: RelaxationConfig) -> Relaxer:
    """A relaxer for this process.

    Raises:
        ConfigError: the potential is neither 'chgnet' nor an existing 'module:function'.
    """
    max_steps = config.max_steps if config.enabled else 0
    if config.potential == "chgnet":
        from matinvent.screening.batched_relaxer import BatchedRelaxer
        from matinvent.screening.chgnet import ChgnetEvaluator

        return BatchedRelaxer(
            ChgnetEvaluator(),
            fmax=config.fmax,
            max_steps=max_steps,
            batch_atoms=config.batch_atoms,
            max_volume_ratio=config.max_volume_ratio,
        )
    from matinvent.screening.ase_relaxer import AseRelaxer

    return AseRelaxer(
        load_callable(config.potential, "potential"),
        potential=potential_name(config),
        fmax=config.fmax,
        max_steps=max_steps,
        max_volume_ratio=config.max_volume_ratio,
    )


def potential_name(config: RelaxationConfig) -> str:
    """The name of the energy scale, known without loading the potential."""
    from matinvent.screening.chgnet import ChgnetEvaluator

    return ChgnetEvaluator.potential if config.potential == "chgnet" else config.potential


@lru_cache(maxsize=1)
def _worker_relaxer(config: RelaxationConfig) -> Relaxer:
    """Loaded once per worker process: reading a potential takes seconds."""
    return local_relaxer(config)


def _relax_group(config: RelaxationConfig, structures: list[Structure]) -> list[Relaxation | Failure]:
    """What a worker does with its task."""
    return _worker_relaxer(config).relax(structures)
