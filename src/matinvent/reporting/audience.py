"""Who listens to a campaign, and what it has to tell about the iteration in hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from matinvent.interrupt import Interrupted, catch_signals
from matinvent.reporting.events import Callback, CampaignSummary, IterationReport

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig

T = TypeVar("T")


class Audience:
    """The callbacks of a campaign, with the notes and the stopwatch of its present iteration.

    Attributes:
        notes: sentences that a person should read, of this iteration so far.
        seconds: step of the iteration -> wall time.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.callbacks = tuple(callbacks)
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}
        self._iteration = 0
        self._interrupted: Callable[[], bool] = lambda: False

    def meet(self, config: CampaignConfig, directory: Path, first_iteration: int) -> None:
        """The campaign is set up."""
        for callback in self.callbacks:
            callback.on_start(config, directory, first_iteration)

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop what is :meth:`timed` with :class:`~matinvent.interrupt.Interrupted`."""
        with catch_signals() as self._interrupted:
            yield

    def turn_to(self, iteration: int) -> None:
        """Another iteration begins: no notes and no times yet."""
        self._iteration, self.notes, self.seconds = iteration, [], {}

    def note(self, text: str) -> None:
        """Add a sentence to the report of this iteration."""
        self.notes.append(text)

    def timed(self, step: str, work: Callable[[Callable[[float], None]], T]) -> T:
        """Run a step of an iteration with progress and a stopwatch.

        Raises:
            Interrupted: a signal asked to stop; noticed whenever ``work`` tells its progress.
        """

        def progress(done: float) -> None:
            if self._interrupted():
                raise Interrupted
            for callback in self.callbacks:
                callback.on_stage(self._iteration, step, done)

        start = time.monotonic()
        progress(0.0)
        result = work(progress)
        self.seconds[step] = time.monotonic() - start
        return result

    def tell(self, text: str) -> None:
        """Something for people to know between iterations, unless it is empty."""
        for callback in self.callbacks if text else ():
            callback.on_news(text)

    def report(self, report: IterationReport) -> None:
        """An iteration has ended."""
        for callback in self.callbacks:
            callback.on_iteration(report)

    def dismiss(self, summary: CampaignSummary) -> None:
        """The campaign has ended or was interrupted."""
        for callback in self.callbacks:
            callback.on_end(summary)
