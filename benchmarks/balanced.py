"""What it brings and costs that the last element of a crystal balances the charges (`generator.balanced`).

    python benchmarks/balanced.py                          # the shipped prior
    python benchmarks/balanced.py runs/band_gap-1 -n 128   # the agent that a campaign trained

The same templates and noise, with and without, in turn; median time of three rounds. Valid: geometry and charges
(SMACT), as campaigns ask.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from setting import processor

from matinvent.config import GeneratorConfig
from matinvent.config_screening import ValidityConfig
from matinvent.errors import Failure
from matinvent.generators.diffcsp.model import DiffCSP
from matinvent.priors import load_generator
from matinvent.screening.validity import check_validity
from matinvent.trained_agent import load_agent

ROUNDS = 3


def sample(model: DiffCSP, n: int, seed: int, balanced: bool) -> tuple[int, float]:
    """How many of n samples are valid, and how long they took."""
    model.sampler = replace(model.sampler, balanced=balanced)
    start = time.perf_counter()
    drawn = model.sample(n, torch.Generator().manual_seed(seed))
    seconds = time.perf_counter() - start
    return sum(not isinstance(s, Failure) and check_validity(s, ValidityConfig()) is None for s in drawn), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="run directory of a campaign; without: the shipped prior")
    parser.add_argument("-n", type=int, default=128, help="crystals per round")
    options = parser.parse_args()

    loaded = load_agent(options.run) if options.run else load_generator("mp-symmetric", GeneratorConfig())
    model = cast("DiffCSP", loaded)
    sample(model, 8, 0, balanced=False)  # warm
    sample(model, 8, 0, balanced=True)
    valid: dict[bool, int] = {False: 0, True: 0}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for seed in range(ROUNDS):
        for balanced in valid:
            found, spent = sample(model, options.n, seed, balanced)
            valid[balanced] += found
            seconds[balanced].append(spent)
    print(f"{options.run or 'mp-symmetric'}, {ROUNDS} x {options.n} samples; {processor()}")
    for balanced, found in valid.items():
        share = found / (ROUNDS * options.n)
        print(
            f"{'balanced' if balanced else 'as drawn'}: {share:.3f} valid, {statistics.median(seconds[balanced]):.1f} s"
        )
    ratio = statistics.median(b / a for a, b in zip(seconds[False], seconds[True], strict=True))
    print(f"time with / without: {ratio:.2f}")


if __name__ == "__main__":
    main()
