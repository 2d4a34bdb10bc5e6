"""Space groups for people: the symbol that a report shows beside a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matinvent.screening.symmetry import SYMPREC, find_symmetry

if TYPE_CHECKING:
    from pymatgen.core import Structure


def space_group(structure: Structure, symprec: float = SYMPREC) -> str:
    """Hermann-Mauguin symbol (short, no blanks) and number, e.g. ``Fm-3m (225)``; empty if undetermined.

    Args:
        structure: an ordered crystal.
        symprec: distance within which atoms count as equivalent (A).
    """
    found = find_symmetry(structure, symprec)
    return "" if found is None else f"{found.symbol} ({found.number})"
