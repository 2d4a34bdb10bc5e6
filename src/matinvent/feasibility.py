"""Feasibility: the chance that a proposal of some kind turns out valid and stable.

The paper's loss knows only crystals that came through the screening, and a screening that goes on until enough have
come through hides what it cost: an agent that drifts into chemistry where one crystal in five is stable earns as much
as one that stays where four are. The expected reward of a *proposal* is its reward times this chance (constrained
Bayesian optimization orders by the same product: Gardner et al., ICML 2014). A random forest on the composition and
the number of atoms learns it from every crystal that was screened so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.surrogate import features_of_composition, grow_forest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from sklearn.ensemble import RandomForestRegressor

    from matinvent.config import FeasibilityConfig

_FAILED = frozenset({Fate.INVALID, Fate.RELAX_FAILED, Fate.UNSTABLE})
#: Never screened, or turned away by the user's wishes: they say nothing.
_UNKNOWN = frozenset({Fate.GENERATED, Fate.EXCLUDED})
#: A chance is a mean over crystals: leaves of single ones would say yes or no.
_SMALLEST_LEAF = 2
#: The best chance is taken to be at least this: nothing is learned in full where all but nothing passes.
_HOPELESS = 0.05


class Feasibility:
    """Remembers what became of proposals, and estimates what will become of others."""

    def __init__(self, config: FeasibilityConfig) -> None:
        self._config = config
        self._rows: list[NDArray[np.float64]] = []
        self._passed: list[float] = []
        self._forest: RandomForestRegressor | None = None

    def remember(self, candidates: Iterable[Candidate]) -> None:
        """Learn from those whose way through the screening is known; crystals of the user's own say nothing."""
        for candidate in candidates:
            if candidate.fate in _UNKNOWN or candidate.source:
                continue
            features = features_of_composition(candidate.structure)
            if features is not None:
                self._rows.append(features)
                self._passed.append(float(candidate.fate not in _FAILED))

    def update(self, rng: np.random.Generator) -> None:
        """Grow the forest of what is known now."""
        enough = len(self._rows) >= self._config.min_screened
        self._forest = (
            grow_forest(self._rows, self._passed, rng, smallest_leaf=_SMALLEST_LEAF)
            if self._config.enabled and enough
            else None
        )

    def chances(self, structures: Sequence[Structure | None]) -> NDArray[np.float64]:
        """Chance of each to be valid and stable, in [0, 1]; 1 while too little is known, or of what has no features."""
        chances = np.ones(len(structures))
        rows = [features_of_composition(structure) for structure in structures]
        described = [i for i, row in enumerate(rows) if row is not None]
        if self._forest is not None and described:
            chances[described] = self._forest.predict(np.stack([row for row in rows if row is not None]))
        return chances

    def shares(self, structures: Sequence[Structure]) -> list[float]:
        """Chances in proportion to the best of these crystals, so that what is easy keeps its reward, in [0, 1]."""
        chances = self.chances(structures)
        return [float(chance) for chance in chances / max(chances.max(initial=0.0), _HOPELESS)]
