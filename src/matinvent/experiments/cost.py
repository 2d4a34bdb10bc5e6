"""What an experiment will cost, said before it starts.

Between what two machines needed with the shipped prior and CHGNet, both two cores of an AMD EPYC, one with AVX-512 (1.6
times as fast as said here) and one without (1.6 times as slow); another machine, potential or property engine of one's
own is not known here, so the sum is an estimate to within a factor of two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from matinvent.experiments.catalogue import Planned

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig

#: Cores of the machines that the numbers below were measured on.
_MEASURED_CORES = 2
#: Seconds with both cores: per sampled crystal and denoising step, per relaxed crystal, per (crystal, noise level).
_SAMPLE_STEP, _RELAX, _PAIR, _PAIR_PAPER = 0.0035, 0.25, 0.004, 0.008
#: Starting and ending a campaign (s).
_START = 10.0
#: Denoising steps of the shipped prior, and crystals relaxed for each that is evaluated.
_STEPS, _RELAXED_PER_SURVIVOR = 40, 2.7
#: Seconds of one core per evaluated crystal: what is not named, and means on the faster machine.
_CHEAP = 0.01
_EVALUATION = {
    "bulk_modulus": 1.5, "bulk_modulus_vrh": 1.0, "shear_modulus": 1.0, "young_modulus": 1.0, "pugh_ratio": 1.0,
    "poisson_ratio": 1.0, "heat_capacity": 1.5, "dielectric": 0.1, "figure_of_merit": 0.1,
}  # fmt: skip


def estimated_seconds(plan: Sequence[Planned], parallel: int = 1, cores: int = _MEASURED_CORES) -> float:
    """Wall time of campaigns that run ``parallel`` at a time, each on its share of the cores.

    The work scales with the cores as if it were perfectly parallel.
    """
    work = sum(planned_seconds(planned, cores) for planned in plan)
    at_once = min(parallel, cores, len(plan)) or 1
    return work + _START * len(plan) / at_once


def planned_seconds(planned: Planned, cores: int = _MEASURED_CORES) -> float:
    """Wall time of a campaign of an experiment with all cores, judging its agent included, without its start."""
    if planned.source:
        return most_evaluations(planned.config) * _evaluation(planned.config) * _MEASURED_CORES / cores
    return campaign_seconds(planned.config, cores) + _judging(planned) * _MEASURED_CORES / cores


def campaign_seconds(config: CampaignConfig, cores: int = _MEASURED_CORES) -> float:
    """Wall time of one campaign on a machine like the measured one with so many cores, without its start."""
    work = 0.0
    for number, stage in enumerate(config.by_stage()):
        each, limit, first = _budget(stage, number)
        iterations = stage.iterations
        if limit is not None:
            iterations = min(iterations, 1 + max(0, math.ceil((limit - first) / each)))
        work += iterations * _iteration(stage) + (first - each) * _evaluated(stage)
    return work * _MEASURED_CORES / cores


def most_evaluations(config: CampaignConfig) -> int:
    """How many evaluations a campaign may spend; the iteration that reaches a limit is finished."""
    most = 0.0
    for number, stage in enumerate(config.by_stage()):
        each, limit, first = _budget(stage, number)
        all_of_them = first + (stage.iterations - 1) * each
        most += min(all_of_them, math.inf if limit is None else max(first, limit - 1 + each))
    return int(most)


def _budget(stage: CampaignConfig, number: int) -> tuple[int, int | None, int]:
    """Evaluations of an iteration of a stage (0-based), of all, and of its first, which may be that of the campaign."""
    return stage.evaluation.per_iteration, stage.stop.max_evaluations, stage.evaluation.wanted(number)


def _iteration(config: CampaignConfig) -> float:
    """Of a campaign without stages, on two cores."""
    samples, evaluated = config.generator.samples, config.evaluation.per_iteration
    sampling = samples * (config.generator.steps or _STEPS) * _SAMPLE_STEP
    beyond = max(0, samples - evaluated * _RELAXED_PER_SURVIVOR) * _RELAX if config.screening.exhaustive else 0.0
    return sampling + beyond + evaluated * _evaluated(config) + _learning(config)


def _evaluation(config: CampaignConfig) -> float:
    """Of the properties of one crystal."""
    return sum(_EVALUATION.get(objective.property, _CHEAP) for objective in config.objectives)


def _evaluated(config: CampaignConfig) -> float:
    """Of one evaluated crystal, with the relaxation of those that do not survive."""
    relaxes = config.screening.enabled and config.screening.relaxation.enabled
    return _evaluation(config) + (_RELAXED_PER_SURVIVOR * _RELAX if relaxes else 0.0)


def _learning(config: CampaignConfig) -> float:
    learning = config.learning
    lessons = learning.top_fraction * config.evaluation.per_iteration + config.replay.sample
    if learning.schedule == "paper":
        return lessons * learning.epochs * learning.timesteps * _PAIR_PAPER
    return learning.updates * max(learning.pairs, lessons) * _PAIR


def _judging(planned: Planned) -> float:
    return planned.judging.crystals * (_STEPS * _SAMPLE_STEP + _RELAX)


def duration(seconds: float) -> str:
    """A time for people: ``40 s``, ``12 min``, ``3.5 h``, ``2.1 days``."""
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60), (48 * 3600, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"
