"""A property of your own as a plain function: how densely the electrons lie.

matinvent properties crystals/ -p examples/own_function.py:electron_density
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matinvent.properties.functions import crystal_property

if TYPE_CHECKING:
    from pymatgen.core import Structure


@crystal_property(unit="1/A^3", bounds=(0, 10), source="geometry")
def electron_density(structure: Structure) -> float:
    """Electrons per volume."""
    return structure.composition.total_electrons / structure.volume
