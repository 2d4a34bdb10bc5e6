"""Do weights that move cover more of a front than fixed ones, at the same number of evaluations?

    python benchmarks/pareto.py                         # four problems, 6 seeds, about 5 minutes on two cores
    python benchmarks/pareto.py --seeds 2 --problems travel-concave

Campaigns in the toy world, where the fronts are known. "travel": where along the front a crystal is depends on its
lattice parameter, how near to it on its element; the prior sits in the middle of the front and rarely has the right
element. "spread": the other way round; the prior is all along the front and far from it. A convex front bulges toward
what is wanted, a concave one away from it. Said is the share of the known front's hypervolume that all crystals found
in a campaign cover, and the ratio of the medians over the seeds, moving over fixed.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from setting import processor

from matinvent.campaign import Campaign
from matinvent.config_files import build_config
from matinvent.memory.ledger import Ledger
from matinvent.reporting.pareto import trace_front
from matinvent.rewards.pareto import hypervolume
from matinvent.testing.toy import ELEMENTS, PRIOR_MEAN, PRIOR_WIDTH

if TYPE_CHECKING:
    from pymatgen.core import Structure

#: Exponent e of the front s1 ** (1 / e) + s2 ** (1 / e) = 1.
SHAPES = {"convex": 0.5, "concave": 2.0}
KINDS = ("travel", "spread")
#: Standardised log lattice parameter at an end of the front (travel; the other is at minus this), or on it (spread).
REACH = 4.0
#: Aggregation and whether its weights move.
MODES = [(aggregation, moving) for aggregation in ("chebyshev", "weighted_mean") for moving in (False, True)]

SETTINGS: dict[str, Any] = {
    "name": "front",
    "threads": 1,
    "generator": {"prior": "matinvent.testing.toy:make_generator", "samples": 8},
    "screening": {
        "validity": {"smact": False},
        "relaxation": {"enabled": False},
        "stability": False,
        "uniqueness": False,
        "novelty": False,
    },
    "evaluation": {"per_iteration": 8, "cache": False},
    "diversity": {"enabled": False},
    "learning": {"learning_rate": 0.03},
    "logging": {"tensorboard": False},
}


def first(structure: Structure, *, kind: str, shape: str) -> float:
    """The first goal, in [0, 1]."""
    position, nearness = _place(structure, kind)
    return nearness * position ** SHAPES[shape]


def second(structure: Structure, *, kind: str, shape: str) -> float:
    """The second goal, in [0, 1]."""
    position, nearness = _place(structure, kind)
    return nearness * (1 - position) ** SHAPES[shape]


def _place(structure: Structure, kind: str) -> tuple[float, float]:
    """Where along the front (0 to 1), and how near to it (1: on it)."""
    x = (math.log(structure.volume) / 3 - PRIOR_MEAN) / PRIOR_WIDTH
    rank = ELEMENTS.index(structure[0].species_string) / (len(ELEMENTS) - 1)
    if kind == "travel":
        return min(1.0, max(0.0, 0.5 + 0.5 * x / REACH)), 0.3 + 0.7 * rank
    return rank, max(0.0, 1 - abs(x - REACH) / (2 * REACH))


def whole(kind: str, shape: str) -> float:
    """Hypervolume of the known front."""
    positions = np.linspace(0, 1, 2001 if kind == "travel" else len(ELEMENTS))
    return hypervolume(np.column_stack([positions ** SHAPES[shape], (1 - positions) ** SHAPES[shape]]))


def covered(kind: str, shape: str, aggregation: str, moving: bool, seed: int, iterations: int) -> float:
    """Hypervolume of all that one campaign finds."""
    goals = [
        {
            "property": f"{Path(__file__).resolve()}:{name}",
            "kind": "maximize",
            "lo": 0.0,
            "hi": 1.0,
            "params": {"kind": kind, "shape": shape},
        }
        for name in ("first", "second")
    ]
    chosen = {"aggregation": aggregation, "preferences": {"moving": moving}, "seed": seed, "iterations": iterations}
    config = build_config({**SETTINGS, **chosen, "objectives": goals})
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign.start(config, Path(folder) / "run")
        campaign.run()
        found = trace_front(config.objectives, Ledger(campaign.directory.ledger_file).candidates())
    return found.growth[-1].cumulative


def main() -> None:
    problems = [f"{kind}-{shape}" for kind in KINDS for shape in SHAPES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", nargs="+", choices=problems, default=problems)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--iterations", type=int, default=25, help="of 8 evaluations each")
    options = parser.parse_args()
    print(f"# {processor()}; {options.iterations} iterations of 8 evaluations, {options.seeds} seeds")
    print("| problem | aggregation | fixed: median (range) | moving: median (range) | ratio |\n|---|---|---|---|---|")
    for problem in options.problems:
        kind, shape = problem.split("-")
        shares: dict[tuple[str, bool], list[float]] = {
            mode: [covered(kind, shape, *mode, seed, options.iterations) for seed in range(options.seeds)]
            for mode in MODES
        }
        total = whole(kind, shape)
        for aggregation in dict.fromkeys(name for name, _ in MODES):
            rows = [[value / total for value in shares[aggregation, moving]] for moving in (False, True)]
            cells = [f"{statistics.median(row):.3f} ({min(row):.3f} - {max(row):.3f})" for row in rows]
            ratio = statistics.median(rows[1]) / statistics.median(rows[0])
            print(f"| {problem} | {aggregation} | {cells[0]} | {cells[1]} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
