"""Diversity filter: a composition met too often earns less, then nothing.

Source: METHOD of MatInvent (arXiv 2511.03112), after the memory of Blaschke et al., J. Cheminform. 12, 68 (2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from matinvent.candidate import Candidate, Fate
from matinvent.config import DiversityConfig
from matinvent.errors import CheckpointError


def proposed_again(candidates: Iterable[Candidate]) -> list[str]:
    """Reduced formulas among the duplicates of an iteration of which no crystal got a reward, each once.

    As if one of them had been evaluated again: so do those count that are unique in their batch alone, as in the paper.
    """
    candidates = list(candidates)
    rewarded = {c.composition for c in candidates if c.fate is Fate.SCORED}
    return sorted({c.composition for c in candidates if c.fate is Fate.DUPLICATE} - rewarded)


class DiversityFilter:
    """Counts the occurrences of each reduced composition, or chemical system, over a campaign's history.

    Occurrences are counted one crystal after another: the first three of a composition keep their reward
    (with the default settings) even when they, and more of the kind, come in the same batch.
    """

    def __init__(self, config: DiversityConfig) -> None:
        self._config = config
        self._counts: dict[str, int] = {}

    def credit(self, composition: str, reward: float) -> float:
        """Register one occurrence and return the reward that is left of it.

        Args:
            composition: reduced formula.
            reward: in [0, 1].

        Raises:
            ValueError: the reward is not a number in [0, 1].
        """
        if not (math.isfinite(reward) and 0 <= reward <= 1):
            raise ValueError(f"reward of {composition} is {reward}; expected a number in [0, 1]")
        self.meet(composition)
        return reward * self.factor(composition)

    def meet(self, composition: str) -> None:
        """Register one occurrence that gets no reward of its own: the crystal was proposed again."""
        kind = self._kind(composition)
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def factor(self, composition: str) -> float:
        """Share of the reward that a composition keeps at its present count, in [0, 1].

        With n occurrences: 1 for n <= tolerance, 0 for n >= limit, (limit - n) / (limit - tolerance) between.
        """
        if not self._config.enabled:
            return 1.0
        tolerance, limit = self._config.tolerance, self._config.limit
        left = (limit - self.count(composition)) / (limit - tolerance)
        return min(1.0, max(0.0, left))

    def count(self, composition: str) -> int:
        """How often the composition, or one of its chemical system, was met so far."""
        return self._counts.get(self._kind(composition), 0)

    def _kind(self, composition: str) -> str:
        """What is counted of a composition."""
        if self._config.by == "composition":
            return composition
        from pymatgen.core import Composition

        return Composition(composition).chemical_system

    def state_dict(self) -> dict[str, Any]:
        """The counts as JSON values."""
        return {"counts": dict(self._counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises:
            CheckpointError: the state is not one of a diversity filter.
        """
        try:
            self._counts = {str(composition): int(count) for composition, count in state["counts"].items()}
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise CheckpointError(f"state of the diversity filter is damaged: {error!r}") from None
