"""Properties that follow from the cell alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Density:
    """Mass density."""

    properties = (
        PropertyInfo(
            name="density",
            unit="g/cm^3",
            description="Mass of the cell's atoms over its volume.",
            # Osmium, the densest element, has 22.6; twice that is a collapsed cell.
            bounds=(0.0, 50.0),
            cost="instant",
            source="definition; IUPAC standard atomic weights as in pymatgen",
            needs=("relaxed structure",),
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Density of each crystal (g/cm^3)."""
        return evaluate_each(_density, structures)


def _density(structure: Structure) -> Values | Failure:
    volume = structure.volume
    if not (math.isfinite(volume) and volume > 0):
        return Failure("no-volume", f"the cell volume is {volume} A^3")
    return {"density": float(structure.density)}
