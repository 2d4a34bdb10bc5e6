"""The symmetry of a crystal as its atoms have it, not as its cell is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Relaxation to finite forces leaves atoms slightly off their sites; tighter tolerances (A) would read P1.
SYMPREC = 0.1

#: Last space-group number of each crystal system.
_SYSTEMS = (
    (2, "triclinic"), (15, "monoclinic"), (74, "orthorhombic"), (142, "tetragonal"), (167, "trigonal"),
    (194, "hexagonal"), (230, "cubic"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Symmetry:
    """Space group and size of the primitive cell.

    Attributes:
        number: international number of the space group.
        symbol: Hermann-Mauguin symbol, short, without blanks.
        primitive_atoms: atoms in the primitive cell.
    """

    number: int
    symbol: str
    primitive_atoms: int

    @property
    def crystal_system(self) -> str:
        """From ``triclinic`` to ``cubic``."""
        return next(name for last, name in _SYSTEMS if self.number <= last)


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
    return Symmetry(dataset.number, symbol, len(dataset.prim_std_cell.numbers))
