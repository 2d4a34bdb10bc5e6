"""The symmetry of a crystal as its atoms have it, not as its cell is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

#: Relaxation to finite forces leaves atoms slightly off their sites; tighter tolerances (A) would read P1.
SYMPREC = 0.1

#: Crystal systems and their last space group.
CRYSTAL_SYSTEMS = {
    "triclinic": 2,
    "monoclinic": 15,
    "orthorhombic": 74,
    "tetragonal": 142,
    "trigonal": 167,
    "hexagonal": 194,
    "cubic": 230,
}


def crystal_system_of(space_group: int) -> str:
    """Crystal system of an international space-group number."""
    return next(name for name, last in CRYSTAL_SYSTEMS.items() if space_group <= last)


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Space group, conventional cell, and size of the primitive cell.

    Attributes:
        number: international number of the space group.
        symbol: Hermann-Mauguin symbol, short, without blanks.
        primitive_atoms: atoms in the primitive cell.
        conventional_cell: its rows (A), in the standard setting of the International Tables, (3, 3).
    """

    number: int
    symbol: str
    primitive_atoms: int
    conventional_cell: NDArray[np.float64] = field(compare=False, repr=False)

    @property
    def crystal_system(self) -> str:
        """From ``triclinic`` to ``cubic``."""
        return crystal_system_of(self.number)


def find_symmetry(structure: Structure, symprec: float = SYMPREC) -> Symmetry | None:
    """The symmetry of an ordered crystal; None for degenerate crystals and dummy species, which have none.

    Args:
        structure: an ordered crystal.
        symprec: distance within which atoms count as equivalent (A).
    """
    import moyopy
    from moyopy.interface import MoyoAdapter

    try:
        dataset = moyopy.MoyoDataset(MoyoAdapter.from_structure(structure), symprec=symprec)
    except (ValueError, OverflowError):
        return None
    symbol = moyopy.SpaceGroupType(dataset.number).hm_short.replace(" ", "")
    return Symmetry(dataset.number, symbol, len(dataset.prim_std_cell.numbers), np.array(dataset.std_cell.basis))
