"""The reward of a crystal from its properties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError, Failure
from matinvent.rewards.aggregation import AGGREGATIONS, normalise
from matinvent.rewards.desirability import desirability
from matinvent.rewards.preferences import Preferences


@dataclass(frozen=True, slots=True)
class Score:
    """What a crystal is worth.

    Attributes:
        reward: aggregated desirability, in [0, 1].
        scores: property -> its desirability, in [0, 1].
        hit: whether it meets every objective that is not a penalty (see ``ObjectiveConfig.hit``), with the confidence
            asked for, and is worth anything at all: penalties may forbid it.
    """

    reward: float
    scores: dict[str, float]
    hit: bool


class RewardModel:
    """Scores crystals by a campaign's objectives.

    Args:
        objectives: what is wanted; the weights of those that are no penalties are normalised here.
        aggregation: one of :data:`~matinvent.rewards.aggregation.AGGREGATIONS`.
        uncertainties: property -> name of its standard deviation among the evaluated values, where it has one.
        preferences: what the learner prefers in each iteration; None: always the weights of the objectives.

    Raises:
        ConfigError: there is no objective, the aggregation is unknown or cannot use the weights, or ``confidence`` is
            asked for where no uncertainty is known.
    """

    def __init__(
        self,
        objectives: Sequence[ObjectiveConfig],
        aggregation: str,
        uncertainties: Mapping[str, str] = MappingProxyType({}),
        preferences: Preferences | None = None,
    ) -> None:
        wanted = [objective for objective in objectives if objective.role == "objective"]
        if not wanted:
            raise ConfigError("objectives: at least one is needed that is not a penalty")
        if aggregation not in AGGREGATIONS:
            raise ConfigError(f"aggregation: '{aggregation}' is unknown; use one of {', '.join(AGGREGATIONS)}")
        if aggregation == "min" and len({objective.weight for objective in wanted}) > 1:
            raise ConfigError(
                "objectives: weights mean nothing with aggregation 'min'; leave them out, or use 'chebyshev'"
            )
        if preferences is not None and len(wanted) < 2:
            raise ConfigError("preferences: weights can only move between two or more objectives that are no penalties")
        if preferences is not None and aggregation == "min":
            raise ConfigError("preferences: weights that move mean nothing with aggregation 'min'; use 'chebyshev'")
        for objective in objectives:
            if objective.confidence and objective.property not in uncertainties:
                raise ConfigError(
                    f"objectives: {objective.property} comes without an uncertainty, so that a confidence of "
                    f"{objective.confidence:g} standard deviations means nothing; leave it out"
                )
        self._objectives = tuple(objectives)
        self._wanted = [objective.property for objective in wanted]
        self._penalties = [objective.property for objective in objectives if objective.role == "penalty"]
        self._weights = normalise([objective.weight for objective in wanted])
        self._aggregate = AGGREGATIONS[aggregation]
        self._uncertainties = dict(uncertainties)
        self._preferences = preferences

    def score(self, values: Mapping[str, float] | Failure) -> Score | Failure:
        """Score one crystal.

        Args:
            values: property -> value in the property's unit, or why there are none.

        Returns:
            The score; a Failure if the evaluation failed or any property of an objective is missing or not finite.
            A property without a value is never scored 0 or 1, and never left out of a mean.
        """
        if isinstance(values, Failure):
            return values
        scores: dict[str, float] = {}
        hit = True
        for objective in self._objectives:
            name = objective.property
            value = _finite(values, name)
            if isinstance(value, Failure):
                return value
            spread = _finite(values, self._uncertainties[name]) if objective.confidence else 0.0
            if isinstance(spread, Failure):
                return spread
            scores[name] = desirability(value, objective, spread)
            sure = objective.confidence * spread
            hit &= objective.role == "penalty" or all(
                objective.within_hit(end, scores[name]) for end in (value - sure, value + sure)
            )
        reward = self._reward(scores, self._weights)
        return Score(reward, scores, hit and reward > 0)

    @property
    def moving(self) -> bool:
        """Whether a crystal's worth depends on the iteration."""
        return self._preferences is not None

    def worth(self, scores: Mapping[str, float], iteration: int) -> float:
        """What a crystal is worth to the learner in an iteration: the reward by the preference that likes it best.

        Without preferences that move it is the reward. The reward itself never depends on the iteration, so that
        rewards of a campaign can be compared.

        Args:
            scores: property -> desirability, as of :meth:`score`; also of a crystal of an earlier iteration.
            iteration: the iteration that learns (0-based).

        Returns:
            In [0, 1].
        """
        if self._preferences is None:
            return self._reward(scores, self._weights)
        preferred = self._preferences.of(iteration, len(self._wanted))
        return max(self._reward(scores, self._emphasised(weights)) for weights in preferred)

    def _emphasised(self, preference: Sequence[float]) -> list[float]:
        """A preference seen through the weights of the objectives."""
        return normalise([a * b for a, b in zip(preference, self._weights, strict=True)])

    def _reward(self, scores: Mapping[str, float], weights: Sequence[float]) -> float:
        """Aggregated scores times the penalties."""
        reward = self._aggregate([scores[name] for name in self._wanted], weights)
        return reward * math.prod(scores[name] for name in self._penalties)


def _finite(values: Mapping[str, float], name: str) -> float | Failure:
    value = values.get(name)
    if value is None:
        return Failure("missing-property", f"{name} was not evaluated")
    if not math.isfinite(value):
        return Failure("not-finite", f"{name} is {value}")
    return float(value)
