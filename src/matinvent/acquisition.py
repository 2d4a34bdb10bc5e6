"""Acquisition: which proposals are worth screening and evaluating first.

The agent proposes more crystals than are evaluated. Instead of taking them as they come, a surrogate that has seen all
evaluations so far (a random forest, Breiman, Mach. Learn. 45, 5 (2001), on the composition or the cell) predicts a
reward with its uncertainty, and the screening begins with the largest upper confidence bound (Srinivas et al., ICML
2010) times the chance to be stable (see :mod:`~matinvent.feasibility`). It takes about a second, no part in the
reward, and is not in the paper, where evaluated crystals are drawn at random.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from matinvent.candidate import Candidate, Fate
from matinvent.surrogate import Growth, features_of_cell, features_with_volume, grow_forest

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure
    from sklearn.ensemble import RandomForestRegressor

    from matinvent.config import AcquisitionConfig

#: What properties that a stage (0-based) evaluated are worth now; None where they do not say.
RewardOf = Callable[[Mapping[str, float], int], float | None]

_GROWTH = Growth(trees=150, split=0.3)
#: For one in so many wanted evaluations proposals are screened whatever the surrogate expects, for it may be wrong.
_SCREENED = 4
#: One in so many is made if there are survivors for it: what is dear, the screening, is done.
_EVALUATED = 2


@dataclass(frozen=True, slots=True)
class _Lesson:
    """An evaluated crystal: its features, what came out (nothing where it failed), and the stage that asked."""

    features: NDArray[np.float64]
    properties: Mapping[str, float]
    failed: bool
    stage: int


class Acquisition:
    """Remembers what was evaluated, and puts proposals in order.

    Args:
        config: acquisition settings.
        reward_of: rewards are computed anew at each use, so that they follow a goal that changes.
    """

    def __init__(self, config: AcquisitionConfig, reward_of: RewardOf) -> None:
        self._config = config
        self._reward_of = reward_of
        self._lessons: list[_Lesson] = []
        self._forest: RandomForestRegressor | None = None

    def remember(self, candidates: Iterable[Candidate], stage: int) -> None:
        """Learn from the evaluated ones among candidates of a stage (0-based)."""
        for candidate in candidates:
            if candidate.fate not in {Fate.SCORED, Fate.EVAL_FAILED}:
                continue
            features = self._features(candidate.final)
            if features is not None:
                failed = candidate.fate is Fate.EVAL_FAILED
                self._lessons.append(_Lesson(features, dict(candidate.properties), failed, stage))

    def from_prior(self, proposals: int) -> int:
        """How many of the proposals the frozen prior makes."""
        return round(self._config.from_prior * proposals) if self._config.enabled else 0

    def survivors(self, wanted: int) -> int:
        """How many crystals should survive the screening for so many to be evaluated.

        No more than these as long as there is no surrogate that could choose.
        """
        return wanted if self._forest is None else math.ceil(self._config.surplus * wanted)

    def order(
        self, candidates: Sequence[Candidate], shares: NDArray[np.float64], wanted: int, rng: np.random.Generator
    ) -> tuple[list[Candidate], list[Candidate]]:
        """The most promising candidates first; apart from them those of which too little is expected (see `choose`).

        Which are promising is a matter of the upper bound of the reward alone; in both parts the order is that of the
        bound times the share that feasibility and the diversity filter leave, and of proposals of one chemical system
        each counts ``repeat`` times as much as the one before it. All are promising, and as they are, while too few
        have been evaluated. They are seen as they are: drawn, or after the screening relaxed. Those that cannot be
        described come last.

        Args:
            candidates: proposals.
            shares: what its chance to be stable (see `Feasibility.shares`) and the diversity filter leave of the reward
                of each, (N,).
            wanted: evaluations per iteration.
            rng: draws the surrogate.
        """
        self._forest = self._grown(rng)
        bounds = self._bounds(candidates)
        enough = self._enough(wanted)
        expected, known = bounds.copy(), np.isfinite(bounds)
        expected[known] *= shares[known]
        expected *= self._config.repeat ** _precedents(candidates, np.lexsort((-bounds, -expected)))
        ranked = np.lexsort((-bounds, -expected))  # stable: equals stay in order
        return (
            [candidates[i] for i in ranked if bounds[i] >= enough],
            [candidates[i] for i in ranked if bounds[i] < enough],
        )

    def fewest(self, wanted: int) -> int:
        """For how many survivors the screening goes on, whatever the surrogate expects."""
        return math.ceil(wanted / _SCREENED)

    def choose(
        self, survivors: Sequence[Candidate], wanted: int, rng: np.random.Generator
    ) -> tuple[list[Candidate], list[Candidate]]:
        """Which survivors of the screening are evaluated, and which are not.

        The most promising ``wanted`` by the surrogate that put them in order, without those of which it expects too
        little: an upper bound below ``promise`` times the mean of the ``wanted`` best rewards so far. Half of
        ``wanted`` are evaluated whatever it expects, if so many survived. Off: any, drawn by ``rng``.

        The bound alone counts: the order of the screening has spread the survivors over chemical systems, and to do it
        again here gained nothing (docs/results/learning.md).
        """
        if not self._config.enabled:
            drawn = sorted(rng.choice(len(survivors), min(wanted, len(survivors)), replace=False))
        else:
            bounds = self._bounds(survivors)
            enough = self._enough(wanted)
            ranked = np.argsort(-bounds, kind="stable")[:wanted]
            half = math.ceil(wanted / _EVALUATED)
            drawn = [i for rank, i in enumerate(ranked) if bounds[i] >= enough or rank < half]
        return [survivors[i] for i in drawn], [c for i, c in enumerate(survivors) if i not in set(drawn)]

    def _bounds(self, candidates: Sequence[Candidate]) -> NDArray[np.float64]:
        """Upper confidence bounds of rewards, (N,): infinite before enough is known, -infinite without features."""
        if self._forest is None:
            return np.full(len(candidates), np.inf)
        features = [self._features(candidate.final) for candidate in candidates]
        described = [i for i, row in enumerate(features) if row is not None]
        bounds = np.full(len(candidates), -np.inf)
        if described:
            rows = np.stack([row for row in features if row is not None])
            votes = np.stack([tree.predict(rows) for tree in self._forest.estimators_])
            bounds[described] = votes.mean(axis=0) + self._config.exploration * votes.std(axis=0)
        return bounds

    def _enough(self, wanted: int) -> float:
        """The upper bound from which a crystal is worth an evaluation."""
        rewards = sorted(
            (reward for lesson in self._lessons if (reward := self._reward(lesson)) is not None), reverse=True
        )
        return self._config.promise * float(np.mean(rewards[:wanted])) if rewards else 0.0

    def _grown(self, rng: np.random.Generator) -> RandomForestRegressor | None:
        """The surrogate of all that is known now; None while that is too little."""
        if not self._config.enabled or len(self._lessons) < self._config.min_evaluations:
            return None
        known = [(lesson.features, self._reward(lesson)) for lesson in self._lessons]
        usable = [(row, reward) for row, reward in known if reward is not None]
        if not usable:
            return None
        return grow_forest([row for row, _ in usable], [reward for _, reward in usable], _GROWTH, rng)

    def _features(self, crystal: Structure | None) -> NDArray[np.float64] | None:
        """What the surrogate sees of a crystal; None of what cannot be described."""
        return features_of_cell(crystal) if self._config.features == "cell" else features_with_volume(crystal)

    def _reward(self, lesson: _Lesson) -> float | None:
        """What a crystal is worth now: nothing where its evaluation failed."""
        return 0.0 if lesson.failed else self._reward_of(lesson.properties, lesson.stage)


def _precedents(candidates: Sequence[Candidate], ranked: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many candidates of the same chemical system each has before it in an order, (N,)."""
    met: Counter[str] = Counter()
    before = np.zeros(len(candidates), dtype=np.int64)
    for i in ranked:
        system = candidates[i].chemical_system
        before[i] = met[system]
        met[system] += 1
    return before
