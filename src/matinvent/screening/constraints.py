"""Hard constraints: what a crystal must be made of and look like, whatever its properties.

Composition and symmetry cost microseconds to check, so that nothing is spent on a crystal that is not wanted.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING

from matinvent.errors import ConfigError, Failure
from matinvent.screening.symmetry import find_symmetry
from matinvent.screening.validity import check_charges

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config import ConstraintsConfig

#: Elements whose compounds are restricted or avoided for their toxicity: Cd, Hg, Pb (RoHS, Directive 2011/65/EU), As,
#: Be, Tl (acutely toxic or carcinogenic in most compounds, CLP Regulation (EC) 1272/2008).
_TOXIC = frozenset({"As", "Be", "Cd", "Hg", "Pb", "Tl"})

_PRECIOUS = frozenset({"Ru", "Rh", "Pd", "Ag", "Os", "Ir", "Pt", "Au"})


class Constraints:
    """Whether crystals are of the wanted kind.

    Args:
        config: elements, size, symmetry and charges; empty: all pass.

    Raises:
        ConfigError: an element or group of elements is unknown, or nothing can satisfy all constraints.
    """

    def __init__(self, config: ConstraintsConfig) -> None:
        self._config = config
        self._allowed = resolve_elements(config.allowed, "constraints.allowed")
        self._forbidden = resolve_elements(config.forbidden, "constraints.forbidden")
        self._required = [resolve_elements([name], "constraints.required") for name in config.required]
        usable = (self._allowed or resolve_elements(["all"], "constraints")) - self._forbidden
        if not usable:
            raise ConfigError("constraints: every allowed element is forbidden, too")
        for name, choice in zip(config.required, self._required, strict=True):
            if not choice & usable:
                raise ConfigError(f"constraints.required: {name} is not among the allowed elements, or is forbidden")

    def check(self, structure: Structure) -> Failure | None:
        """Why a crystal is not of the wanted kind, or None when it is.

        Kinds: ``elements``, ``smact`` (charges), ``size``, ``symmetry``.
        """
        return (
            self._check_elements({element.symbol for element in structure.composition.elements})
            or (check_charges(structure.composition, alloys=False) if self._config.charge_balanced else None)
            or self.check_symmetry(structure)
        )

    def check_symmetry(self, structure: Structure) -> Failure | None:
        """The part of :meth:`check` whose answer relaxation can change: size of the primitive cell and symmetry."""
        config = self._config
        if not (config.min_atoms or config.max_atoms or config.space_groups or config.crystal_systems):
            return None
        found = find_symmetry(structure)
        if found is None:
            return Failure("symmetry", "neither space group nor primitive cell can be determined")
        if not (config.min_atoms or 0) <= found.primitive_atoms <= (config.max_atoms or found.primitive_atoms):
            return Failure("size", f"{found.primitive_atoms} atoms in the primitive cell")
        if config.space_groups and found.number not in config.space_groups:
            return Failure("symmetry", f"space group {found.symbol} ({found.number})")
        if config.crystal_systems and found.crystal_system not in config.crystal_systems:
            return Failure("symmetry", f"{found.crystal_system} crystal")
        return None

    def _check_elements(self, elements: set[str]) -> Failure | None:
        outside = sorted(elements - self._allowed if self._allowed else set())
        if outside:
            return Failure("elements", f"{', '.join(outside)} not allowed")
        banned = sorted(elements & self._forbidden)
        if banned:
            return Failure("elements", f"{', '.join(banned)} forbidden")
        missing = [
            name for name, choice in zip(self._config.required, self._required, strict=True) if not elements & choice
        ]
        if missing:
            return Failure("elements", f"no {', '.join(missing)}")
        low, high = self._config.min_elements or 1, self._config.max_elements or len(elements)
        return None if low <= len(elements) <= high else Failure("elements", f"{len(elements)} elements")


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
            near = difflib.get_close_matches(name, [*groups, *groups["all"]], n=2, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"groups: {', '.join(groups)}"
            raise ConfigError(f"{where}: '{name}' is neither an element nor a group of elements; {hint}")
    return frozenset(found)
