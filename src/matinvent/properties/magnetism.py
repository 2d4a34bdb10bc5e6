"""How magnetic a crystal is, from the site moments of CHGNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.potentials import compute_batched, load_chgnet

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.screening.chgnet import Description


class MagneticDensity:
    """Magnetic moment per volume, as if all moments were parallel.

    CHGNet gives the magnitude of each atom's moment and knows no sign. Their sum over the volume is the magnetisation
    of a ferromagnet at saturation; of an antiferromagnet or ferrimagnet it is an upper bound (MnO: 0.2 muB/A^3 where
    the true value is 0). Multiplied by 11.654 it is the magnetisation in tesla.
    """

    properties = (
        PropertyInfo(
            name="magnetic_density",
            unit="muB/A^3",
            description="Sum of CHGNet's site moments over the volume; assumes ferromagnetic order.",
            # Fe65Co35, the strongest magnet there is, has 0.21.
            bounds=(0.0, 0.5),
            cost="instant",
            source="CHGNet 0.3.0: Deng et al., Nat. Mach. Intell. 5, 1031 (2023)",
            needs=("relaxed structure", "potential"),
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({"potential": "chgnet-0.3.0"})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Magnetic density of each crystal (muB/A^3); failure kinds as of CHGNet's ``evaluate``, and ``disordered``."""
        described = compute_batched(load_chgnet().describe, structures)
        return [
            description if isinstance(description, Failure) else _density(description, structure.volume)
            for description, structure in zip(described, structures, strict=True)
        ]


def _density(description: Description, volume: float) -> Values:
    return {"magnetic_density": float(description.moments.sum()) / volume}
