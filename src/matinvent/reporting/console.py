"""A campaign on the terminal: one line per iteration, and a progress bar of the stage at work.

Lines are the same on a terminal and in a log file; only the bar below them needs a terminal.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from matinvent.candidate import FUNNEL
from matinvent.reporting.events import Callback, CampaignSummary, IterationReport

if TYPE_CHECKING:
    from rich.console import Console

    from matinvent.config import CampaignConfig

#: What the bar says while a stage is at work.
_STAGES = {
    "start": "evaluating starting crystals",
    "sample": "sampling crystals",
    "screen": "screening",
    "evaluate": "evaluating properties",
    "learn": "learning",
    "remember": "saving",
}


class ConsoleCallback(Callback):
    """Shows a campaign on a console; use as a context manager so that the terminal is always restored."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns: list[str] = []
        self._metrics: list[str] = []
        self._total = 0
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop_bar()

    def on_start(self, config: CampaignConfig, directory: Path, first_iteration: int) -> None:
        """Say what is being done, and print the head of the table."""
        verb = f"resuming at iteration {first_iteration + 1}" if first_iteration else "starting"
        if first_iteration >= config.total_iterations:
            verb = "finished before"
        goal = f": {config.goal}" if config.goal else ""
        self._print(f"[bold]{escape(config.name)}[/bold]{escape(goal)}")
        stages = [settings.evaluation for settings in config.by_stage()]
        first, most = stages[0].wanted(0), max(evaluation.per_iteration for evaluation in stages)
        evaluated = f"{first} evaluated in the first, at most {most}" if first > most else f"at most {most} evaluated"
        self._print(
            f"{verb}, {config.total_iterations} iterations of {config.generator.samples} crystals, "
            f"{evaluated} in each; seed {config.seed}; "
            f"directory {escape(str(directory))}"
        )
        self._metrics = ["reward_mean", "reward_max", *(f"{name}_mean" for name in config.properties())]
        # Short titles, so that a line with one property fits 80 columns; all numbers but "best" are means.
        self._columns = [" iter", *FUNNEL, "reward", " best", *config.properties(), "time"]
        self._total = config.total_iterations
        self._print()
        self._print("[bold]" + escape(" ".join(self._columns)) + "[/bold]")
        if self._console.is_terminal:
            self._start_bar()

    def on_stage(self, iteration: int, stage: str, done: float) -> None:
        """Move the bar."""
        if self._bar is not None:
            text = f"iteration {iteration + 1} of {self._total}: {_STAGES.get(stage, stage)}"
            self._bar.update(self._task, description=text, completed=min(max(done, 0.0), 1.0))

    def on_news(self, text: str) -> None:
        """Print it between the lines of the iterations."""
        self._print(f"[bold]{escape(text)}[/bold]")

    def on_iteration(self, report: IterationReport) -> None:
        """Print the iteration's line, and its notes in yellow."""
        self._total = report.total
        cells = [
            f"{report.iteration + 1}/{report.total}",
            *(str(report.funnel.get(station, "")) for station in FUNNEL),
            *(_number(report.metrics.get(name)) for name in self._metrics),
            f"{sum(report.seconds.values()):.0f}s",
        ]
        self._print(" ".join(f"{cell:>{len(title)}}" for cell, title in zip(cells, self._columns, strict=True)))
        for note in report.notes:
            self._print(f"  [yellow]note: {escape(note)}[/yellow]")

    def on_end(self, summary: CampaignSummary) -> None:
        """Take the bar away."""
        del summary
        self._stop_bar()

    def _print(self, line: str = "") -> None:
        # Soft wrapping keeps a line one line where the console's width is not a terminal's.
        self._console.print(line, soft_wrap=True, highlight=False)

    def _start_bar(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._task = self._bar.add_task("", total=1.0)
        self._bar.start()

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
