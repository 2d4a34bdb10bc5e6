"""Several scores -> one reward. All scores and all results lie in [0, 1]; the weights sum to 1."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Aggregation = Callable[[Sequence[float], Sequence[float]], float]


def normalise(weights: Sequence[float]) -> list[float]:
    """Scale positive weights so that they sum to 1; without this a reward could exceed 1."""
    largest = max(weights)  # whose quotients have a sum, however large the weights are
    total = math.fsum(weight / largest for weight in weights)
    return [weight / largest / total for weight in weights]


def weighted_mean(scores: Sequence[float], weights: Sequence[float]) -> float:
    """Sum of w_i s_i: a good score makes up for a bad one."""
    return _clip(math.fsum(score * weight for score, weight in zip(scores, weights, strict=True)))


def geometric_mean(scores: Sequence[float], weights: Sequence[float]) -> float:
    """Product of s_i ** w_i: one score of 0 makes the reward 0 (overall desirability of Derringer and Suich)."""
    return _clip(math.prod(score**weight for score, weight in zip(scores, weights, strict=True)))


def product(scores: Sequence[float], weights: Sequence[float]) -> float:
    """Product of s_i ** (n w_i): for equal weights the plain product of the n scores."""
    return _clip(math.prod(score ** (len(scores) * weight) for score, weight in zip(scores, weights, strict=True)))


def minimum(scores: Sequence[float], weights: Sequence[float]) -> float:  # noqa: ARG001 - one signature for all
    """The worst score; weights have no meaning here."""
    return min(scores)


def chebyshev(scores: Sequence[float], weights: Sequence[float]) -> float:
    """1 minus the largest weighted shortfall, relative to the largest weight: the minimum where weights are equal.

    Unlike a mean it reaches every point of a Pareto front, also where the front is not convex (Bowman, in Multiple
    Criteria Decision Making, 76 (1976)).
    """
    largest = max(weights)
    return _clip(1 - max(weight / largest * (1 - score) for score, weight in zip(scores, weights, strict=True)))


AGGREGATIONS: dict[str, Aggregation] = {
    "weighted_mean": weighted_mean,
    "geometric_mean": geometric_mean,
    "product": product,
    "min": minimum,
    "chebyshev": chebyshev,
}


def _clip(value: float) -> float:
    """Undo rounding beyond the ends of [0, 1]."""
    return min(1.0, max(0.0, value))
