"""Elements by name: symbols, and groups of them that people speak of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from matinvent.errors import ConfigError
from matinvent.suggestions import nearest

#: Elements whose compounds are restricted or avoided for their toxicity: Cd, Hg, Pb (RoHS, Directive 2011/65/EU), As,
#: Be, Tl (acutely toxic or carcinogenic in most compounds, CLP Regulation (EC) 1272/2008).
_TOXIC = frozenset({"As", "Be", "Cd", "Hg", "Pb", "Tl"})

_PRECIOUS = frozenset({"Ru", "Rh", "Pd", "Ag", "Os", "Ir", "Pt", "Au"})


@cache
def element_groups() -> dict[str, frozenset[str]]:
    """Names that stand for several elements, and their symbols."""
    from pymatgen.core import Element

    def those(attribute: str) -> frozenset[str]:
        return frozenset(element.symbol for element in Element if getattr(element, attribute))

    lanthanides = those("is_lanthanoid")
    return {
        "all": frozenset(element.symbol for element in Element),
        "radioactive": those("is_radioactive"),
        "toxic": _TOXIC,
        "precious": _PRECIOUS,
        "rare_earth": lanthanides | {"Sc", "Y"},
        "lanthanide": lanthanides,
        "actinide": those("is_actinoid"),
        "noble_gas": those("is_noble_gas"),
        "halogen": those("is_halogen"),
        "chalcogen": those("is_chalcogen"),
        "alkali": those("is_alkali"),
        "alkaline_earth": those("is_alkaline"),
        "transition_metal": those("is_transition_metal"),
    }


def resolve_elements(names: Iterable[str], where: str) -> frozenset[str]:
    """Symbols of elements from symbols and names of groups.

    Args:
        names: such as ``Fe`` or ``rare_earth``.
        where: what the user calls the list.

    Raises:
        ConfigError: a name is neither; the nearest ones are told.
    """
    groups = element_groups()
    found: set[str] = set()
    for name in names:
        if name in groups:
            found |= groups[name]
        elif name in groups["all"]:
            found.add(name)
        else:
            hint = nearest(name, [*groups, *groups["all"]], n=2, cutoff=0.5, listed=groups)
            raise ConfigError(f"{where}: '{name}' is neither an element nor a group of elements ({hint})")
    return frozenset(found)
