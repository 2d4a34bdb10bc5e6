"""Numbers that say what a campaign achieved, read from its metrics and its ledger."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from types import MappingProxyType
from typing import TYPE_CHECKING

from matinvent.experiments.hacking import HackingReport, judge_record
from matinvent.experiments.records import Evaluated, Record, count_hits, hit_systems, known, rewards, scored
from matinvent.experiments.significance import effect_size, permutation_p
from matinvent.rewards.pareto import hypervolume

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.config_goals import ObjectiveConfig
    from matinvent.experiments.catalogue import Planned

#: Iterations of the running mean that has to meet the goal.
WINDOW = 3

#: What is measured of each campaign: key -> (heading, format).
QUANTITIES = {
    "evaluations": ("evaluations", ".0f"),
    "failed": ("failed evaluations", ".0f"),
    "reward_mean": ("mean reward", ".3f"),
    "reward_first": ("reward, first quarter", ".3f"),
    "reward_last": ("reward, last quarter", ".3f"),
    "effect": ("effect size", ".2f"),
    "p": ("p", ".2g"),
    "hits": ("hits", ".1f"),
    "hits_per_100": ("hits per 100 evaluations", ".1f"),
    "hits_per_100_last": ("hits per 100, last quarter", ".1f"),
    "hit_systems": ("chemical systems with hits", ".0f"),
    "goal_evaluations": ("evaluations to the goal", ".0f"),
    "sun": ("SUN", ".2f"),
    "sun_first": ("SUN, first quarter", ".2f"),
    "sun_last": ("SUN, last quarter", ".2f"),
    "sun_judged": ("SUN of the final agent", ".2f"),
    "validity_first": ("validity, first quarter", ".2f"),
    "validity_last": ("validity, last quarter", ".2f"),
    "validity_judged": ("validity of the final agent", ".2f"),
    "compositions": ("distinct compositions", ".0f"),
    "compositions_equal": ("distinct compositions at equal numbers", ".1f"),
    "systems": ("distinct chemical systems", ".0f"),
    "systems_equal": ("distinct chemical systems at equal numbers", ".1f"),
    "single_element_share": ("share of pure elements", ".3f"),
    "divergence": ("divergence from the prior", ".3g"),
    "hypervolume": ("hypervolume", ".3f"),
    "hypervolume_equal": ("hypervolume at equal numbers", ".3f"),
    "seconds": ("seconds", ".0f"),
}


@dataclass(frozen=True)
class Analysed:
    """A campaign and its numbers.

    Attributes:
        planned: which campaign it is.
        record: what it left behind.
        numbers: key of :data:`QUANTITIES`, or ``PROPERTY_first`` and ``PROPERTY_last`` -> value; None where there
            is none.
        hacking: signs of a hacked reward.
    """

    planned: Planned
    record: Record
    numbers: dict[str, float | None]
    hacking: HackingReport


def analyse(planned: Planned, record: Record, judged: Mapping[str, float] = MappingProxyType({})) -> Analysed:
    """All that is said of one finished campaign; ``judged`` was measured of its final agent (see ``judge.py``)."""
    return Analysed(planned, record, campaign_numbers(record, judged), judge_record(record))


def campaign_numbers(record: Record, judged: Mapping[str, float] = MappingProxyType({})) -> dict[str, float | None]:
    """All numbers of one campaign.

    Quarters are of the evaluations spent, for ``sun`` and ``validity`` of the iterations. A failed evaluation is spent
    but has no reward. ``effect`` is Cohen's d between the rewards of the two quarters, ``p`` is of a permutation test.
    """
    everything = record.scored
    first, last = record.quarters()
    spent = len(record.evaluated)
    sun_first, sun_last = record.metric_quarters("sun")
    validity_first, validity_last = record.metric_quarters("validity")
    volumes = hypervolumes(record.config, record.evaluated)
    numbers: dict[str, float | None] = {
        "evaluations": spent,
        "failed": spent - len(everything),
        "reward_mean": _mean(rewards(everything)),
        "reward_first": _mean(rewards(first)),
        "reward_last": _mean(rewards(last)),
        "effect": effect_size(rewards(first), rewards(last)),
        "p": permutation_p(rewards(first), rewards(last)),
        "hits": count_hits(everything),
        "hits_per_100": 100 * count_hits(everything) / spent if spent else None,
        "hits_per_100_last": 100 * count_hits(record.late) / len(record.late) if spent else None,
        "hit_systems": hit_systems(everything),
        "hits_of_agent": _hits_of_agent(everything),
        "goal_evaluations": evaluations_to_goal(record.config, record.evaluated),
        "sun": known(record.metrics["sun"].mean()) if "sun" in record.metrics else None,
        "sun_first": sun_first,
        "sun_last": sun_last,
        "judged": judged.get("sampled"),
        "judged_size": judged.get("size"),
        "sun_judged": judged.get("sun"),
        "validity_first": validity_first,
        "validity_last": validity_last,
        "validity_judged": judged.get("validity"),
        "compositions": len({crystal.composition for crystal in everything}),
        "systems": len({crystal.elements for crystal in everything}),
        "single_element_share": _mean(float(len(c.elements) == 1) for c in everything),
        "divergence": record.last("divergence"),
        "hypervolume": volumes[-1] if volumes else None,
        "seconds": record.seconds,
    }
    for objective in record.config.objectives:
        numbers[f"{objective.property}_first"] = _property_mean(first, objective.property)
        numbers[f"{objective.property}_last"] = _property_mean(last, objective.property)
    return numbers


def _hits_of_agent(evaluated: Sequence[Evaluated]) -> int | None:
    """Hits that the agent itself proposed, not its prior; None where it was not recorded."""
    if not all(crystal.proposed_by for crystal in evaluated):
        return None
    return count_hits(crystal for crystal in evaluated if crystal.proposed_by == "agent")


def at_equal_numbers(campaigns: Sequence[Analysed]) -> list[Analysed]:
    """Add what grows with the number of crystals, as it is in equally many of them for all campaigns of a task.

    ``compositions_equal`` and ``systems_equal``: distinct ones expected in as many of the scored crystals as the
    campaign with the fewest has (rarefaction). ``hypervolume_equal``: when as many evaluations were spent as by the
    campaign that spent the fewest.
    """
    tasks: dict[str, list[Record]] = {}
    for campaign in campaigns:
        tasks.setdefault(campaign.planned.task, []).append(campaign.record)
    least = {task: min(len(r.scored) for r in own) for task, own in tasks.items()}
    spent = {task: min(len(r.evaluated) for r in own) for task, own in tasks.items()}
    compared = []
    for campaign in campaigns:
        task, crystals = campaign.planned.task, campaign.record.scored
        equal = {
            "compositions_equal": distinct_of([crystal.composition for crystal in crystals], least[task]),
            "systems_equal": distinct_of([crystal.elements for crystal in crystals], least[task]),
            "hypervolume_equal": _hypervolume_when(campaign.record, spent[task]),
        }
        compared.append(replace(campaign, numbers={**campaign.numbers, **equal}))
    return compared


def distinct_of(kinds: Sequence[Hashable], n: int) -> float | None:
    """How many distinct ones are expected among ``n`` drawn without replacement (Hurlbert, Ecology 52, 577 (1971)).

    None for none.
    """
    if not 0 < n <= len(kinds):
        return None
    draws = math.comb(len(kinds), n)
    return math.fsum(1 - math.comb(len(kinds) - count, n) / draws for count in Counter(kinds).values())


def _hypervolume_when(record: Record, spent: int) -> float | None:
    """Hypervolume after the last iteration at which no more evaluations were spent."""
    volumes = hypervolumes(record.config, record.evaluated)
    until = accumulate(len(batch) for batch in by_iteration(record.evaluated))
    there = [volume for volume, total in zip(volumes, until, strict=False) if total <= spent]
    return there[-1] if there else None


def evaluations_to_goal(config: CampaignConfig, evaluated: Sequence[Evaluated]) -> float | None:
    """Evaluations spent when the running mean first meets the goal; None if it never does.

    The running mean is that of each property over the scored crystals of :data:`WINDOW` iterations; it must lie within
    the ``hit`` bounds of every objective, or score 0.9 on average where an objective has none. Penalties do not count.
    It says nothing of single crystals: those around a target may all miss it.
    """
    batches = by_iteration(evaluated)
    goals = [objective for objective in config.objectives if objective.role == "objective"]
    spent = 0
    for number, batch in enumerate(batches):
        spent += len(batch)
        window = scored(c for earlier in batches[max(0, number + 1 - WINDOW) : number + 1] for c in earlier)
        if number + 1 >= WINDOW and window and all(_meets(goal, window) for goal in goals):
            return float(spent)
    return None


def hypervolumes(config: CampaignConfig, evaluated: Sequence[Evaluated]) -> list[float]:
    """Hypervolume of the scores of all crystals so far, after each iteration; empty for a single objective."""
    goals = [objective.property for objective in config.objectives if objective.role == "objective"]
    if len(goals) < 2:
        return []
    points: list[list[float]] = []
    volumes = []
    for batch in by_iteration(evaluated):
        points += [[c.scores[goal] for goal in goals] for c in scored(batch) if set(goals) <= set(c.scores)]
        volumes.append(hypervolume(points) if points else 0.0)
    return volumes


def by_iteration(evaluated: Sequence[Evaluated]) -> list[list[Evaluated]]:
    """Evaluated crystals of each iteration up to the last that evaluated any."""
    batches: list[list[Evaluated]] = [[] for _ in range(max((c.iteration for c in evaluated), default=-1) + 1)]
    for crystal in evaluated:
        batches[crystal.iteration].append(crystal)
    return batches


def _meets(goal: ObjectiveConfig, window: Sequence[Evaluated]) -> bool:
    value = _property_mean(window, goal.property)
    score = _mean(c.scores[goal.property] for c in window if goal.property in c.scores)
    return value is not None and score is not None and goal.within_hit(value, score)


def _property_mean(evaluated: Sequence[Evaluated], name: str) -> float | None:
    return _mean(c.properties[name] for c in evaluated if name in c.properties)


def _mean(values: Iterable[float]) -> float | None:
    listed = list(values)
    return statistics.fmean(listed) if listed else None
