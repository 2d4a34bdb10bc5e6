"""Feasibility: the chance that a crystal of some kind is stable.

The paper's loss knows only crystals that came through the screening, and a screening that goes on until enough have
come through hides what it cost: crystals of a kind of which one in five is stable count as much as those of which four
are, and an agent drifts to wherever rewards are. The expected reward of a *proposal* is its reward times the
probability that it is feasible, as in constrained Bayesian optimization (Gardner et al., ICML 2014, for the expected
improvement). A random forest on the composition and the number of atoms learns this probability from every crystal
that was judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.surrogate import Growth, features_of_composition, grow_forest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from sklearn.ensemble import RandomForestRegressor

    from matinvent.config import FeasibilityConfig

_UNSTABLE = frozenset({Fate.RELAX_FAILED, Fate.UNSTABLE})
#: Never judged. Invalid ones do not count as unstable: all proposals are checked for validity, and only some for
#: stability, so that kinds which are never screened would be known by their failures alone.
_UNKNOWN = frozenset({Fate.GENERATED, Fate.EXCLUDED, Fate.INVALID})
#: As good on finished campaigns as the forest of the reward (area under the ROC curve 0.7 to 0.8) at 0.4 of its time.
_GROWTH = Growth(trees=100, split="sqrt", leaf=3)
#: The best chance is taken to be at least this: nothing is learned in full where next to nothing is stable.
_HOPELESS = 0.05


class Feasibility:
    """Remembers what became of valid proposals, and estimates what will become of others."""

    def __init__(self, config: FeasibilityConfig) -> None:
        self._config = config
        self._rows: list[NDArray[np.float64]] = []
        self._stable: list[float] = []
        self._forest: RandomForestRegressor | None = None

    def remember(self, candidates: Iterable[Candidate]) -> None:
        """Learn from those that were judged; crystals of the user's own say nothing about proposals."""
        for candidate in candidates if self._config.enabled else ():
            if candidate.fate in _UNKNOWN or candidate.source:
                continue
            features = features_of_composition(candidate.structure)
            if features is not None:
                self._rows.append(features)
                self._stable.append(float(candidate.fate not in _UNSTABLE))

    def update(self, rng: np.random.Generator) -> None:
        """Grow the forest of what is known now."""
        enough = self._config.enabled and len(self._rows) >= self._config.min_screened
        self._forest = grow_forest(self._rows, self._stable, _GROWTH, rng) if enough else None

    def chances(self, structures: Sequence[Structure | None]) -> NDArray[np.float64]:
        """Chance of each valid crystal to be stable, (N,), in [0, 1].

        NaN for what cannot be described, and for all while too little is known.
        """
        chances = np.full(len(structures), np.nan)
        rows = [features_of_composition(structure) for structure in structures]
        described = [i for i, row in enumerate(rows) if row is not None]
        if self._forest is not None and described:
            chances[described] = self._forest.predict(np.stack([row for row in rows if row is not None]))
        return chances

    def shares(self, structures: Sequence[Structure | None]) -> NDArray[np.float64]:
        """What each keeps of its reward, (N,), in [0, 1]: its chance in proportion to ``enough``, all from there on.

        Where even the best of these crystals has less, its chance is taken for enough: differences between kinds of
        crystals count, not how hard the whole task is. Where the chance is not known all is kept.
        """
        chances = self.chances(structures)
        enough = min(max(np.nanmax(chances, initial=0.0), _HOPELESS), self._config.enough)
        return np.minimum(np.nan_to_num(chances / enough, nan=1.0), 1.0)
