"""Do samples follow the crystals that an agent is taught? With and without learning the structure types.

    python benchmarks/tilt.py

Of crystals that the shipped prior draws, the densest are taught with full reward; after each round (20 optimizer
steps) the agent is sampled and the median density set beside that of its lessons. Learning the templates, too,
should bring the samples to the lessons; what it costs in variety stands beside it.
"""

from __future__ import annotations

import argparse
import statistics

import torch

from matinvent.config import GeneratorConfig, LearningConfig
from matinvent.errors import Failure
from matinvent.experiments.machine import processor
from matinvent.generators.protocol import Generator
from matinvent.learning.learner import Learner
from matinvent.priors import load_generator

PRIOR = "mp-symmetric"


def draw(generator: Generator, n: int, seed: int) -> list:
    return [s for s in generator.sample(n, torch.Generator().manual_seed(seed)) if not isinstance(s, Failure)]


def describe(crystals: list) -> str:
    systems = len({crystal.chemical_system for crystal in crystals}) / len(crystals)
    median = statistics.median(crystal.density for crystal in crystals)
    return f"median density {median:5.1f} g/cm3, {systems:4.0%} of chemical systems distinct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=int, default=240, help="crystals to choose the lessons from")
    parser.add_argument("--lessons", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"# {processor()}, {options.threads} threads, torch {torch.__version__}")
    prior = load_generator(PRIOR, GeneratorConfig(steps=24, candidates=1, tilt={"enabled": False}))
    pool = sorted(draw(prior, options.pool, 0), key=lambda crystal: -crystal.density)
    lessons = pool[: options.lessons]
    print(f"prior:   {describe(pool)}\nlessons: {describe(lessons)}")
    for enabled in (False, True):
        frozen = load_generator(PRIOR, GeneratorConfig(steps=24, candidates=1, tilt={"enabled": enabled}))
        agent = frozen.clone()
        learner = Learner(agent, frozen, LearningConfig(learning_rate=1e-3, pairs=64))
        items = [item for item in agent.encode(lessons) if not isinstance(item, Failure)]
        for number in range(options.rounds):
            learner.learn(items, [1.0] * len(items), torch.Generator().manual_seed(number))
            found = describe(draw(agent, 64, 100 + number))
            print(f"templates {'learned' if enabled else 'fixed':7s} after {20 * (number + 1):3d} steps: {found}")


if __name__ == "__main__":
    main()
