"""Space groups for people: the symbol that a report shows beside a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Relaxation to finite forces leaves atoms slightly off their sites; tighter tolerances would read P1.
SYMPREC = 0.1


def space_group(structure: Structure, symprec: float = SYMPREC) -> str:
    """Hermann-Mauguin symbol (short, no blanks) and number, e.g. ``Fm-3m (225)``; empty if undetermined.

    Args:
        structure: an ordered crystal.
        symprec: distance within which atoms count as equivalent (A).
    """
    import moyopy
    from moyopy.interface import MoyoAdapter

    try:
        number = moyopy.MoyoDataset(MoyoAdapter.from_structure(structure), symprec=symprec).number
    except (ValueError, OverflowError):  # degenerate crystals, or dummy species, have no meaningful symmetry
        return ""
    return f"{moyopy.SpaceGroupType(number).hm_short.replace(' ', '')} ({number})"
