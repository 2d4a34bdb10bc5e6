"""Can the stability of a kind of crystal be foretold? Feasibility on finished campaigns, as it was when it was needed.

    python benchmarks/feasibility.py runs/density-1 runs/band_gap-1

For every iteration the forest learns from the iterations before it and foretells which crystals of this one turn out
stable; only crystals count that were relaxed. A chance that says something ranks them (area under the ROC curve: 0.5 is
guessing) and is neither too high nor too low (mean chance beside the share that was stable, in bins of the chance).
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from setting import processor
from sklearn.metrics import brier_score_loss, roc_auc_score

from matinvent.candidate import Candidate, Fate
from matinvent.config import FeasibilityConfig
from matinvent.feasibility import Feasibility
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory

_BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
#: Fates of crystals that were judged and found unstable.
_UNSTABLE = (Fate.UNSTABLE, Fate.RELAX_FAILED)


def judged(candidate: Candidate) -> bool:
    """Relaxed and found stable, or not; twins that were recognised as drawn are no test."""
    return candidate.structure is not None and (candidate.relaxed is not None or candidate.fate in _UNSTABLE)


def foretold(candidates: list[Candidate]) -> tuple[np.ndarray, np.ndarray, float]:
    """Chances and outcomes of all judged crystals, and CPU seconds of the last forest."""
    feasibility = Feasibility(FeasibilityConfig())
    chances: list[float] = []
    stable: list[bool] = []
    seconds = 0.0
    for iteration in range(max(c.iteration for c in candidates) + 1):
        own = [c for c in candidates if c.iteration == iteration]
        start = time.process_time()
        feasibility.update(np.random.default_rng(iteration))
        seconds = time.process_time() - start
        asked = [c for c in own if judged(c)]
        for candidate, chance in zip(asked, feasibility.chances([c.structure for c in asked]), strict=True):
            if np.isfinite(chance):
                chances.append(float(chance))
                stable.append(candidate.fate not in _UNSTABLE)
        feasibility.remember(own)
    return np.array(chances), np.array(stable), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories of campaigns")
    options = parser.parse_args()
    print(f"{processor()}\n")
    print(
        "| campaign | crystals | stable | AUC | Brier | of the mean | "
        + " | ".join(f"to {b:g}" for b in _BINS[1:])
        + " | s |"
    )
    print("|" + "---|" * (7 + len(_BINS) - 1))
    for path in options.runs:
        run, _ = RunDirectory.open(path)
        chances, stable, seconds = foretold(Ledger(run.ledger_file).candidates())
        if len(set(stable.tolist())) < 2:
            print(f"| {path.name} | {len(stable)} | nothing to tell apart |")
            continue
        cells = []
        for low, high in pairwise(_BINS):
            own = (chances >= low) & ((chances < high) | (high == 1.0))
            cells.append(f"{stable[own].mean():.2f} of {own.sum()}" if own.any() else "-")
        share = stable.mean()
        numbers = (roc_auc_score(stable, chances), brier_score_loss(stable, chances), share * (1 - share))
        print(
            f"| {path.name} | {len(stable)} | {share:.2f} | "
            + " | ".join(f"{number:.2f}" for number in numbers)
            + f" | {' | '.join(cells)} | {seconds:.1f} |"
        )
    print("\nTo 0.2 and so on: the share that was stable among crystals with chances up to that.")


if __name__ == "__main__":
    main()
