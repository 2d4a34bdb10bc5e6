"""Numbers that describe one iteration: rewards, stability, diversity, learning.

Names and order depend only on the configuration, so that every row of metrics.csv has the same columns.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from matinvent.candidate import Candidate, Fate, funnel
from matinvent.rewards.pareto import hypervolume

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.config_screening import ScreeningConfig
    from matinvent.learning.learner import LearningReport


def iteration_metrics(
    config: CampaignConfig,
    candidates: Sequence[Candidate],
    learned: LearningReport | None,
    evaluations: int,
    replay_size: int,
    stage: int = 0,
) -> dict[str, float | None]:
    """All metrics of one iteration, None where nothing could be measured.

    Args:
        config: the campaign's configuration.
        candidates: everything sampled in this iteration.
        learned: what the learner did, None if nothing.
        evaluations: property evaluations spent so far, failed ones included.
        replay_size: crystals in the replay buffer.
        stage: the stage that the iteration belongs to (0-based); ``stage`` among the metrics counts from 1, and
            is there only if the campaign has stages.
    """
    scored = [c for c in candidates if c.fate is Fate.SCORED]
    metrics: dict[str, float | None] = {"stage": stage + 1} if config.stages else {}
    metrics.update(_rewards(scored))
    goals = [[o.property for o in settings.objectives if o.role == "objective"] for settings in config.by_stage()]
    if any(len(names) > 1 for names in goals):
        metrics["hypervolume"] = _hypervolume(scored, goals[stage])
    for name in config.properties():
        metrics[f"{name}_mean"] = _mean(c.properties[name] for c in scored if name in c.properties)
    metrics.update(_screening(config.screening, candidates))
    metrics.update(_diversity(scored))
    metrics.update(_learning(learned))
    metrics["evaluations"] = evaluations
    metrics["evaluations_failed"] = sum(c.fate is Fate.EVAL_FAILED for c in candidates)
    metrics["replay_size"] = replay_size
    return metrics


def _rewards(scored: Sequence[Candidate]) -> dict[str, float | None]:
    rewards = [c.reward for c in scored if c.reward is not None]
    return {
        "reward_mean": _mean(rewards),
        "reward_max": max(rewards, default=None),
        "credit_mean": _mean(c.credit for c in scored if c.credit is not None),
        "hits": sum(c.hit is True for c in scored),
    }


def _hypervolume(scored: Sequence[Candidate], goals: Sequence[str]) -> float | None:
    """Hypervolume of the scores of several goals; None of one."""
    if len(goals) < 2:
        return None
    return hypervolume([[c.scores[goal] for goal in goals] for c in scored]) if scored else 0.0


def _screening(config: ScreeningConfig, candidates: Sequence[Candidate]) -> dict[str, float | None]:
    """Shares along the funnel.

    ``admitted`` are valid and satisfy the constraints. ``sun`` estimates the share of all samples that are admitted,
    stable, unique and novel: that of the admitted times the share of survivors among those whose screening was carried
    through. None unless all of it is switched on.
    """
    counts = funnel(candidates)
    validity = counts["valid"] / counts["sampled"] if candidates else None
    admitted = counts["valid"] - sum(c.fate is Fate.EXCLUDED for c in candidates)
    judged = admitted - sum(c.fate is Fate.GENERATED for c in candidates)
    share = counts["novel"] / judged if judged else 0.0
    above = [c.e_above_hull for c in candidates if c.e_above_hull is not None]
    return {
        "validity": validity,
        "admitted": admitted / len(candidates) if candidates else None,
        "sun": admitted / len(candidates) * share if config.complete and candidates else None,
        "e_above_hull_median": statistics.median(above) if above else None,
        "rmsd_mean": _mean(c.rmsd for c in candidates if c.rmsd is not None),
        "relax_steps_mean": _mean(c.relax_steps for c in candidates if c.relax_steps is not None),
    }


def _diversity(scored: Sequence[Candidate]) -> dict[str, float | None]:
    finals = [c.final for c in scored if c.final is not None]
    return {
        "distinct_compositions": len({c.composition for c in scored}),
        "distinct_chemical_systems": len({c.chemical_system for c in scored}),
        "distinct_elements": len({e.symbol for s in finals for e in s.composition}),
        "single_element_share": _mean(float(len(s.composition) == 1) for s in finals),
    }


def _learning(learned: LearningReport | None) -> dict[str, float | None]:
    names = ("loss", "divergence", "grad_norm")
    return {name: None if learned is None else getattr(learned, name) for name in names}


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.fmean(listed) if listed else None
