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

    from matinvent.config import RelaxationConfig

Progress = Callable[[float], None]


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
    """

    structure: Structure
    energy: float
    converged: bool
    steps: int
    max_force: float
    rmsd: float

    @property
    def energy_per_atom(self) -> float:
        """Potential energy (eV/atom)."""
        return self.energy / len(self.structure)


class Relaxer(Protocol):
    """Anything that relaxes crystals; ``potential`` names the energy scale."""

    potential: str

    def relax(self, structures: Sequence[Structure], progress: Progress | None = None) -> list[Relaxation | Failure]:
        """Relax crystals; same length and order. ``progress`` gets the finished share in (0, 1]."""
        ...

    def close(self) -> None:
        """Release worker processes, if any."""
        ...


def make_relaxer(config: RelaxationConfig, workers: int) -> Relaxer:
    """The relaxer that a configuration asks for.

    Args:
        config: criterion, potential and limits; with ``enabled`` false the relaxer takes no step
            and reports the energy of each crystal as it is.
        workers: relaxation processes; 0: one per CPU core; 1: relax in this process.

    Raises:
        ConfigError: the potential is not 'chgnet' and no such 'module:function' exists.
    """
    from matinvent.screening.pooled_relaxer import PooledRelaxer, local_relaxer

    if workers == 0:
        workers = available_cores()
    return local_relaxer(config) if workers == 1 else PooledRelaxer(config, workers)


def read_crystal(structure: Structure) -> Crystal | Failure:
    """The arrays of a structure, or a Failure ``disordered`` when it is not made of whole elements."""
    if not structure.is_ordered:
        return Failure("disordered", "a site is shared by several species")
    try:
        return Crystal.from_structure(structure)
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
