"""Curves of campaigns: a quantity after each iteration, over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from matinvent.experiments.analysis import Analysed, by_iteration, hypervolumes
from matinvent.experiments.records import Evaluated, Record, scored

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What is plotted of a campaign: one value for each iteration, NaN where there is none.
Series = Callable[[Record], Sequence[float]]


@dataclass(frozen=True)
class Curve:
    """Mean and spread over seeds.

    Attributes:
        x: evaluations spent, mean over seeds, shape (iterations,).
        mean: shape (iterations,); NaN where no seed has a value.
        sd: standard deviation over seeds, shape (iterations,); 0 where fewer than two have a value.
        seeds: how many campaigns.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    seeds: int


def curve(campaigns: Sequence[Analysed], series: Series) -> Curve:
    """Average a quantity over campaigns, iteration by iteration; shorter campaigns end earlier."""
    spent = _table([evaluations(campaign.record) for campaign in campaigns])
    values = _table([series(campaign.record) for campaign in campaigns])
    columns = range(values.shape[1])
    return Curve(
        x=np.array([_mean(spent[:, i]) for i in columns]),
        mean=np.array([_mean(values[:, i]) for i in columns]),
        sd=np.array([_sd(values[:, i]) for i in columns]),
        seeds=len(campaigns),
    )


def metric(name: str) -> Series:
    """A column of metrics.csv; nothing but NaN where a campaign has no such column."""

    def series(record: Record) -> list[float]:
        if name not in record.metrics:
            return [math.nan] * len(record.metrics)
        return [float(value) for value in record.metrics[name]]

    return series


def evaluations(record: Record) -> Sequence[float]:
    """Evaluations spent after each iteration."""
    return metric("evaluations")(record)


def hits_so_far(record: Record) -> list[float]:
    """Hits found until each iteration."""
    return list(accumulate(float(value) for value in record.metrics["hits"]))


def compositions_so_far(record: Record) -> list[float]:
    """Distinct compositions among all scored until each iteration."""
    seen: set[str] = set()
    counts = []
    for batch in _padded(record):
        seen |= {crystal.composition for crystal in scored(batch)}
        counts.append(float(len(seen)))
    return counts


def hypervolume_so_far(record: Record) -> list[float]:
    """Hypervolume of the scores of all crystals until each iteration."""
    volumes = hypervolumes(record.config, record.evaluated)
    return volumes + volumes[-1:] * (len(record.metrics) - len(volumes))


def _padded(record: Record) -> list[list[Evaluated]]:
    """Evaluated crystals of each iteration, with empty ones at the end."""
    batches = by_iteration(record.evaluated)
    return [*batches, *([] for _ in range(len(record.metrics) - len(batches)))]


def _table(rows: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Rows of different lengths side by side, NaN at the end of the shorter ones."""
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = row
    return table


def _mean(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.mean()) if len(there) else math.nan


def _sd(values: NDArray[np.float64]) -> float:
    there = values[~np.isnan(values)]
    return float(there.std(ddof=1)) if len(there) > 1 else 0.0
