"""How stable a crystal is, from the energy that a potential gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values
from matinvent.properties.potentials import compute_batched, load_potential
from matinvent.screening.stability import IMPLAUSIBLE

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

    from matinvent.screening.reference import ReferenceSet
    from matinvent.screening.stability import Hull

_SOURCE = "CHGNet 0.3.0: Deng et al., Nat. Mach. Intell. 5, 1031 (2023); reference: Materials Project structures"


class Energetics:
    """Formation energy and energy above the hull, of the crystal as it is.

    Both compare the potential's energy with energies of the same potential: those of the elements' most stable known
    phases, and of the most stable mixture of known phases with the crystal's composition.

    Args:
        potential: gives the energy (see :func:`~matinvent.properties.potentials.load_potential`).
        reference: reference set with energies of that potential: ``mp`` (shipped, CHGNet) or a file.

    Raises:
        ConfigError: there is no such potential, or the reference set is of another one.
        InputError: the reference set cannot be read.
    """

    properties = (
        PropertyInfo(
            name="formation_energy",
            unit="eV/atom",
            description="Energy of formation from the elements' most stable phases, at 0 K.",
            bounds=(-6.0, 10.0),
            cost="instant",
            source=_SOURCE,
            needs=("relaxed structure", "potential"),
        ),
        PropertyInfo(
            name="energy_above_hull",
            unit="eV/atom",
            description="Energy above the most stable mixture of known phases; negative: more stable than all of them.",
            bounds=(IMPLAUSIBLE, 10.0),
            cost="instant",
            source=_SOURCE,
            needs=("relaxed structure", "potential"),
        ),
    )
    version = "1"

    def __init__(self, potential: str = "chgnet", reference: str = "mp") -> None:
        self._potential = load_potential(potential)
        known = _reference(reference)
        known.require_scale(self._potential.potential, reference)
        self._hull = known.hull
        self.params: Mapping[str, Any] = {"potential": self._potential.potential, "reference": reference}

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Both energies of each crystal (eV/atom).

        Failure kinds: those of the potential, ``disordered``, and ``missing-reference`` where an element or what the
        crystal competes with has no reference energy.
        """
        evaluated = compute_batched(self._potential.evaluate, structures)
        return [
            outcome if isinstance(outcome, Failure) else _energies(self._hull, structure.composition, outcome.energy)
            for outcome, structure in zip(evaluated, structures, strict=True)
        ]


def _energies(hull: Hull, composition: Composition, energy: float) -> Values | Failure:
    """Place a cell of some composition and energy (eV) relative to the elements and to the hull."""
    from pymatgen.core import Composition

    per_atom = energy / composition.num_atoms
    above = hull.energy_above_hull(composition, per_atom)
    if isinstance(above, Failure):
        return above
    alone = 0.0
    for element, fraction in composition.fractional_composition.items():
        reference = hull.hull_energy(Composition({element: 1}))
        if isinstance(reference, Failure):
            return reference
        alone += fraction * reference
    return {"formation_energy": per_atom - alone, "energy_above_hull": above.e_above_hull}


@cache
def _reference(source: str) -> ReferenceSet:
    """A reference set, opened once per process."""
    from matinvent.screening.reference import ReferenceSet

    return ReferenceSet.load(source)
