"""Stages of a campaign (a curriculum): what is wanted in which iterations, and when the next one begins.

Cheap properties first and dear ones later, loose targets first and tight ones later (Bengio et al., Curriculum
learning, ICML 2009). A campaign without stages is one of a single stage.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matinvent.candidate import Candidate, Fate
from matinvent.errors import ConfigError, Failure
from matinvent.execution.cache import ResultCache
from matinvent.properties.service import PropertyService
from matinvent.rewards.desirability import refuse_pointless
from matinvent.rewards.model import RewardModel, Score
from matinvent.rewards.preferences import Preferences
from matinvent.screening.constraints import Constraints

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig, StopConfig

#: Iterations over which the rule ``plateau`` averages mean rewards.
_WINDOW = 5


class Stage:
    """What a campaign pursues one goal with.

    Attributes:
        number: 0-based.
        name: what the campaign file calls it; empty in a campaign without stages.
        config: its complete settings, as those of a campaign of one stage.
        properties: computes the properties of its objectives.
        rewards: makes rewards of them.
        constraints: what a crystal must be.

    Raises:
        ConfigError: a property, a parameter, a constraint or the aggregation cannot be used as written.
    """

    def __init__(self, number: int, name: str, config: CampaignConfig, cache_file: Path) -> None:
        self.number = number
        self.name = name
        self.config = config
        self.constraints = Constraints(config.constraints)
        requests = [(objective.property, objective.params) for objective in config.objectives]
        cache = ResultCache(cache_file) if config.evaluation.cache else None
        self.properties = PropertyService(requests, config.evaluation, cache)
        for objective in config.objectives:
            refuse_pointless(objective, self.properties.properties[objective.property])
        self._uncertainties = {
            n: info.uncertainty for n, info in self.properties.properties.items() if info.uncertainty
        }
        moving = Preferences(config.seed, config.preferences.per_iteration) if config.preferences.moving else None
        self.rewards = RewardModel(config.objectives, config.aggregation, self._uncertainties, moving)

    def score(self, properties: Mapping[str, float], origin: Stage) -> Score | Failure:
        """What a crystal that another stage evaluated is worth here; a Failure if its values do not say.

        A value counts if both stages compute the property with equal parameters.
        """
        theirs = {objective.property: objective.params for objective in origin.config.objectives}
        shared = {o.property for o in self.config.objectives if theirs.get(o.property) == o.params}
        shared |= {self._uncertainties[name] for name in shared & self._uncertainties.keys()}
        return self.rewards.score({name: value for name, value in properties.items() if name in shared})


def _stage(number: int, name: str, config: CampaignConfig, cache_file: Path) -> Stage:
    """A stage, named where it cannot be used as written."""
    try:
        return Stage(number, name, config, cache_file)
    except ConfigError as error:
        raise ConfigError(f"stage '{name}': {error}" if name else str(error)) from None


@dataclass
class _Tally:
    """What one stage has spent and found so far.

    Attributes:
        evaluations: property evaluations spent, failed ones included.
        hits: crystals that meet every objective.
        recent: the last mean rewards, at most as many as are averaged.
        best: the best running mean; None before the first full window.
        stale: iterations since then.
        last: mean reward of the last iteration; None without any reward.
    """

    evaluations: int = 0
    hits: int = 0
    recent: list[float] = field(default_factory=list)
    best: float | None = None
    stale: int = 0
    last: float | None = None

    def record(self, mean_reward: float | None) -> None:
        """Count an iteration in; one without any reward is one without improvement."""
        self.last = mean_reward
        if mean_reward is None:
            self.stale += 1
            return
        self.recent = [*self.recent, mean_reward][-_WINDOW:]
        if len(self.recent) < _WINDOW:
            return
        running = statistics.fmean(self.recent)
        if self.best is None or running > self.best:
            self.best, self.stale = running, 0
        else:
            self.stale += 1

    def rule_met(self, stop: StopConfig) -> str:
        """The rule that ends the stage now; empty when none does."""
        if stop.mean_reward is not None and self.last is not None and self.last >= stop.mean_reward:
            return f"mean reward reached {stop.mean_reward:g}"
        if stop.max_evaluations is not None and self.evaluations >= stop.max_evaluations:
            return f"{self.evaluations} evaluations spent"
        if stop.hits is not None and self.hits >= stop.hits:
            return f"{self.hits} hits found"
        if stop.plateau is not None and self.stale >= stop.plateau:
            return f"no better mean reward for {self.stale} iterations"
        return ""


class Curriculum:
    """The stages of a campaign and where in them it is.

    Args:
        config: the campaign.
        cache_file: where results of evaluations are kept.

    Raises:
        ConfigError: see :class:`Stage`; also of a stage that comes later.
    """

    def __init__(self, config: CampaignConfig, cache_file: Path) -> None:
        names = [stage.name for stage in config.stages] or [""]
        self.stages = tuple(
            _stage(number, name, own, cache_file)
            for number, (name, own) in enumerate(zip(names, config.by_stage(), strict=True))
        )
        self._begins = [0]  # of each stage begun so far, its first iteration
        self._tally = _Tally()

    @property
    def stage(self) -> Stage:
        """The present stage."""
        return self.stages[len(self._begins) - 1]

    @property
    def hits(self) -> int:
        """Crystals of the present stage that meet all of its objectives."""
        return self._tally.hits

    def spend(self, evaluations: int) -> None:
        """Count evaluations as spent in the present stage."""
        self._tally.evaluations += evaluations

    @property
    def iterations(self) -> int:
        """Iterations of the campaign if no further stage ends early."""
        return self._begins[-1] + sum(stage.config.iterations for stage in self.stages[self.stage.number :])

    def close_iteration(self, iteration: int, mean_reward: float | None, hits: int) -> str:
        """Count a finished iteration in, and go on to the next stage if it was the last of the present one.

        Args:
            iteration: its number.
            mean_reward: of its crystals, None without any.
            hits: how many of them meet all objectives.

        Returns:
            The rule of ``stop`` that was met, empty if none was.
        """
        self._tally.hits += hits
        self._tally.record(mean_reward)
        rule = self._tally.rule_met(self.stage.config.stop)
        done = iteration + 1 - self._begins[-1] >= self.stage.config.iterations
        if (rule or done) and self.stage is not self.stages[-1]:
            self._begins.append(iteration + 1)
            self._tally = _Tally()
        return rule

    def final_rule_met(self) -> str:
        """The rule of ``stop`` that ends the campaign now; empty while none does. A rule that was met can be lifted."""
        return self._tally.rule_met(self.stage.config.stop) if self.stage is self.stages[-1] else ""

    def announcement(self) -> str:
        """The present stage in words; empty in a campaign without stages."""
        stage, config = self.stage, self.stage.config
        if not stage.name:
            return ""
        wanted = ", ".join(objective.in_words() for objective in config.objectives)
        return f"stage {stage.number + 1} of {len(self.stages)}, {stage.name}: {wanted}; {config.iterations} iterations"

    def score(self, properties: Mapping[str, float], origin: int) -> Score | Failure:
        """What properties that a stage (0-based) evaluated are worth in the present one."""
        return self.stage.score(properties, self.stages[origin])

    def reward(self, properties: Mapping[str, float], origin: int) -> float | None:
        """The reward of :meth:`score`, None where that is a Failure."""
        score = self.score(properties, origin)
        return None if isinstance(score, Failure) else score.reward

    def rank(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Scored proposals with the rewards of the present stage, one per reduced composition, best first.

        Those whose known properties do not say what they are worth now are left out, and crystals that the campaign
        was given.
        """
        ranked: dict[str, Candidate] = {}
        rescored = [self._rescored(c) for c in candidates if c.fate is Fate.SCORED and not c.source]
        for candidate in sorted(filter(None, rescored), key=lambda c: (-(c.reward or 0.0), c.iteration, c.index)):
            ranked.setdefault(candidate.composition, candidate)
        return list(ranked.values())

    def stage_of(self, iteration: int) -> int:
        """The stage (0-based) that an iteration belongs to."""
        return max(bisect_right(self._begins, iteration) - 1, 0)

    def _rescored(self, candidate: Candidate) -> Candidate | None:
        score = self.score(candidate.properties, self.stage_of(candidate.iteration))
        if isinstance(score, Failure):
            return None
        return replace(candidate, scores=score.scores, reward=score.reward, hit=score.hit)

    def state_dict(self) -> dict[str, Any]:
        """When the stages began, what they wanted, and the tally of the present one, as JSON values."""
        return {"begins": list(self._begins), "aims": self._aims(), "tally": asdict(self._tally)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` gave.

        Raises:
            ValueError: the campaign has fewer stages.
            ConfigError: a stage that has begun wants something else now, so that rewards could not be compared.
        """
        begins = [int(iteration) for iteration in state["begins"]]
        if not 1 <= len(begins) <= len(self.stages):
            raise ValueError(f"{len(begins)} stages begun of {len(self.stages)}")
        self._begins, self._tally = begins, _Tally(**state["tally"])
        if state["aims"] != self._aims():
            raise ConfigError(
                "config.yaml: objectives or aggregation are others than those the campaign began with, and rewards of "
                "two goals cannot be mixed; put them back, or begin a campaign from this one's agent (start.agent)"
            )

    def _aims(self) -> list[dict[str, Any]]:
        """What the rewards of each stage begun so far mean."""
        begun = self.stages[: len(self._begins)]
        return [stage.config.model_dump(mode="json", include={"objectives", "aggregation"}) for stage in begun]

    def close(self) -> None:
        """Stop the worker processes of all stages."""
        for stage in self.stages:
            stage.properties.close()
