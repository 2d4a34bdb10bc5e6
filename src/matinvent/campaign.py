"""The loop of the paper: sample, screen, evaluate, reward, learn, remember.

Every random draw depends on seed, iteration and purpose alone (see :mod:`~matinvent.draws`), so a campaign that is
killed at any moment and resumed repeats the interrupted iteration exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from matinvent.acquisition import Acquisition
from matinvent.candidate import Candidate, Fate, commonest_fate, funnel
from matinvent.draws import Draws
from matinvent.errors import CheckpointError, Failure
from matinvent.execution.executors import available_cores
from matinvent.feasibility import Feasibility
from matinvent.interrupt import Interrupted
from matinvent.learning.learner import LearningReport
from matinvent.learning.lessons import Lessons
from matinvent.memory.diversity import DiversityFilter
from matinvent.memory.ledger import Ledger
from matinvent.memory.replay import ReplayBuffer
from matinvent.metrics import iteration_metrics
from matinvent.reporting.audience import Audience
from matinvent.reporting.events import Callback, CampaignSummary, IterationReport
from matinvent.run_directory import RunDirectory
from matinvent.screening.screen import Screener
from matinvent.stages import Curriculum, Stage
from matinvent.starting_points import BEFORE_THE_FIRST, StartingPoint, screen_given

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.generators.protocol import Generator

Progress = Callable[[float], None]


class Campaign:
    """A reinforcement-learning campaign in a run directory; made by :meth:`start` or :meth:`resume`."""

    def __init__(self, config: CampaignConfig, directory: RunDirectory, callbacks: Sequence[Callback]) -> None:
        torch.set_num_threads(config.threads or available_cores())
        self.config = config
        self.directory = directory
        self.audience = Audience(callbacks)
        self.curriculum = Curriculum(config, directory.cache_file)
        self.stage = self.curriculum.stage
        self.properties, self.rewards = self.stage.properties, self.stage.rewards
        self.start_from = StartingPoint.of(config.start, directory)
        self.learner, self._prior_identity = self.start_from.learner(self.stage.config)
        self.screener = Screener(config.screening, self.stage.constraints)
        self.replay = ReplayBuffer(config.replay)
        self.diversity = DiversityFilter(config.diversity)
        self.feasibility = Feasibility(config.feasibility)
        self.lessons = Lessons(config, self.replay, self.diversity, self.feasibility)
        self.acquisition = Acquisition(config.acquisition, self._worth_of)
        self.ledger = Ledger(directory.ledger_file)
        self.draws = Draws(config.seed)
        self.iteration = 0
        self.evaluations = 0
        self.best: Candidate | None = None
        self.stopped = ""
        self._begun = False

    @classmethod
    def start(cls, config: CampaignConfig, directory: Path, callbacks: Sequence[Callback] = ()) -> Campaign:
        """Begin a campaign in a new directory.

        Raises:
            ConfigError: the directory is in use, or a setting names something that does not exist.
        """
        run = RunDirectory.create(directory, config)
        try:
            campaign = cls(config, run, callbacks)
            for stage in campaign.curriculum.stages[1:]:
                campaign.start_from.learner(stage.config)  # refuses what the prior cannot propose, before the start
        except BaseException:
            run.discard()  # a campaign that cannot start leaves nothing behind
            raise
        return campaign

    @classmethod
    def resume(cls, directory: Path, callbacks: Sequence[Callback] = ()) -> Campaign:
        """Continue a campaign from its newest checkpoint; what came after it is forgotten and redone.

        Raises:
            CheckpointError: the directory holds no campaign, its checkpoint is damaged, or its ledger is gone.
            ConfigError: the objectives are others than those it began with.
        """
        run, config = RunDirectory.open(directory)
        run.require_ledger()
        run.lock()
        campaign = cls(config, run, callbacks)
        campaign._restore()
        return campaign

    @property
    def agent(self) -> Generator:
        """The generator that learns."""
        return self.learner.agent

    @property
    def hits(self) -> int:
        """Crystals that meet all objectives of the present stage."""
        return self.curriculum.hits

    def run(self) -> CampaignSummary:
        """Run the remaining iterations; on SIGINT or SIGTERM stop at once, to be resumed later."""
        self.audience.meet(self.config, self.directory.path, self.iteration)
        self.audience.tell(self.curriculum.announcement())
        interrupted = False
        try:
            with self.audience.interruptible():
                self.begin()
                while self.iteration < self.curriculum.iterations and not self.stopped:
                    self.step()
        except Interrupted:
            interrupted = True
        finally:
            self.close()
        summary = self._summarise("interrupted" if interrupted else self.stopped or "finished")
        self.audience.dismiss(summary)
        return summary

    def begin(self) -> None:
        """Evaluate the starting crystals, unless an earlier session did."""
        if not self._begun and self.start_from.crystals:
            self.audience.timed("start", self._evaluate_start)
            self._save()
        self._begun = True

    def _evaluate_start(self, progress: Progress) -> None:
        """Put the user's crystals on the replay buffer, as far as they are worth it and can be learned.

        They are no proposals of the agent: that they are known or alike is not held against them, and the diversity
        filter, the hits and the best crystals of the campaign do not count them.
        """
        candidates = self.start_from.candidates(self.stage.name)
        survivors = screen_given(candidates, self.config.screening, self.stage.constraints, progress)
        scored = self._score(survivors, progress)
        lessons = [lesson for c in scored if (lesson := self.lessons.form(c)) is not None]
        for candidate, encoded in zip(scored, self.agent.encode(lessons), strict=True):
            candidate.credit = candidate.reward
            if not isinstance(encoded, Failure):
                self.lessons.keep(candidate, self._worth(candidate), self.stage.number)
        self.acquisition.remember(candidates, self.stage.number)
        self.ledger.record(candidates)
        others = [candidate for candidate in candidates if candidate.fate is not Fate.SCORED]
        self.audience.tell(
            f"{len(candidates)} starting crystals: {len(scored)} have a reward, {len(self.replay)} are in the replay "
            f"buffer{f'; {commonest_fate(others)}' if others else ''}; "
            f"see ase db {self.directory.ledger_file} iteration={BEFORE_THE_FIRST} -c source,fate,reward,reason"
        )

    def step(self) -> IterationReport:
        """One iteration of the paper's loop."""
        self.audience.turn_to(self.iteration)
        candidates = self.audience.timed("sample", self.sample)
        survivors = self.audience.timed("screen", lambda done: self.screen(candidates, done))
        scored = self.audience.timed("evaluate", lambda done: self.evaluate(survivors, done))
        learned = self.audience.timed("learn", lambda done: self.learn(scored, done))
        return self.audience.timed("remember", lambda _: self.remember(candidates, learned))

    def sample(self, progress: Progress) -> list[Candidate]:
        """Let the agent propose crystals, and the prior some that the surrogate may prefer."""
        wanted = self.config.generator.samples
        foreign = self.acquisition.from_prior(wanted)
        own = self.agent.sample(wanted - foreign, self.draws.torch(self.iteration, "sample"), progress)
        proposals = [(crystal, "agent") for crystal in own]
        if foreign:
            others = self.learner.prior.sample(foreign, self.draws.torch(self.iteration, "explore"))
            proposals += [(crystal, "prior") for crystal in others]
        return [
            Candidate.of(self.iteration, index, crystal, stage=self.stage.name, proposed_by=who)
            for index, (crystal, who) in enumerate(proposals)
        ]

    def screen(self, candidates: list[Candidate], progress: Progress) -> list[Candidate]:
        """Keep the valid, stable, unique and novel ones, at most as many as will be evaluated."""
        wanted = self.stage.config.evaluation.wanted(self.iteration)
        self.feasibility.update(self.draws.numpy(self.iteration, "feasibility"))
        shares = self.feasibility.shares([candidate.structure for candidate in candidates])
        shares = shares * self.diversity.factors([candidate.composition for candidate in candidates])
        worth, others = self.acquisition.order(candidates, shares, wanted, self.draws.numpy(self.iteration, "acquire"))
        survivors = self.screener.screen(
            worth, self.acquisition.survivors(wanted), progress, reserve=others, fewest=self.acquisition.fewest(wanted)
        )
        if not survivors:
            self.audience.note(f"no crystal survived the screening; {commonest_fate(candidates)}")
        chosen, left = self.acquisition.choose(survivors, wanted, self.draws.numpy(self.iteration, "select"))
        for candidate in left:
            candidate.reason = "not chosen for evaluation"
        self.screener.forget(left)
        return chosen

    def evaluate(self, survivors: list[Candidate], progress: Progress) -> list[Candidate]:
        """Compute properties and rewards; returns the candidates that got a reward."""
        scored = self._score(survivors, progress)
        for candidate in scored:
            candidate.credit = self.diversity.credit(candidate.composition, self._worth(candidate))
        if scored and not any(c.reward for c in scored):
            values = ", ".join(f"{name} {value:.4g}" for name, value in scored[0].properties.items())
            self.audience.note(f"all rewards are 0; values are beyond the objectives' ramps, e.g. {values}")
        failed = [c for c in survivors if c.fate is Fate.EVAL_FAILED]
        if failed:
            self.audience.note(f"{len(failed)} of {len(survivors)} evaluations failed, e.g. {failed[0].reason}")
        return scored

    def _score(self, survivors: list[Candidate], progress: Progress) -> list[Candidate]:
        """Pay for the properties of candidates; returns those that got a reward."""
        structures = [c.final for c in survivors if c.final is not None]
        results = self.properties.evaluate(structures, progress)
        self.evaluations += len(structures)
        self.curriculum.spend(len(structures))
        for candidate, result in zip(survivors, results, strict=True):
            self._reward(candidate, result)
        return [c for c in survivors if c.fate is Fate.SCORED]

    def _reward(self, candidate: Candidate, result: dict[str, float] | Failure) -> None:
        """The only way to a reward: a finite score of every objective."""
        if not isinstance(result, Failure):
            candidate.properties = dict(result)
        score = self.rewards.score(result)
        if isinstance(score, Failure):
            candidate.reject(Fate.EVAL_FAILED, str(score))
            return
        candidate.fate, candidate.reason = Fate.SCORED, ""
        candidate.scores, candidate.reward, candidate.hit = score.scores, score.reward, score.hit

    def learn(self, scored: list[Candidate], progress: Progress) -> LearningReport | None:
        """Learn the best of this iteration and some of the best before it."""
        draws = self.draws.numpy(self.iteration, "replay")
        structures, rewards = self.lessons.choose(scored, self.rewards, self.iteration, draws)
        encoded = self.agent.encode(structures)
        usable = [i for i, item in enumerate(encoded) if not isinstance(item, Failure)]
        if len(usable) < len(encoded):
            failure = next(item for item in encoded if isinstance(item, Failure))
            self.audience.note(f"{len(encoded) - len(usable)} crystals cannot be learned, e.g. {failure.reason}")
        report = self.learner.learn(
            [encoded[i] for i in usable],
            [rewards[i] for i in usable],
            self.draws.torch(self.iteration, "learn"),
            progress,
        )
        if report is None:
            self.audience.note("nothing to learn from; the agent stays as it is")
        elif report.skipped:
            self.audience.note(f"{report.skipped} optimizer steps skipped: gradient not finite")
        return report

    def _worth(self, candidate: Candidate) -> float:
        """What a scored crystal is worth to the learner in this iteration (the reward, unless preferences move)."""
        return self.rewards.worth(candidate.scores, self.iteration)

    def _worth_of(self, properties: Mapping[str, float], stage: int) -> float | None:
        """What properties that a stage (0-based) evaluated are worth in this iteration; None where they do not say."""
        score = self.curriculum.score(properties, stage)
        return None if isinstance(score, Failure) else self.rewards.worth(score.scores, self.iteration)

    def remember(self, candidates: list[Candidate], learned: LearningReport | None) -> IterationReport:
        """Record everything, tell the callbacks, and save a checkpoint."""
        for candidate in candidates:
            if candidate.fate is Fate.SCORED and candidate.reward is not None:
                self.lessons.keep(candidate, self._worth(candidate), self.stage.number)
                if self.best is None or candidate.reward > (self.best.reward or 0.0):
                    self.best = candidate
        self.diversity.meet_again(candidates)
        self.replay.prune(self.diversity)
        self.acquisition.remember(candidates, self.stage.number)
        self.feasibility.remember(candidates)
        self.ledger.record(candidates)
        metrics = iteration_metrics(
            self.config, candidates, learned, self.evaluations, len(self.replay), self.stage.number
        )
        report = IterationReport(
            iteration=self.iteration,
            total=self.curriculum.iterations,
            funnel=funnel(candidates),
            metrics=metrics,
            seconds=dict(self.audience.seconds),
            best=self.best,
            notes=tuple(self.audience.notes),
        )
        # Before the checkpoint: what listeners wrote for an iteration without one is dropped on resume.
        self.audience.report(report)
        self._close_iteration(report)
        return report

    def _close_iteration(self, report: IterationReport) -> None:
        """Save a checkpoint: of the next stage if this one is over."""
        former, metrics = self.stage, report.metrics
        rule = self.curriculum.close_iteration(self.iteration, metrics["reward_mean"], int(metrics["hits"] or 0))
        self.iteration += 1
        if self.curriculum.stage is former:
            self.stopped = rule
            self._save()
            return
        self._take_up(self.curriculum.stage)
        self.best = next(iter(self._ranked(1)), None)
        self._save()
        if rule:
            self.audience.tell(f"stage {former.name} ends: {rule}")
        self.audience.tell(self.curriculum.announcement())

    def _take_up(self, stage: Stage) -> None:
        """Pursue the goal of another stage; weights, optimizer and memories go on."""
        former, self.stage = self.stage, stage
        former.properties.close()
        self.properties, self.rewards = stage.properties, stage.rewards
        self.replay.rescore(self.curriculum.reward)
        if stage.config.constraints == former.config.constraints:
            return
        learned, seen = self.learner.state_dict(), self.screener.state_dict()
        self.screener.close()
        self.learner, _ = self.start_from.learner(stage.config)
        self.learner.load_state_dict(learned)
        self.screener = Screener(self.config.screening, stage.constraints)
        self.screener.load_state_dict(seen)

    def _ranked(self, n: int) -> list[Candidate]:
        """The best crystals that the campaign has found, by the rewards of the present stage."""
        best = self.curriculum.rank(self.ledger.candidates()) if self.config.stages else self.ledger.best(n)
        return [c for c in best if c.reward][:n]

    def _save(self) -> None:
        memory = {
            "prior": self._prior_identity,
            "evaluations": self.evaluations,
            "curriculum": self.curriculum.state_dict(),
            "replay": self.replay.state_dict(),
            "diversity": self.diversity.state_dict(),
            "screener": self.screener.state_dict(),
        }
        self.directory.save(self.iteration, self.learner.state_dict(), memory)

    def _restore(self) -> None:
        saved = self.directory.load()
        if saved is not None:
            self.iteration, weights, memory = saved
            self._recall(weights, memory)
            self._begun = True
        self.ledger.rollback(self.iteration if self._begun else BEFORE_THE_FIRST)
        for candidate in self.ledger.candidates():
            self.acquisition.remember([candidate], self.curriculum.stage_of(candidate.iteration))
            self.feasibility.remember([candidate])
        self.best = next(iter(self._ranked(1)), None)

    def _recall(self, weights: dict[str, Any], memory: dict[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        try:
            if memory["prior"] != self._prior_identity:
                raise CheckpointError(
                    f"{self.directory.path}: the campaign began from other weights than those that prior "
                    f"'{self.config.generator.prior}' holds now; put the old ones back to continue"
                )
            self.curriculum.load_state_dict(memory["curriculum"])
            if self.curriculum.stage is not self.stage:
                self._take_up(self.curriculum.stage)
            self.learner.load_state_dict(weights)
            self.evaluations = int(memory["evaluations"])
            self.stopped = self.curriculum.final_rule_met()
            self.replay.load_state_dict(memory["replay"])
            self.diversity.load_state_dict(memory["diversity"])
            self.screener.load_state_dict(memory["screener"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                f"{self.directory.path}: the checkpoint does not fit this campaign ({type(error).__name__})"
            ) from None

    def close(self) -> None:
        """Stop the worker processes."""
        self.screener.close()
        self.properties.close()
        self.curriculum.close()
        self.directory.unlock()

    def _summarise(self, stopped: str) -> CampaignSummary:
        return CampaignSummary(
            directory=self.directory.path,
            iterations=self.iteration,
            evaluations=self.evaluations,
            hits=self.hits,
            stopped=stopped,
            best=tuple(self._ranked(self.config.logging.best)),
            goal=self.config.goal,
        )
