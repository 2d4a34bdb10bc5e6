"""Desirability: one property value -> how much of it is wanted, in [0, 1].

Source: METHOD of MatInvent (arXiv 2511.03112); one-sided and two-sided desirability functions go back to Derringer
and Suich, J. Qual. Technol. 12, 214 (1980), here with linear ramps.
"""

from __future__ import annotations

import math

from matinvent.config import ObjectiveConfig


def desirability(value: float, objective: ObjectiveConfig) -> float:
    """Score of one property value.

    maximize: clip((x - lo) / (hi - lo)); minimize: 1 - that; target T: 1 - clip((|x - T| - lo) / (hi - lo)).

    Args:
        value: the property, in its unit.
        objective: kind, ``lo``, ``hi`` and ``target`` in the same unit.

    Returns:
        The score, in [0, 1].

    Raises:
        ValueError: the value is not finite. An infinite property is a failed evaluation, not a perfect one.
    """
    if not math.isfinite(value):
        raise ValueError(f"{objective.property} is {value}; only finite values have a desirability")
    if objective.kind == "target":
        assert objective.target is not None, "the schema demands a target"
        return 1.0 - _ramp(abs(value - objective.target), objective)
    rising = _ramp(value, objective)
    return rising if objective.kind == "maximize" else 1.0 - rising


def _ramp(x: float, objective: ObjectiveConfig) -> float:
    """0 up to ``lo``, 1 from ``hi`` on, linear between."""
    return min(1.0, max(0.0, (x - objective.lo) / (objective.hi - objective.lo)))
