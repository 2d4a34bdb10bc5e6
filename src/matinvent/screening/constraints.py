"""Hard constraints: what a crystal must be made of and look like, whatever its properties.

Composition and symmetry cost microseconds to check, so that nothing is spent on a crystal that is not wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from matinvent.elements import resolve_elements
from matinvent.errors import ConfigError, Failure
from matinvent.screening.symmetry import crystal_system_of, find_symmetry
from matinvent.screening.validity import check_charges

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from matinvent.config_goals import ConstraintsConfig


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

        systems = {crystal_system_of(number) for number in config.space_groups}
        if systems and config.crystal_systems and not systems & set(config.crystal_systems):
            raise ConfigError(
                f"constraints: none of the space groups {', '.join(map(str, config.space_groups))} is "
                f"{' or '.join(config.crystal_systems)}"
            )

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
