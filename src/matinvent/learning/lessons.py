"""What the agent learns from in an iteration: the best of its crystals, and some of the best before them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from matinvent.errors import Failure

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from matinvent.candidate import Candidate
    from matinvent.config import CampaignConfig
    from matinvent.feasibility import Feasibility
    from matinvent.memory.diversity import DiversityFilter
    from matinvent.memory.replay import ReplayBuffer, Replayed
    from matinvent.rewards.model import RewardModel

#: Rewards whose standard deviation is smaller are the same, but for rounding.
_ALIKE = 1e-9


class Lessons:
    """Chooses crystals and the rewards they are learned with, and keeps the good ones for later.

    Args:
        config: of the campaign.
        replay: the best crystals so far.
        diversity: what is left of the reward of a composition that is met often.
        feasibility: chance of a kind of crystal to be stable.
    """

    def __init__(
        self, config: CampaignConfig, replay: ReplayBuffer, diversity: DiversityFilter, feasibility: Feasibility
    ) -> None:
        self._learning = config.learning
        self._replayed = config.replay.sample
        self._replay = replay
        self._diversity = diversity
        self._feasibility = feasibility

    def choose(
        self, scored: Sequence[Candidate], rewards: RewardModel, iteration: int, rng: np.random.Generator
    ) -> tuple[list[Structure], list[float]]:
        """Structures and rewards to learn from: the top share of the scored crystals plus replayed ones.

        Crystals of a kind that is not stable often enough are learned with less reward (see `Feasibility.shares`), and
        so are those which then are worth less than the best lesson (see `_sharpened`).
        """
        kept = self._feasibility.shares([c.final for c in scored])
        ranked = sorted(range(len(scored)), key=lambda i: -(scored[i].credit or 0.0) * kept[i])
        top = [scored[i] for i in ranked[: math.ceil(self._learning.top_fraction * len(ranked))]]
        replayed = self._replay.sample(self._replayed, rng, self._diversity)
        lessons = [(self.form(c), c.credit) for c in top]
        lessons += [(r.structure, self.credit_now(r, rewards, iteration)) for r in replayed]
        usable = [(structure, credit) for structure, credit in lessons if structure is not None and credit is not None]
        structures = [structure for structure, _ in usable]
        shares = self._feasibility.shares(structures)
        return structures, list(self._sharpened(np.array([credit for _, credit in usable]) * shares))

    def _sharpened(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rewards times exp(-sharpness * (best - reward) / spread), with the standard deviation of them as the spread.

        Late in a campaign all lessons are good: rewards of 0.70 and 0.75 teach nearly the same, and the agent stays
        between them. Measured by their spread, the better leads at any stage (advantage-weighted regression, Peng et
        al., arXiv 1910.00177, with the best lesson as the baseline, so that no weight exceeds 1).
        """
        spread = rewards.std() if len(rewards) else 0.0
        if spread <= _ALIKE:
            return rewards
        return np.asarray(rewards * np.exp(-self._learning.sharpness * (rewards.max() - rewards) / spread))

    def credit_now(self, replayed: Replayed, rewards: RewardModel, iteration: int) -> float:
        """What a remembered crystal is worth in this iteration, after the diversity filter."""
        score = rewards.score(replayed.properties) if rewards.moving else Failure("", "")
        if isinstance(score, Failure):
            return replayed.credit
        return rewards.worth(score.scores, iteration) * self._diversity.factor(replayed.composition)

    def keep(self, candidate: Candidate, worth: float, stage: int) -> None:
        """Offer a scored crystal of a stage (0-based) to the replay buffer."""
        structure = self.form(candidate)
        if structure is not None:
            self._replay.add(structure, candidate.composition, worth, candidate.properties, stage)

    def form(self, candidate: Candidate) -> Structure | None:
        """The form of a crystal that the agent learns."""
        return candidate.final if self._learning.learn_from == "relaxed" else candidate.structure
