"""A property of your own: the volume per atom.

    PYTHONPATH=examples matinvent run examples/own_property.yaml --preset quick

The campaign file names it as `own_property:VolumePerAtom`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matinvent.properties.evaluator import PropertyInfo, evaluate_each

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.errors import Failure
    from matinvent.properties.evaluator import Values


class VolumePerAtom:
    """Cell volume divided by the number of atoms."""

    properties = (
        PropertyInfo(
            name="volume_per_atom",
            unit="A^3",
            description="Cell volume divided by the number of atoms.",
            bounds=(0.0, float("inf")),
            cost="instant",
            source="geometry",
        ),
    )
    version = "1"
    params: dict[str, Any] = {}  # noqa: RUF012 (never changed)

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """One value per structure; whatever raises becomes the failure of that crystal."""
        return evaluate_each(lambda crystal: {"volume_per_atom": crystal.volume / len(crystal)}, structures)
