"""Diversity filter: a chemical system, or a composition, that is met too often earns less, then nothing.

Source: METHOD of MatInvent (arXiv 2511.03112), after the memory of Blaschke et al., J. Cheminform. 12, 68 (2020). The
paper counts compositions; alloys and mixed anions have endless ones of the same elements.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.config import DiversityConfig
from matinvent.errors import CheckpointError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DiversityFilter:
    """Counts the occurrences of each chemical system, or reduced composition, over a campaign's history.

    Occurrences are counted one crystal after another: the first six of a kind keep their reward
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
        self._meet(self._kind(composition))
        return reward * self.factor(composition)

    def meet_again(self, candidates: Iterable[Candidate]) -> None:
        """Register one occurrence of each kind among the duplicates of an iteration, unless a crystal of it was scored.

        As if one of them had been evaluated again: so do those count that are unique in their batch alone, as in the
        paper.
        """
        candidates = list(candidates)
        scored = {self._kind(c.composition) for c in candidates if c.fate is Fate.SCORED}
        for kind in sorted({self._kind(c.composition) for c in candidates if c.fate is Fate.DUPLICATE} - scored):
            self._meet(kind)

    def _meet(self, kind: str) -> None:
        self._counts[kind] = self._counts.get(kind, 0) + 1

    def factor(self, composition: str) -> float:
        """Share of the reward that a composition keeps at the present count of its kind, in [0, 1].

        With n occurrences: 1 for n <= tolerance, 0 for n >= limit, (limit - n) / (limit - tolerance) between.
        """
        if not self._config.enabled:
            return 1.0
        tolerance, limit = self._config.tolerance, self._config.limit
        left = (limit - self.count(composition)) / (limit - tolerance)
        return min(1.0, max(0.0, left))

    def factors(self, compositions: Iterable[str]) -> NDArray[np.float64]:
        """:meth:`factor` of each composition, (N,)."""
        return np.array([self.factor(composition) for composition in compositions])

    def count(self, composition: str) -> int:
        """How often its kind was met so far."""
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
