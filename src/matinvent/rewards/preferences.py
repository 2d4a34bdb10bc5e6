"""Preferences: weights of the objectives that move from iteration to iteration, so that a whole front is found.

Fixed weights lead a campaign to one compromise. Here every iteration has preferences of its own. They are spread
evenly over all compromises by an additive recurrence (Kronecker sequence with the generalised golden ratio), which
leaves no part of the front out for long. With the Chebyshev aggregation each has another point of the front as its
optimum, also where the front is not convex (Bowman, in Multiple Criteria Decision Making, 76 (1976)). Treating many
goals as many weighted sums is called decomposition (Zhang and Li, IEEE Trans. Evol. Comput. 11, 712 (2007)).
"""

from __future__ import annotations

import numpy as np


class Preferences:
    """Weight vectors by iteration; without state, so that a resumed campaign has the same.

    Args:
        seed: of the campaign; shifts the sequence.
        per_iteration: preferences of one iteration, at least 1.

    Raises:
        ValueError: there are none.
    """

    def __init__(self, seed: int, per_iteration: int = 4) -> None:
        if per_iteration < 1:
            raise ValueError(f"an iteration has at least one preference, not {per_iteration}")
        self._seed = seed
        self._per_iteration = per_iteration

    def of(self, iteration: int, goals: int) -> list[list[float]]:
        """The preferences of an iteration.

        Args:
            iteration: counted from 0.
            goals: number of objectives.

        Returns:
            Weight vectors, shape (per_iteration, goals), non-negative, each of sum 1.
        """
        steps = iteration * self._per_iteration + np.arange(self._per_iteration)
        start = np.random.default_rng(self._seed).random(goals - 1)
        strides = _golden_ratio(goals - 1) ** -np.arange(1.0, goals)
        # The gaps that uniform points leave in [0, 1] are uniform on the simplex.
        cuts = np.sort((start + np.outer(steps, strides)) % 1, axis=1)
        gaps: list[list[float]] = np.diff(cuts, prepend=0.0, append=1.0, axis=1).tolist()
        return gaps


def _golden_ratio(dimension: int) -> float:
    """The positive root of x ** (d + 1) = x + 1: the golden ratio for d = 1, the plastic number for d = 2."""
    root = 2.0
    for _ in range(64):  # a contraction: far more steps than it needs
        root = (1 + root) ** (1 / (dimension + 1))
    return root
