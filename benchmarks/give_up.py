"""Giving up crystals that will not become stable: what it saves and whom it costs.

    python benchmarks/give_up.py                                    # 256 samples of the shipped prior, minutes
    python benchmarks/give_up.py --crystals FILE.extxyz -n 1000     # those of a file
    python benchmarks/give_up.py --candidates 1 --seed 1            # samples that no critic has chosen

The crystals are relaxed twice with the defaults of the screening, in one process: to the end, and with the energies
that they must reach to count as stable. A true positive is a crystal that ends below that energy when relaxed to the
end; it is lost when giving up stops it above. The saving is in optimizer steps times atoms, which is what a potential
is paid for, and in CPU time. Whoever leaves a batch changes the rounding of the others, and who is near a saddle point
may then end elsewhere: such changes are counted apart, they go both ways.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from setting import generated_crystals, processor

from matinvent.cli.output import progress_bar
from matinvent.config_screening import RelaxationConfig, ScreeningConfig
from matinvent.errors import Failure
from matinvent.screening.quality import wilson
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.relaxation import Relaxation, Relaxer, make_relaxer

if TYPE_CHECKING:
    from pymatgen.core import Structure


class Run(NamedTuple):
    """All crystals relaxed in one way, and the CPU seconds that took."""

    results: list[Relaxation | Failure]
    cpu: float


class Tally(NamedTuple):
    """Giving up at one stability threshold.

    Attributes:
        threshold: energy above the hull that a stable crystal stays below (eV/atom).
        positives: crystals that end stable when relaxed to the end.
        lost: those of them that were given up.
        changed: crystals that were relaxed to the end both times and are stable once only.
        given_up: crystals given up.
        steps: optimizer steps times atoms, as a share of what relaxing to the end takes.
        cpu: the same of the CPU time.
    """

    threshold: float
    positives: int
    lost: int
    changed: int
    given_up: int
    steps: float
    cpu: float


def timed(relaxer: Relaxer, structures: Sequence[Structure], ceilings: Sequence[float | None] | None, name: str) -> Run:
    """Relax with a stop watch."""
    with progress_bar(f"{name}: {len(structures)} crystals") as progress:
        start = time.process_time()
        results = relaxer.relax(structures, progress, ceilings=ceilings)
        return Run(results, time.process_time() - start)


def work(run: Run) -> int:
    """Optimizer steps times atoms."""
    return sum(r.steps * len(r.structure) for r in run.results if isinstance(r, Relaxation))


def compare(full: Run, early: Run, ceilings: Sequence[float | None], threshold: float) -> Tally:
    """What giving up saved and cost."""
    positives = lost = changed = given_up = 0
    for one, other, ceiling in zip(full.results, early.results, ceilings, strict=True):
        if isinstance(one, Failure) or isinstance(other, Failure) or ceiling is None:
            continue
        stable = one.energy_per_atom < ceiling
        positives += stable
        given_up += other.given_up
        if other.given_up:
            lost += stable
        else:
            changed += stable != (other.energy_per_atom < ceiling)
    return Tally(threshold, positives, lost, changed, given_up, work(early) / work(full), early.cpu / full.cpu)


def row(tally: Tally) -> str:
    """A line of the table."""
    low, high = wilson(tally.lost, tally.positives)
    loss = f"{tally.lost / max(tally.positives, 1):.2%} ({low:.2%} to {high:.2%})"
    return (
        f"| {tally.threshold:g} | {tally.positives} | {tally.given_up} | {tally.lost} | {loss} "
        f"| {tally.changed} | {1 - tally.steps:.1%} | {1 - tally.cpu:.1%} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=256, help="number of crystals")
    parser.add_argument("--prior", default="mp-symmetric", help="what samples them")
    parser.add_argument("--candidates", type=int, help="crystals drawn per sample; 1: no critic")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crystals", type=Path, help="relax the first crystals of this file instead")
    parser.add_argument("--thresholds", default="0.1", help="energies above the hull, comma-separated (eV/atom)")
    options = parser.parse_args()

    structures = generated_crystals(
        options.n, prior=options.prior, seed=options.seed, file=options.crystals, candidates=options.candidates
    )
    config = ScreeningConfig()
    hull = ReferenceSet.load(config.reference).hull
    floors = [hull.hull_energy(structure.composition) for structure in structures]
    relaxer = make_relaxer(RelaxationConfig(device="cpu"), workers=1)
    relaxer.relax(structures[:1])  # the first pass is slower
    full = timed(relaxer, structures, None, "to the end")

    print(f"{len(structures)} crystals, {processor()}\n")
    print("| stable below, eV/atom | true positives | given up | lost | loss (95 % interval) | changed by rounding "
          "| steps x atoms saved | CPU time saved |\n|---" + "|---" * 7 + "|")  # fmt: skip
    for threshold in (float(text) for text in options.thresholds.split(",")):
        ceilings = [None if isinstance(floor, Failure) else floor + threshold for floor in floors]
        early = timed(relaxer, structures, ceilings, f"giving up at {threshold:g}")
        print(row(compare(full, early, ceilings, threshold)), flush=True)


if __name__ == "__main__":
    main()
