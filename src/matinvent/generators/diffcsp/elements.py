"""Which elements a sample may still take, orbit after orbit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from matinvent.elements import resolve_elements
from matinvent.errors import ConfigError
from matinvent.generators.diffcsp.crystal import MAX_Z

if TYPE_CHECKING:
    from matinvent.config_goals import ElementsConfig


@dataclass(frozen=True)
class ElementRules:
    """Elements by atomic number.

    Attributes:
        usable: which may occur.
        required: of each of these sets one must occur.
    """

    usable: frozenset[int] = frozenset(range(1, MAX_Z + 1))
    required: tuple[frozenset[int], ...] = ()

    @classmethod
    def of(cls, config: ElementsConfig) -> ElementRules:
        """Rules from symbols and groups of elements.

        Raises:
            ConfigError: a name is unknown, or nothing is left to use.
        """
        allowed = _numbers(config.allowed or ("all",), "generator.elements.allowed")
        usable = allowed - _numbers(config.forbidden, "generator.elements.forbidden")
        if not usable:
            raise ConfigError(f"elements: none is both allowed and known to the prior (up to Z = {MAX_Z})")
        required = {name: _numbers([name], "generator.elements.required") & usable for name in config.required}
        for name, choice in required.items():
            if not choice:
                raise ConfigError(
                    f"elements: {name} is required, but not allowed, or unknown to the prior (beyond Z = {MAX_Z})"
                )
        return cls(usable, tuple(required.values()))

    @property
    def fewest(self) -> int:
        """Distinct elements with which all requirements can surely be met."""
        return max(1, len(self.required))

    @property
    def most(self) -> int:
        """Distinct elements there are."""
        return len(self.usable)

    def forbidden(self, used: torch.Tensor, missing: torch.Tensor) -> torch.Tensor:
        """Elements that an orbit must not take.

        Once no more new elements are missing than requirements are open, new ones must serve these.

        Args:
            used: elements that each crystal has, by atomic number - 1, (B, MAX_Z).
            missing: distinct elements that it still needs, (B, 1).

        Returns:
            (B, MAX_Z).
        """
        forbidden = ~_mask(self.usable, used.device).expand_as(used)
        if not self.required:
            return forbidden
        required = torch.stack([_mask(choice, used.device) for choice in self.required])
        unmet = ~(used[:, None] & required).any(-1)
        serving = (unmet[:, :, None] & required).any(1)
        pressed = (missing <= unmet.sum(1, keepdim=True)) & unmet.any(1, keepdim=True)
        return forbidden | (pressed & ~used & ~serving)


def _numbers(names: Iterable[str], where: str) -> frozenset[int]:
    """Atomic numbers that the generator knows."""
    from pymatgen.core import Element

    return frozenset(z for z in (Element(symbol).Z for symbol in resolve_elements(names, where)) if z <= MAX_Z)


def _mask(numbers: frozenset[int], device: torch.device) -> torch.Tensor:
    mask = torch.zeros(MAX_Z, dtype=torch.bool)
    mask[[z - 1 for z in numbers]] = True
    return mask.to(device)
