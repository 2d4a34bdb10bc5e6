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
    """Mean and spread over seeds, at equal numbers of evaluations.

    Attributes:
        x: evaluations spent, shape (points,): from where all campaigns have begun to where the first has ended.
        mean: shape (points,).
        sd: standard deviation over seeds, shape (points,); 0 for a single one.
        rest: (x, y) of each longer campaign from there on.
        seeds: how many campaigns.
    """

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    rest: tuple[tuple[NDArray[np.float64], ...], ...]
    seeds: int


def curve(campaigns: Sequence[Analysed], series: Series) -> Curve:
    """Average a quantity over campaigns, which spend their evaluations in iterations of different size.

    Between iterations that measured it a quantity is interpolated.
    """
    own = [_points(campaign.record, series) for campaign in campaigns]
    lines = [(x, y) for x, y in own if len(x)]
    if not lines:
        nothing = np.empty(0)
        return Curve(nothing, nothing, nothing, (), len(campaigns))
    begin, end = max(x[0] for x, _ in lines), min(x[-1] for x, _ in lines)
    grid = np.unique(np.concatenate([x for x, _ in lines]))
    grid = grid[(grid >= begin) & (grid <= end)]
    values = np.stack([np.interp(grid, x, y) for x, y in lines])
    return Curve(
        x=grid,
        mean=values.mean(axis=0),
        sd=values.std(axis=0, ddof=1) if len(lines) > 1 else np.zeros(len(grid)),
        rest=tuple(_after(end, x, y) for x, y in lines if x[-1] > end),
        seeds=len(campaigns),
    )


def _after(end: float, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """The part of a line beyond ``end``, that point included."""
    beyond = x > end
    return np.append(end, x[beyond]), np.append(np.interp(end, x, y), y[beyond])


def _points(record: Record, series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluations spent and the quantity after each iteration that measured it; of equal numbers spent the last."""
    spent, values = np.asarray(evaluations(record), dtype=float), np.asarray(series(record), dtype=float)
    there = np.isfinite(spent) & np.isfinite(values)
    spent, values = spent[there], values[there]
    last = np.append(np.diff(spent) > 0, True)[: len(spent)]
    return spent[last], values[last]


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
