"""Timestep schedules: which noise levels each crystal is learned at, and in which order.

A :class:`Plan` cuts the crystals of an iteration into fixed chunks (one forward pass each) and lists, per
optimizer step, which chunk is passed at which noise levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from matinvent.config import LearningConfig


@dataclass(frozen=True)
class Pass:
    """One forward pass: the rows of a chunk at noise levels t, shape (rows,), in (0, 1]."""

    chunk: int
    t: torch.Tensor


@dataclass(frozen=True)
class Plan:
    """Chunks of crystal indices (a crystal appears once per noise level) and the passes of each step."""

    chunks: list[list[int]]
    steps: Iterator[list[Pass]]


def make_plan(config: LearningConfig, sizes: Sequence[int], rng: torch.Generator, at_once: int = 16) -> Plan:
    """Plan the optimizer steps of one iteration.

    Args:
        config: says which schedule, and how much of it.
        sizes: atoms of each crystal.
        rng: draws noise levels.
        at_once: pairs per forward pass of the stratified schedule, where ``config`` leaves it open.
    """
    if config.schedule == "paper":
        return _paper_plan(config, len(sizes))
    return _stratified_plan(config, sizes, rng, config.micro_batch or at_once)


def _paper_plan(config: LearningConfig, n: int) -> Plan:
    """Epochs over t = 1000..1 in order, one t for the whole batch, a step every ``accumulate`` timesteps."""

    def steps() -> Iterator[list[Pass]]:
        for _ in range(config.epochs):
            for start in range(config.timesteps, 0, -config.accumulate):
                group = range(start, max(start - config.accumulate, 0), -1)
                yield [Pass(0, torch.full((n,), i / config.timesteps)) for i in group]

    return Plan([list(range(n))], steps())


def _stratified_plan(config: LearningConfig, sizes: Sequence[int], rng: torch.Generator, at_once: int) -> Plan:
    """Each crystal at several noise levels per step, one from each of equal strata of (0, 1].

    The crystals share the ``pairs`` of a step, so that the gradient is as good where there are few of them. They are
    ordered by size so that padding is small, and cut into chunks of ``at_once`` pairs.
    """
    levels = max(1, round(config.pairs / len(sizes)))
    by_size = sorted(range(len(sizes)), key=lambda i: sizes[i])
    pairs = [i for i in by_size for _ in range(levels)]
    cuts = range(0, len(pairs), at_once)
    chunks = [pairs[cut : cut + at_once] for cut in cuts]

    def steps() -> Iterator[list[Pass]]:
        strata = torch.arange(levels).repeat(len(sizes))
        for _ in range(config.updates):
            t = (strata + 1 - torch.rand(len(pairs), generator=rng)) / levels
            yield [Pass(k, t[cut : cut + at_once]) for k, cut in enumerate(cuts)]

    return Plan(chunks, steps())
