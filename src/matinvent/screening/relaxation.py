"""Relaxation of generated crystals: atoms and cell to the nearest minimum of a potential.

Results have the length and order of the input; a crystal that cannot be relaxed is a
:class:`~matinvent.errors.Failure`, and one that runs out of steps says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from matinvent.errors import Failure
from matinvent.execution.executors import available_cores
from matinvent.screening.neighbors import Crystal

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_screening import RelaxationConfig

Progress = Callable[[float], None]
OnResult = Callable[[int, "Relaxation | Failure"], None]


@dataclass(frozen=True, slots=True)
class Relaxation:
    """How a crystal came out of its relaxation.

    Attributes:
        structure: the relaxed crystal.
        energy: potential energy of its cell (eV).
        converged: whether ``max_force`` fell to the criterion within the step limit.
        steps: optimizer steps taken.
        max_force: largest remaining force on an atom (eV/A) or virial per atom (eV).
        rmsd: root-mean-square displacement of the atoms relative to the cell (A), measured in the
            relaxed cell, without the drift of the whole crystal.
        given_up: whether it was stopped on the way because it would not have reached its ceiling
            (see :class:`Relaxer`); structure and energy are where it stopped, an upper bound.
    """

    structure: Structure
    energy: float
    converged: bool
    steps: int
    max_force: float
    rmsd: float
    given_up: bool = False

    @property
    def energy_per_atom(self) -> float:
        """Potential energy (eV/atom)."""
        return self.energy / len(self.structure)


class Relaxer(Protocol):
    """Anything that relaxes crystals; ``potential`` names the energy scale."""

    potential: str

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: OnResult | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax crystals; same length and order.

        Args:
            structures: the crystals.
            progress: called with the finished share in (0, 1].
            ceilings: for each crystal the energy (eV/atom) that it must reach to be of interest, or None. A
                crystal that clearly will not may be given up: a Relaxation with ``given_up`` true and ``converged``
                false.
            on_result: called as ``on_result(index, result)`` once per crystal, in the caller's process, as soon as its
                result is known; the order is that of finishing.
        """
        ...

    def close(self) -> None:
        """Release worker processes, if any."""
        ...


def make_relaxer(config: RelaxationConfig, workers: int) -> Relaxer:
    """The relaxer that a configuration asks for.

    Args:
        config: criterion, potential and limits; with ``enabled`` false the relaxer takes no step
            and reports the energy of each crystal as it is.
        workers: relaxation processes; 0: one per CPU core; 1: relax in this process. On a GPU it is always one.

    Raises:
        ConfigError: the potential is unknown or cannot be made, or there is no such device.
        MissingDependencyError: the potential's package is not installed.
    """
    from matinvent.screening.pooled_relaxer import PooledRelaxer, choose_device, local_relaxer

    if choose_device(config) == "cuda":
        workers = 1
    elif workers == 0:
        workers = available_cores()
    return local_relaxer(config) if workers == 1 else PooledRelaxer(config, workers)


class Results:
    """Results as they come in: kept in the order of the input, reported once each.

    Args:
        count: number of crystals.
        on_result: told of every result (see :class:`Relaxer`).
    """

    def __init__(self, count: int, on_result: OnResult | None) -> None:
        self._results: list[Relaxation | Failure | None] = [None] * count
        self._on_result = on_result
        self.settled = 0

    def settle(self, index: int, result: Relaxation | Failure) -> None:
        """The result of one crystal is known."""
        assert self._results[index] is None, "every crystal has one result"
        self._results[index] = result
        self.settled += 1
        if self._on_result is not None:
            self._on_result(index, result)

    @property
    def share(self) -> float:
        """Share of the crystals whose results are known."""
        return self.settled / len(self._results)

    def complete(self) -> list[Relaxation | Failure]:
        """All results; every crystal must have its own."""
        results = [result for result in self._results if result is not None]
        assert len(results) == len(self._results), "a crystal has no result"
        return results


def each_ceiling(ceilings: Sequence[float | None] | None, count: int) -> Sequence[float | None]:
    """The ceiling of each of ``count`` crystals; none of them has one when none are given."""
    if ceilings is None:
        return [None] * count
    if len(ceilings) != count:
        raise ValueError(f"{count} crystals but {len(ceilings)} ceilings")
    return ceilings


def read_crystal(structure: Structure, max_atoms: int | None = None) -> Crystal | Failure:
    """The arrays of a structure that can be relaxed.

    Failure kinds: ``disordered`` and ``unknown-element`` (not made of whole atoms of elements), ``too-large`` (more
    than ``max_atoms`` atoms).
    """
    if max_atoms is not None and len(structure) > max_atoms:
        return Failure(
            "too-large", f"{len(structure)} atoms; the limit is {max_atoms} (screening.relaxation.max_atoms)"
        )
    try:
        return Crystal.from_structure(structure)
    except AttributeError:
        return Failure("disordered", "a site is shared by several species")
    except ValueError:
        return Failure("unknown-element", "a site holds something that is no chemical element")


def write_structure(original: Structure, crystal: Crystal) -> Structure:
    """A structure with the original's species and the crystal's geometry, atoms inside the cell."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(crystal.lattice), original.species, crystal.frac, to_unit_cell=True)


def displacement(start: Crystal, end: Crystal) -> float:
    """RMS displacement (A) of fractional coordinates without common drift, in the final cell."""
    shift = end.frac - start.frac
    shift = (shift - shift.mean(axis=0)) @ end.lattice
    return float(np.sqrt((shift**2).sum(axis=1).mean()))


def volume_failure(before: float, after: float, limit: float) -> Failure | None:
    """A Failure ``volume`` when the volume (A^3) changed by more than a factor ``limit``."""
    ratio = after / before if before > 0 else float("inf")
    if 1 / limit <= ratio <= limit:
        return None
    return Failure("volume", f"relaxation changed the volume by a factor of {ratio:.3g} (limit {limit:g})")
