"""Several goals without a verdict: which crystals no other beats in everything, and how much ground they cover.

All scores are to be maximised; those of :mod:`~matinvent.rewards.desirability` lie in [0, 1], where the hypervolume
is the share of all conceivable compromises that some crystal matches or beats (Zitzler and Thiele, IEEE Trans. Evol.
Comput. 3, 257 (1999)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def pareto_front(scores: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other dominates.

    A point dominates another when it is nowhere worse and somewhere better. Of equal points all are in the front.

    Args:
        scores: larger is better, shape (n, d), finite.

    Returns:
        Membership, shape (n,).

    Raises:
        ValueError: the shape is another, or a score is not finite.
    """
    points = _checked(scores)
    inside = np.ones(len(points), dtype=bool)
    for index, point in enumerate(points):
        # A point that is dominated by one outside of the front is dominated by one inside as well.
        others = points[inside]
        inside[index] = not ((others >= point).all(axis=1) & (others > point).any(axis=1)).any()
    return inside


def hypervolume(scores: ArrayLike) -> float:
    """Volume of what lies between the origin and the front; exact, by slicing along the last score.

    Args:
        scores: larger is better, shape (n, d), finite; what is below 0 counts as 0.

    Returns:
        In [0, 1] for scores in [0, 1]; 0 for no points.

    Raises:
        ValueError: as of :func:`pareto_front`.
    """
    points = np.maximum(_checked(scores), 0.0)
    return _volume(points[pareto_front(points)])


def _volume(points: NDArray[np.float64]) -> float:
    if len(points) == 0:
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    ordered = points[np.argsort(-points[:, -1], kind="stable")]
    heights = ordered[:, -1] - np.append(ordered[1:, -1], 0.0)
    volume = 0.0
    for count, height in enumerate(heights, start=1):
        if height > 0:
            # In this slice stand the highest points, seen without their last coordinate.
            base = ordered[:count, :-1]
            volume += float(height) * _volume(base[pareto_front(base)])
    return volume


def _checked(scores: ArrayLike) -> NDArray[np.float64]:
    points = np.asarray(scores, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] == 0:
        raise ValueError(f"scores must have the shape (points, objectives), not {points.shape}")
    if not np.isfinite(points).all():
        raise ValueError("scores must be finite; what failed has no place in a front")
    return points
