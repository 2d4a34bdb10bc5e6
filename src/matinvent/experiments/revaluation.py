"""The prior on another task: crystals that are there already, evaluated for another goal.

What an agent that never learns proposes, and what of it survives the screening, does not depend on the goal. So one
campaign of the prior serves all tasks of an experiment: the others take its crystals from its ledger and pay for
their own property only. The result is that of a campaign of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from matinvent.campaign import Campaign
from matinvent.candidate import Candidate, Fate
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig
    from matinvent.reporting.events import Callback

#: Settings of a campaign that say what is wanted, not what is proposed.
_GOAL = {"name", "description", "goal", "objectives", "aggregation", "preferences"}


def same_proposals(config: CampaignConfig) -> str:
    """A key that campaigns share whose agents propose the same as long as these do not learn."""
    unused = set() if config.acquisition.enabled else {"acquisition"}
    return config.model_dump_json(exclude=_GOAL | unused)


def depends_on_the_goal(config: CampaignConfig) -> bool:
    """Whether it depends on the goal how long a campaign proposes, or what."""
    stop = config.stop
    return bool(config.stages) or any(rule is not None for rule in (stop.mean_reward, stop.hits, stop.plateau))


class Revaluation(Campaign):
    """A campaign whose crystals come from the ledger of another one, and which learns nothing."""

    _proposals: Ledger

    @classmethod
    def of(
        cls, source: Path, config: CampaignConfig, directory: Path, callbacks: Sequence[Callback] = ()
    ) -> Revaluation:
        """Begin in a new directory.

        Args:
            source: run directory of a finished campaign whose agent never changed.
            config: the campaign's own settings, its goal above all.
            directory: where it goes.
            callbacks: told how it goes on.

        Raises:
            ConfigError: the directory is in use, or a setting names something that does not exist.
            CheckpointError: ``source`` holds no campaign.
        """
        ledger = Ledger(RunDirectory.open(source)[0].ledger_file)
        campaign = cls.start(config, directory, callbacks)
        assert isinstance(campaign, Revaluation)
        campaign._proposals = ledger
        return campaign

    def sample(self, progress: Callable[[float], None]) -> list[Candidate]:
        """What the other campaign proposed in this iteration, as it came out of the screening."""
        proposals = self._proposals.candidates(self.iteration)
        progress(1.0)
        return [_before_evaluation(candidate) for candidate in proposals]

    def screen(self, candidates: list[Candidate], progress: Callable[[float], None]) -> list[Candidate]:
        """Those that were evaluated there."""
        progress(1.0)
        survivors = [candidate for candidate in candidates if candidate.fate is Fate.SURVIVED and not candidate.reason]
        # A campaign of its own goes on from here if this one is interrupted.
        evaluated = {candidate.index for candidate in survivors}
        self.screener.recall([c for c in candidates if c.fate is Fate.KNOWN or c.index in evaluated])
        return survivors

    def learn(self, scored: list[Candidate], progress: Callable[[float], None]) -> None:
        """The agent stays as it is."""


def _before_evaluation(candidate: Candidate) -> Candidate:
    if candidate.fate not in {Fate.SCORED, Fate.EVAL_FAILED}:
        return candidate
    return replace(
        candidate,
        fate=Fate.SURVIVED,
        reason="",
        properties={},
        scores={},
        reward=None,
        credit=None,
        hit=None,
    )
