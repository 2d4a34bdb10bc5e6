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


def make_plan(config: LearningConfig, sizes: Sequence[int], rng: torch.Generator) -> Plan:
    """Plan the optimizer steps of one iteration for crystals of the given sizes (atoms)."""
    if config.schedule == "paper":
        return _paper_plan(config, len(sizes))
    return _stratified_plan(config, sizes, rng)


def _paper_plan(config: LearningConfig, n: int) -> Plan:
    """Epochs over t = 1000..1 in order, one t for the whole batch, a step every ``accumulate`` timesteps."""

    def steps() -> Iterator[list[Pass]]:
        for _ in range(config.epochs):
            for start in range(config.timesteps, 0, -config.accumulate):
                group = range(start, max(start - config.accumulate, 0), -1)
                yield [Pass(0, torch.full((n,), i / config.timesteps)) for i in group]

    return Plan([list(range(n))], steps())


def _stratified_plan(config: LearningConfig, sizes: Sequence[int], rng: torch.Generator) -> Plan:
    """Each crystal at ``levels`` noise levels per step, one from each of equal strata of (0, 1].

    Crystals are ordered by size so that padding is small, and cut into chunks of ``micro_batch`` pairs.
    """
    by_size = sorted(range(len(sizes)), key=lambda i: sizes[i])
    pairs = [i for i in by_size for _ in range(config.levels)]
    cuts = range(0, len(pairs), config.micro_batch)
    chunks = [pairs[cut : cut + config.micro_batch] for cut in cuts]

    def steps() -> Iterator[list[Pass]]:
        strata = torch.arange(config.levels).repeat(len(sizes))
        for _ in range(config.updates):
            t = (strata + 1 - torch.rand(len(pairs), generator=rng)) / config.levels
            yield [Pass(k, t[cut : cut + config.micro_batch]) for k, cut in enumerate(cuts)]

    return Plan(chunks, steps())
