"""Properties that follow from the chemical composition alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from matinvent.elements import element_groups
from matinvent.errors import Failure
from matinvent.properties.evaluator import PropertyInfo, Values, evaluate_each

if TYPE_CHECKING:
    from pymatgen.core import Element, Structure

_HHI_SOURCE = "Gaultois et al., Chem. Mater. 25, 2911 (2013); element table as in pymatgen"
_GAS_CONSTANT = 8.314462618  # J/(mol K)

#: Up to this group of the periodic table the d electrons count as valence electrons.
_LAST_OPEN_D = 12


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


def _share(name: str, what: str, source: str) -> PropertyInfo:
    """A property that is a share of the atoms."""
    return PropertyInfo(name, "1", f"Share of the atoms that are {what}.", (0.0, 1.0), "instant", source)


#: Shares of atoms -> the group of elements.
_GROUPS = {
    "rare_earth_fraction": "rare_earth",
    "precious_fraction": "precious",
    "toxic_fraction": "toxic",
    "radioactive_fraction": "radioactive",
}


class ElementStatistics:
    """Counts, means and spreads over the elements, weighted by atoms."""

    properties = (
        PropertyInfo(
            name="number_of_elements",
            unit="1",
            description="How many elements the crystal has.",
            bounds=(1.0, 118.0),
            cost="instant",
            source="definition",
        ),
        PropertyInfo(
            name="mean_atomic_mass",
            unit="u",
            description="Mean mass of an atom.",
            bounds=(1.0, 300.0),
            cost="instant",
            source="definition; IUPAC standard atomic weights as in pymatgen",
        ),
        PropertyInfo(
            name="mean_atomic_number",
            unit="1",
            description="Mean atomic number of an atom.",
            bounds=(1.0, 118.0),
            cost="instant",
            source="definition",
        ),
        PropertyInfo(
            name="electronegativity_difference",
            unit="1",
            description="Largest minus smallest electronegativity (Pauling) among the elements.",
            bounds=(0.0, 3.5),
            cost="instant",
            source="Pauling scale as in pymatgen",
        ),
        PropertyInfo(
            name="mixing_entropy",
            unit="J/(mol K)",
            description="Ideal configurational entropy of the composition, per mole of atoms.",
            bounds=(0.0, 40.0),
            cost="instant",
            source="Yeh et al., Adv. Eng. Mater. 6, 299 (2004)",
        ),
        PropertyInfo(
            name="size_mismatch",
            unit="%",
            description="Relative standard deviation of the atomic radii (delta of high-entropy alloys).",
            bounds=(0.0, 100.0),
            cost="instant",
            source="Zhang et al., Adv. Eng. Mater. 10, 534 (2008); radii of Slater (1964) as in pymatgen",
        ),
        PropertyInfo(
            name="valence_electron_concentration",
            unit="1",
            description="Mean number of electrons outside noble-gas and filled d and f shells; 3 for f elements.",
            bounds=(0.0, 12.0),
            cost="instant",
            source="Guo et al., J. Appl. Phys. 109, 103505 (2011)",
        ),
        _share("metal_fraction", "metals", "pymatgen's Element.is_metal"),
        _share("rare_earth_fraction", "Sc, Y or lanthanides", "IUPAC Red Book (2005)"),
        _share("precious_fraction", "Ru, Rh, Pd, Ag, Os, Ir, Pt or Au", "definition"),
        _share("toxic_fraction", "Cd, Hg, Pb, As, Be or Tl", "2011/65/EU (RoHS) and (EC) 1272/2008 (CLP)"),
        _share("radioactive_fraction", "of elements without stable isotopes (Bi aside)", "pymatgen's Element"),
    )
    version = "1"
    params: Mapping[str, Any] = MappingProxyType({})

    def evaluate(self, structures: Sequence[Structure]) -> list[Values | Failure]:
        """All of each crystal; where an element lacks a value, a Failure ``missing-data`` names it."""
        return evaluate_each(_statistics, structures)


def _statistics(structure: Structure) -> Values | Failure:
    from pymatgen.core import Element

    amounts = structure.composition.get_el_amt_dict()
    shares = {Element(symbol): amount / len(structure) for symbol, amount in amounts.items()}
    groups = element_groups()
    return {
        "number_of_elements": float(len(shares)),
        "mean_atomic_mass": _mean(shares, {element: float(element.atomic_mass) for element in shares}),
        "mean_atomic_number": _mean(shares, {element: element.Z for element in shares}),
        "electronegativity_difference": _electronegativity_difference(shares),
        "mixing_entropy": abs(_GAS_CONSTANT * sum(share * math.log(share) for share in shares.values())),
        "size_mismatch": _size_mismatch(shares),
        "valence_electron_concentration": _mean(shares, {element: _valence_electrons(element) for element in shares}),
        "metal_fraction": _mean(shares, {element: element.is_metal for element in shares}),
        **{
            name: _mean(shares, {element: element.symbol in groups[group] for element in shares})
            for name, group in _GROUPS.items()
        },
    }


def _mean(shares: Mapping[Element, float], values: Mapping[Element, float]) -> float:
    """Mean over the atoms."""
    return float(sum(share * values[element] for element, share in shares.items()))


def _electronegativity_difference(shares: Mapping[Element, float]) -> float | Failure:
    # The light noble gases have none; the attribute X would warn and give a NaN.
    values = _known("X", "electronegativity", shares)
    return values if isinstance(values, Failure) else max(values.values()) - min(values.values())


def _size_mismatch(shares: Mapping[Element, float]) -> float | Failure:
    radii = _known("Atomic radius", "atomic radius", shares)
    if isinstance(radii, Failure):
        return radii
    mean = _mean(shares, radii)
    return 100 * math.sqrt(_mean(shares, {element: (1 - radius / mean) ** 2 for element, radius in radii.items()}))


def _known(key: str, what: str, elements: Iterable[Element]) -> dict[Element, float] | Failure:
    """A property in pymatgen's data of each element; a Failure names those without."""
    found = {element: element.data.get(key) for element in elements}
    numbers = {element: float(value) for element, value in found.items() if isinstance(value, int | float)}
    unknown = sorted(element.symbol for element in found if element not in numbers)
    return Failure("missing-data", f"no {what} for {', '.join(unknown)}") if unknown else numbers


def _valence_electrons(element: Element) -> int:
    if element.symbol == "He":
        return 2
    if element.is_lanthanoid or element.is_actinoid:
        return 3
    return element.group if element.group <= _LAST_OPEN_D else element.group - 10


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
