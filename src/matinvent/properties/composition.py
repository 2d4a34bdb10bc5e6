"""Properties that follow from the chemical composition alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each

if TYPE_CHECKING:
    from pymatgen.core import Structure

_HHI_SOURCE = "Gaultois et al., Chem. Mater. 25, 2911 (2013); element table as in pymatgen"


class HerfindahlHirschman:
    """Supply risk: how few countries an element's reserves and production lie in.

    The index of an element is the sum of the squared market shares of the countries (in percent): 10,000 for a
    monopoly, below 1,500 for an unconcentrated market. That of a compound is the mean of its elements' indices
    weighted by mass. Hydrogen, the heavy noble gases and most radioactive elements have no index.
    """

    properties = (
        PropertyInfo(
            name="hhi",
            unit="1",
            description="Herfindahl-Hirschman index of the elements' known reserves, weighted by mass.",
            bounds=(0.0, 10_000.0),
            cost="instant",
            source=_HHI_SOURCE,
        ),
        PropertyInfo(
            name="hhi_production",
            unit="1",
            description="Herfindahl-Hirschman index of the elements' production, weighted by mass.",
            bounds=(0.0, 10_000.0),
            cost="instant",
            source=_HHI_SOURCE,
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Both indices of each crystal; a Failure names the elements without data."""
        return evaluate_each(_hhi, structures)


def _hhi(structure: Structure) -> Values | Failure:
    from pymatgen.analysis.hhi import HHIModel

    table = HHIModel().symbol_hhip_hhir
    composition = structure.composition.element_composition
    unknown = sorted(element.symbol for element in composition if element.symbol not in table)
    if unknown:
        return Failure("missing-data", f"no Herfindahl-Hirschman index for {', '.join(unknown)}")
    shares = {element.symbol: composition.get_wt_fraction(element) for element in composition}
    production, reserve = (sum(share * table[symbol][kind] for symbol, share in shares.items()) for kind in (0, 1))
    return {"hhi": float(reserve), "hhi_production": float(production)}
