"""What a crystal's elements cost and how much of them there is in the Earth's crust."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.elements import resolve_elements
from matinvent.errors import ConfigError, Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Values of the Handbook where SMACT's copy of its table errs (S 3.5, Nb 220, Lu 80) or lacks one (Ru); mg/kg.
_CORRECTED = {"S": 350.0, "Nb": 20.0, "Lu": 0.8, "Ru": 0.001}

#: Uranium; of heavier elements there is nothing to speak of.
_HEAVIEST = 92


class Price:
    """Price of the elements that a crystal is made of, weighted by mass; not that of the compound.

    The table is pymatgen's, as the paper's: prices of the pure elements, most of September 2013 from Wolfram Alpha and
    Wikipedia, the noble gases, hydrogen and technetium of 2020. They differ from the market's of any other day,
    by several times for some (Li, Co, rare earths), and price an element that is used as a compound (K, Na, F, P)
    as the laboratory's pure substance. Give your own where they matter.

    Args:
        prices: element -> USD/kg, in place of the table's value.

    Raises:
        ConfigError: ``prices`` names what is no element, or a price is no positive number.
    """

    properties = (
        PropertyInfo(
            name="price",
            unit="USD/kg",
            description="Price of the pure elements, weighted by mass.",
            bounds=(0.0, 1e6),
            cost="instant",
            source="element prices of pymatgen's CostDBElements (Wolfram Alpha and Wikipedia, mostly September 2013)",
        ),
    )
    version = "1"

    def __init__(self, prices: Mapping[str, float] | None = None) -> None:
        own = dict(prices or {})
        for name, price in own.items():
            if resolve_elements([name], "prices") != {name}:
                raise ConfigError(f"prices: '{name}' is a group of elements; give one element each")
            if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < math.inf:
                raise ConfigError(f"prices: {name} costs {price!r}; give a number of USD/kg")
        self.params: Mapping[str, Any] = {"prices": {name: float(price) for name, price in sorted(own.items())}}

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Price of each crystal's elements (USD/kg); a Failure ``missing-data`` names the elements without a price."""
        return evaluate_each(self._price, structures)

    def _price(self, structure: Structure) -> Values | Failure:
        mean = _mass_weighted(structure, {**_prices(), **self.params["prices"]}, "price")
        return mean if isinstance(mean, Failure) else {"price": mean}


class CrustalAbundance:
    """How much of a crystal's elements there is in the continental crust, weighted by mass.

    The arithmetic mean, as the paper's; its logarithm is the logarithm of the mean, so that a common element hides a
    rare one: SiO2 has 5.6 and an oxide of gold still 4.7. For scarcity see also ``hhi`` and ``price``.
    """

    properties = (
        PropertyInfo(
            name="abundance",
            unit="ppm",
            description="Abundance of the elements in the Earth's crust (mg/kg), weighted by mass.",
            bounds=(0.0, 1e6),
            cost="instant",
            source="CRC Handbook of Chemistry and Physics, 92nd ed. (2011), through SMACT, four values corrected",
        ),
        PropertyInfo(
            name="log_abundance",
            unit="log10(ppm)",
            description="Decimal logarithm of the elements' mean abundance in the Earth's crust.",
            bounds=(-10.0, 6.0),
            cost="instant",
            source="CRC Handbook of Chemistry and Physics, 92nd ed. (2011), through SMACT, four values corrected",
        ),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """Abundance of each crystal's elements; a Failure ``missing-data`` names the elements without one."""
        return evaluate_each(_abundance, structures)


def _abundance(structure: Structure) -> Values | Failure:
    mean = _mass_weighted(structure, _abundances(), "crustal abundance")
    return mean if isinstance(mean, Failure) else {"abundance": mean, "log_abundance": math.log10(mean)}


def _mass_weighted(structure: Structure, table: Mapping[str, float], what: str) -> float | Failure:
    """Mean of a property of the elements over a crystal's mass."""
    composition = structure.composition.element_composition
    unknown = sorted(element.symbol for element in composition if element.symbol not in table)
    if unknown:
        return Failure("missing-data", f"no {what} for {', '.join(unknown)}")
    return float(sum(composition.get_wt_fraction(element) * table[element.symbol] for element in composition))


@cache
def _prices() -> Mapping[str, float]:
    """Price of each pure element (USD/kg); the cheapest where there are several."""
    from pymatgen.analysis.cost import CostDBElements
    from pymatgen.core import Element
    from scipy.constants import N_A, atomic_mass

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No Pauling electronegativity")  # of the noble gases; not needed
        database = CostDBElements()
    found: dict[str, float] = {}
    for element in Element:
        # Entries hold the price of a mole of atoms.
        entries = [float(entry.energy_per_atom) for entry in database.get_entries([element])]
        if entries:
            found[element.symbol] = min(entries) / (float(element.atomic_mass) * atomic_mass * N_A)
    return MappingProxyType(found)


@cache
def _abundances() -> Mapping[str, float]:
    """Mass of each element in the continental crust (mg/kg)."""
    from pymatgen.core import Element
    from smact.data_loader import lookup_element_data

    found: dict[str, float] = {}
    for element in Element:
        row = lookup_element_data(element.symbol) if element.Z <= _HEAVIEST else None
        if row is not None and row["Abundance"]:
            found[element.symbol] = float(row["Abundance"])
    return MappingProxyType({**found, **_CORRECTED})
