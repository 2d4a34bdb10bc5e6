"""Desirability: one property value -> how much of it is wanted, in [0, 1].

Source: METHOD of MatInvent (arXiv 2511.03112); one-sided and two-sided desirability functions go back to Derringer
and Suich, J. Qual. Technol. 12, 214 (1980), here with ramps to a power as theirs, sigmoids or
steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError

if TYPE_CHECKING:
    from matinvent.properties.evaluator import PropertyInfo


def desirability(value: float, objective: ObjectiveConfig, uncertainty: float = 0.0) -> float:
    """Score of one property value.

    With the ramp r(x) = clip((x - lo) / (hi - lo)): maximize r(x); minimize 1 - r(x); target and range 1 - r(d), d
    being the distance from the target or the range; all to the power ``exponent``. ``shape`` replaces the ramp by a
    sigmoid or a step.

    Args:
        value: the property, in its unit.
        objective: kind, ramp and shape in the same unit.
        uncertainty: standard deviation of the value; the score is the worst within ``objective.confidence`` of these.

    Returns:
        The score, in [0, 1].

    Raises:
        ValueError: value or uncertainty are not finite. An infinite property is a failed evaluation, not a perfect one.
    """
    if not (math.isfinite(value) and math.isfinite(uncertainty)):
        raise ValueError(f"{objective.property} is {value} +- {uncertainty}; only finite values have a desirability")
    reach = objective.confidence * abs(uncertainty)
    # Every desirability rises to one maximum and falls from it, so that the worst of an interval is at one of its ends.
    return min(_score(value - reach, objective), _score(value + reach, objective))


def refuse_pointless(objective: ObjectiveConfig, info: PropertyInfo) -> None:
    """Refuse an objective that gives every possible value the same score, as one in a wrong unit does.

    Args:
        objective: what is wanted of a property.
        info: that property, with its bounds.

    Raises:
        ConfigError: no value within the bounds scores more than 0, or all score 1.
    """
    low, high = info.bounds
    best = min(max(objective.ideal()[0], low), high)
    if _score(best, objective) == 0:
        said = "no possible value scores above 0"
    elif min(_score(low, objective), _score(high, objective)) == 1:
        said = "every possible value scores 1"
    else:
        return
    raise ConfigError(
        f"objectives: {objective.property} lies between {low:g} and {high:g} {info.unit}, so that {said}; "
        f"check lo ({objective.lo:g}), hi ({objective.hi:g}) and the unit"
    )


def _score(value: float, objective: ObjectiveConfig) -> float:
    if objective.kind == "maximize":
        return _shaped(_position(value, objective), objective)
    if objective.kind == "minimize":
        return _shaped(1 - _position(value, objective), objective)
    low, high = objective.wanted()
    return _shaped(1 - _position(max(low - value, value - high, 0.0), objective), objective)


def _position(x: float, objective: ObjectiveConfig) -> float:
    """Where on the ramp: 0 at ``lo``, 1 at ``hi``, beyond them less and more."""
    return (x - objective.lo) / (objective.hi - objective.lo)


def _shaped(position: float, objective: ObjectiveConfig) -> float:
    """The score at a position along the way from worthless (0) to perfect (1)."""
    if objective.shape == "sigmoid":
        # tanh neither overflows nor leaves [-1, 1]
        return 0.5 * (1 + math.tanh(0.5 * objective.steepness * (position - 0.5)))
    if objective.shape == "step":
        return float(position >= 1)
    return float(min(1.0, max(0.0, position)) ** objective.exponent)
