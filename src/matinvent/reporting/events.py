"""What a campaign tells the world while it runs, and who may listen.

A campaign publishes one :class:`IterationReport` per iteration to its callbacks: the console,
the metric files, TensorBoard, or a user's own. Listening never changes the campaign's course.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matinvent.candidate import Candidate
    from matinvent.config import CampaignConfig


@dataclass(frozen=True, slots=True)
class IterationReport:
    """One finished iteration.

    Attributes:
        iteration: 0-based number.
        total: iterations the campaign is set to run; fewer than before once a stage has ended early.
        funnel: station -> crystals that reached it (see :func:`matinvent.candidate.funnel`).
        metrics: name -> value, None where there was nothing to average; equal for equal seeds.
        seconds: stage -> wall time; kept apart because it differs from run to run.
        best: the candidate with the largest reward so far, by the goal of the present stage.
        notes: sentences a person should read (no survivors, evaluations failed, ...).
    """

    iteration: int
    total: int
    funnel: Mapping[str, int]
    metrics: Mapping[str, float | None]
    seconds: Mapping[str, float]
    best: Candidate | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CampaignSummary:
    """How a campaign ended.

    Attributes:
        directory: the run directory.
        iterations: iterations finished, earlier sessions included.
        evaluations: property evaluations spent, failed ones included.
        stopped: why it ended: ``finished``, ``interrupted``, or the stop rule that was met.
        best: best candidates by their reward under the last goal, one per reduced composition, best first.
        goal: the goal in words.
        hits: crystals that passed the screening and meet every objective; with stages, those of the last one.
    """

    directory: Path
    iterations: int
    evaluations: int
    stopped: str
    best: tuple[Candidate, ...] = field(default_factory=tuple)
    goal: str = ""
    hits: int = 0


class Callback:
    """Listener of a campaign; override what is of interest."""

    def on_start(self, config: CampaignConfig, directory: Path, first_iteration: int) -> None:
        """The campaign is set up; ``first_iteration`` > 0 when it was resumed."""

    def on_stage(self, iteration: int, stage: str, done: float) -> None:
        """A step (start, sample, screen, evaluate, learn, remember) of an iteration is ``done`` in [0, 1]."""

    def on_news(self, text: str) -> None:
        """Something for people to know between iterations: a stage of the campaign begins, for example."""

    def on_iteration(self, report: IterationReport) -> None:
        """An iteration has ended; its checkpoint is written next, and a resumed campaign may repeat it."""

    def on_end(self, summary: CampaignSummary) -> None:
        """The campaign has ended or was interrupted."""
