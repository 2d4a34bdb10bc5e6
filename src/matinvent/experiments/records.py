"""A run directory as experiments read it: settings, metrics per iteration, and every evaluated crystal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from matinvent.candidate import Candidate, Fate
from matinvent.errors import CheckpointError
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory

if TYPE_CHECKING:
    from matinvent.config import CampaignConfig


@dataclass(frozen=True)
class Record:
    """What a campaign left behind.

    Attributes:
        config: its settings; of a campaign with stages those of the last stage, whose goal is the campaign's.
        metrics: metrics.csv, one row per iteration.
        evaluated: crystals on which an evaluation was spent (fates SCORED and EVAL_FAILED), in order.
        seconds: wall time of all iterations.
    """

    config: CampaignConfig
    metrics: pd.DataFrame
    evaluated: list[Candidate]
    seconds: float

    @property
    def scored(self) -> list[Candidate]:
        """Crystals that got a reward, in order."""
        return scored(self.evaluated)

    def quarters(self) -> tuple[list[Candidate], list[Candidate]]:
        """The scored crystals among the first and the last quarter of the evaluations."""
        size = quarter_size(len(self.evaluated))
        return scored(self.evaluated[:size]), scored(self.evaluated[-size:])

    def metric_quarters(self, name: str) -> tuple[float | None, float | None]:
        """Means of a metric over the first and the last quarter of the iterations."""
        if name not in self.metrics:
            return None, None
        column = self.metrics[name]
        size = quarter_size(len(column))
        return known(column.head(size).mean()), known(column.tail(size).mean())

    def last(self, name: str) -> float | None:
        """The newest value of a metric."""
        there = self.metrics[name].dropna().tolist() if name in self.metrics else []
        return float(there[-1]) if there else None


def quarter_size(n: int) -> int:
    """Length of a quarter, at least 1."""
    return max(1, n // 4)


def scored(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Those that got a reward."""
    return [candidate for candidate in candidates if candidate.fate is Fate.SCORED]


def rewards(candidates: Sequence[Candidate]) -> list[float]:
    """Rewards of scored crystals."""
    return [candidate.reward for candidate in candidates if candidate.reward is not None]


def known(value: float) -> float | None:
    """None for a missing number."""
    return None if pd.isna(value) else float(value)


def read_record(directory: Path) -> Record:
    """Read a run directory; only iterations that are in metrics.csv count.

    Raises:
        CheckpointError: the directory holds no campaign, it has not finished an iteration, or a file is damaged.
    """
    run, config = RunDirectory.open(directory)
    metrics = _read_table(directory / "metrics.csv")
    if not run.ledger_file.is_file() or metrics.empty:
        raise CheckpointError(f"{directory}: the campaign has not finished an iteration yet")
    last = int(metrics["iteration"].max())
    evaluated = [
        candidate
        for candidate in Ledger(run.ledger_file).candidates()
        if candidate.fate in {Fate.SCORED, Fate.EVAL_FAILED} and candidate.iteration <= last
    ]
    timings = _read_table(directory / "timings.csv")
    seconds = 0.0 if timings.empty else float(timings.drop(columns="iteration").sum().sum())
    return Record(config.by_stage()[-1], metrics, evaluated, seconds)


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        return pd.DataFrame()
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise CheckpointError(f"{path}: not a table of iterations ({error})") from None
    if "iteration" not in table:
        raise CheckpointError(f"{path}: not a table of iterations (no column 'iteration')")
    return table
