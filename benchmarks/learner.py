"""What the learner costs and how many (crystal, noise level) pairs it needs.

    python benchmarks/learner.py            # both tables, about 10 minutes on two cores
    python benchmarks/learner.py --time     # only the time ratio of the schedules

Table 1: one iteration of the paper's schedule (one noise level for the whole batch, gradients accumulated over
50 timesteps) against the stratified one (many levels in one forward pass), at the same number of
pairs and optimizer steps, alternating in one process.
Table 2: mean reward after a fixed number of iterations against the pairs spent per iteration, on the toy
world and on density with the shipped prior (no screening, so that only the learner varies).
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from setting import processor

from matinvent.config import GeneratorConfig, LearningConfig
from matinvent.errors import Failure
from matinvent.generators.protocol import Generator
from matinvent.learning.learner import Learner
from matinvent.priors import load_generator

TOY = "matinvent.testing.toy:make_generator"
PRIOR = "mp-symmetric"


def load(name: str, samples: int) -> Generator:
    return load_generator(name, GeneratorConfig(prior=name, samples=samples, steps=30))


def draw(generator: Generator, n: int, rng: torch.Generator) -> list:
    return [s for s in generator.sample(n, rng) if not isinstance(s, Failure)]


def time_schedules(name: str, timesteps: int, accumulate: int, repeats: int) -> None:
    """Median seconds of one learning iteration by either schedule."""
    generator = load(name, 18)
    rng = torch.Generator().manual_seed(0)
    items = [e for e in generator.encode(draw(generator, 18, rng)) if not isinstance(e, Failure)]
    common = {"timesteps": timesteps, "epochs": 1, "accumulate": accumulate}
    configs = {
        "paper": LearningConfig(schedule="paper", **common),
        "stratified": LearningConfig(updates=timesteps // accumulate, pairs=accumulate * len(items)),
    }
    seconds: dict[str, list[float]] = {schedule: [] for schedule in configs}
    for _ in range(repeats):
        for schedule, config in configs.items():
            agent = generator.clone()
            learner = Learner(agent, generator.clone(), config)
            start = time.perf_counter()
            report = learner.learn(items, [0.5] * len(items), rng)
            seconds[schedule].append(time.perf_counter() - start)
            assert report is not None
            assert report.pairs == timesteps * len(items)
    paper, ours = (statistics.median(seconds[s]) for s in ("paper", "stratified"))
    print(
        f"{name.split(':', maxsplit=1)[0]:24s} {timesteps * len(items):6d} pairs {timesteps // accumulate:3d} steps  "
        f"paper {paper:7.2f} s  stratified {ours:7.2f} s  ratio {paper / ours:.2f}"
    )


def density_reward(structure: object) -> float:
    """The density task of METHOD: target 18 g/cm^3, ramp 10."""
    return max(0.0, 1 - abs(float(structure.density) - 18) / 10)  # type: ignore[attr-defined]


def learn_curve(
    name: str, config: LearningConfig, iterations: int, samples: int, seed: int
) -> tuple[int, float, float]:
    """Pairs per iteration, final mean reward, seconds spent learning."""
    agent = load(name, samples)
    learner = Learner(agent, agent.clone(), config)
    rng = torch.Generator().manual_seed(seed)
    pairs, spent = 0, 0.0
    for _ in range(iterations):
        crystals = draw(agent, samples, rng)
        best = sorted(crystals, key=density_reward, reverse=True)[:16]
        encoded = [
            (e, density_reward(s)) for e, s in zip(agent.encode(best), best, strict=True) if not isinstance(e, Failure)
        ]
        start = time.perf_counter()
        report = learner.learn([e for e, _ in encoded], [r for _, r in encoded], rng)
        spent += time.perf_counter() - start
        pairs = report.pairs if report else 0
    final = [density_reward(s) for s in draw(agent, 96, rng)]
    return pairs, statistics.fmean(final), spent


def sweep(name: str, iterations: int, samples: int, budgets: list[LearningConfig], seeds: int) -> None:
    for config in budgets:
        runs = [learn_curve(name, config, iterations, samples, seed) for seed in range(seeds)]
        rewards = [reward for _, reward, _ in runs]
        seconds = statistics.median(s for _, _, s in runs)
        print(
            f"{name.split(':', maxsplit=1)[0]:24s} {config.schedule:10s} {runs[0][0]:6d} pairs/iteration  reward after "
            f"{iterations}: {statistics.fmean(rewards):.3f} (seeds {', '.join(f'{r:.2f}' for r in rewards)})  "
            f"learning {seconds:6.1f} s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time", action="store_true", help="only the time ratio")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--worlds", nargs="+", choices=["toy", "density"], default=["toy", "density"])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"# {processor()}, {options.threads} threads, torch {torch.__version__}")
    if "toy" in options.worlds:
        time_schedules(TOY, 1000, 50, 5)
    if "density" in options.worlds:
        time_schedules(PRIOR, 200, 50, 3)
    if options.time:
        return
    if "toy" in options.worlds:
        toy = [
            LearningConfig(learning_rate=0.02, updates=u, pairs=v) for u, v in [(5, 36), (20, 36), (20, 144), (60, 288)]
        ]
        toy.append(LearningConfig(learning_rate=0.02, schedule="paper"))
        sweep(TOY, 10, 64, toy, options.seeds)
    if "density" in options.worlds:
        prior = [LearningConfig(updates=u, pairs=v) for u, v in [(5, 72), (10, 144), (20, 144), (40, 144)]]
        sweep(PRIOR, 4, 48, prior, options.seeds)


if __name__ == "__main__":
    main()
