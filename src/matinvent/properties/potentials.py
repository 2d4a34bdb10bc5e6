"""The potentials that properties are computed with, each loaded once per process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from matinvent.errors import Failure
from matinvent.screening.ase_potential import AsePotential
from matinvent.screening.potential import energy_scale, make_calculator
from matinvent.screening.relaxation import read_crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.screening.chgnet import ChgnetEvaluator
    from matinvent.screening.neighbors import Crystal
    from matinvent.screening.potential import Potential

T = TypeVar("T")

#: More atoms in one pass no longer pay on a CPU core.
_BATCH_ATOMS = 160

_loading = threading.Lock()


def load_potential(name: str) -> Potential:
    """A potential by its name, loaded once per process also when threads ask for it at the same time.

    Args:
        name: ``chgnet``, a named ASE calculator, a plug-in's name, or ``module:function`` (see
            :func:`matinvent.screening.potential.energy_scale`).

    Raises:
        ConfigError: there is no such potential, or it makes no ASE calculator with energy, forces and stress.
        MissingDependencyError: its package is not installed.
    """
    if name == "chgnet":
        return load_chgnet()
    with _loading:
        return _load_calculator(name)


def load_chgnet() -> ChgnetEvaluator:
    """CHGNet, which gives magnetic moments and features besides energies, loaded once per process."""
    with _loading:
        return _load_chgnet()


@cache
def _load_chgnet() -> ChgnetEvaluator:
    from matinvent.screening.chgnet import ChgnetEvaluator

    return ChgnetEvaluator()


@cache
def _load_calculator(name: str) -> AsePotential:
    return AsePotential(make_calculator(name, "cpu"), energy_scale(name))


def compute_batched(
    compute: Callable[[Sequence[Crystal]], Sequence[T | Failure]], structures: Sequence[Structure]
) -> list[T | Failure]:
    """Give crystals to a potential, some 160 atoms at a time; what is no crystal of whole atoms is a Failure.

    Args:
        compute: such as ``Potential.evaluate``: one result per crystal, in order.
        structures: what to compute it of.
    """
    crystals = [read_crystal(structure) for structure in structures]
    results: list[T | Failure] = []
    for batch in _batches([crystal for crystal in crystals if not isinstance(crystal, Failure)]):
        results += compute(batch)
    computed = iter(results)
    return [crystal if isinstance(crystal, Failure) else next(computed) for crystal in crystals]


def _batches(crystals: Sequence[Crystal]) -> Iterator[list[Crystal]]:
    """Neighbouring crystals with few atoms together, a large crystal by itself."""
    batch: list[Crystal] = []
    for crystal in crystals:
        if batch and sum(map(len, batch)) + len(crystal) > _BATCH_ATOMS:
            yield batch
            batch = []
        batch.append(crystal)
    if batch:
        yield batch
