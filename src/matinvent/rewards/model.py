"""The reward of a crystal from its properties."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matinvent.config import ObjectiveConfig
from matinvent.errors import ConfigError, Failure
from matinvent.rewards.aggregation import AGGREGATIONS, normalise
from matinvent.rewards.desirability import desirability


@dataclass(frozen=True, slots=True)
class Score:
    """What a crystal is worth.

    Attributes:
        reward: aggregated desirability, in [0, 1].
        scores: property -> its desirability, in [0, 1].
    """

    reward: float
    scores: dict[str, float]


class RewardModel:
    """Scores crystals by a campaign's objectives.

    Args:
        objectives: what is wanted; their weights are normalised here.
        aggregation: ``weighted_mean``, ``geometric_mean``, ``product`` or ``min``.

    Raises:
        ConfigError: there is no objective, the aggregation is unknown, or it cannot use the weights.
    """

    def __init__(self, objectives: Sequence[ObjectiveConfig], aggregation: str) -> None:
        if not objectives:
            raise ConfigError("objectives: at least one is needed")
        if aggregation not in AGGREGATIONS:
            raise ConfigError(f"aggregation: '{aggregation}' is unknown; use one of {', '.join(AGGREGATIONS)}")
        if aggregation == "min" and len({objective.weight for objective in objectives}) > 1:
            raise ConfigError("objectives: weights mean nothing with aggregation 'min'; leave them out")
        self._objectives = tuple(objectives)
        self._weights = normalise([objective.weight for objective in objectives])
        self._aggregate = AGGREGATIONS[aggregation]

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
        for objective in self._objectives:
            name = objective.property
            value = values.get(name)
            if value is None:
                return Failure("missing-property", f"{name} was not evaluated")
            if not math.isfinite(value):
                return Failure("not-finite", f"{name} is {value}")
            scores[name] = desirability(float(value), objective)
        return Score(self._aggregate(list(scores.values()), self._weights), scores)
