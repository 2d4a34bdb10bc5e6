"""A campaign as experiments see it: settings, metrics per iteration, and every crystal that was evaluated.

A :class:`Record` is read from a run directory, and is small enough (ten kilobytes compressed) to be kept and shared
without it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from matinvent.candidate import Fate
from matinvent.errors import CheckpointError
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory
from matinvent.screening.symmetry import find_symmetry

if TYPE_CHECKING:
    from matinvent.candidate import Candidate
    from matinvent.config import CampaignConfig


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A crystal on which an evaluation was spent.

    Attributes:
        iteration: that proposed it (0-based).
        composition: reduced formula.
        elements: its elements' symbols.
        space_group: international number; None where there is none (disorder).
        properties: property -> value in the property's unit.
        scores: objective -> desirability in [0, 1]; empty where an earlier stage judged it, by another goal.
        reward: in [0, 1], by the stage that judged it; None where the evaluation failed.
        hit: whether it meets every objective of the campaign; not where an earlier stage judged it.
        proposed_by: see :class:`~matinvent.candidate.Candidate`; empty where it was not recorded.
    """

    iteration: int
    composition: str
    elements: tuple[str, ...]
    space_group: int | None
    properties: dict[str, float]
    scores: dict[str, float]
    reward: float | None
    hit: bool
    proposed_by: str = ""

    @classmethod
    def of(cls, candidate: Candidate, stage: str = "") -> Evaluated:
        """What counts of a candidate in a campaign whose last stage has this name."""
        crystal = candidate.final
        assert crystal is not None
        symmetry = find_symmetry(crystal) if crystal.is_ordered else None
        return cls(
            candidate.iteration,
            candidate.composition,
            tuple(sorted(element.symbol for element in crystal.composition.elements)),
            None if symmetry is None else symmetry.number,
            dict(candidate.properties),
            dict(candidate.scores) if candidate.stage == stage else {},
            candidate.reward if candidate.fate is Fate.SCORED else None,
            candidate.hit is True and candidate.stage == stage,
            candidate.proposed_by,
        )


@dataclass(frozen=True)
class Record:
    """What a campaign left behind.

    Attributes:
        settings: of the whole campaign.
        metrics: metrics.csv, one row per iteration.
        evaluated: crystals on which an evaluation was spent, in order; without the user's own, which a campaign may
            begin with.
        seconds: wall time of all iterations.
    """

    settings: CampaignConfig
    metrics: pd.DataFrame
    evaluated: list[Evaluated]
    seconds: float

    @cached_property
    def config(self) -> CampaignConfig:
        """The settings; of a campaign with stages those of the last stage, whose goal is the campaign's."""
        return self.settings.by_stage()[-1]

    @property
    def scored(self) -> list[Evaluated]:
        """Crystals that got a reward, in order."""
        return scored(self.evaluated)

    def quarters(self) -> tuple[list[Evaluated], list[Evaluated]]:
        """The scored crystals among the first and the last quarter of the evaluations."""
        return scored(self.evaluated[: quarter_size(len(self.evaluated))]), scored(self.late)

    @property
    def late(self) -> list[Evaluated]:
        """The last quarter of the evaluations, failed ones included."""
        return self.evaluated[-quarter_size(len(self.evaluated)) :]

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

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "settings": self.settings.to_json(),
            "metrics": self.metrics.to_csv(index=False, lineterminator="\n"),
            "evaluated": [asdict(crystal) for crystal in self.evaluated],
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Record:
        """What :meth:`to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        from matinvent.config import CampaignConfig

        evaluated = [Evaluated(**{**row, "elements": tuple(row["elements"])}) for row in data["evaluated"]]
        metrics = pd.read_csv(io.StringIO(data["metrics"]))
        return cls(CampaignConfig.model_validate(data["settings"]), metrics, evaluated, float(data["seconds"]))


def quarter_size(n: int) -> int:
    """Length of a quarter, at least 1."""
    return max(1, n // 4)


def scored(evaluated: Iterable[Evaluated]) -> list[Evaluated]:
    """Those that got a reward."""
    return [crystal for crystal in evaluated if crystal.reward is not None]


def rewards(evaluated: Sequence[Evaluated]) -> list[float]:
    """Rewards of scored crystals."""
    return [crystal.reward for crystal in evaluated if crystal.reward is not None]


def count_hits(evaluated: Iterable[Evaluated]) -> int:
    """Crystals that meet every objective."""
    return sum(crystal.hit for crystal in evaluated)


def hit_systems(evaluated: Iterable[Evaluated]) -> int:
    """Distinct chemical systems of these; all alloys of one kind count once."""
    return len({crystal.elements for crystal in evaluated if crystal.hit})


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
    stage = config.stages[-1].name if config.stages else ""
    evaluated = [
        Evaluated.of(candidate, stage)
        for candidate in Ledger(run.ledger_file).candidates()
        if candidate.fate in {Fate.SCORED, Fate.EVAL_FAILED} and candidate.iteration <= last and not candidate.source
    ]
    timings = _read_table(directory / "timings.csv")
    seconds = 0.0 if timings.empty else float(timings.drop(columns="iteration").sum().sum())
    return Record(config, metrics, evaluated, seconds)


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
