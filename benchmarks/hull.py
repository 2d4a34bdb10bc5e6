"""Energies above the hull: the linear programme beside pymatgen's PhaseDiagram, on the same entries.

    python benchmarks/hull.py [--data DATA] [--n 500] [--seed 0]     # a minute or two on one core

Crystals are random compositions of chemical systems that occur in the reference, of 1 to 6 elements in equal numbers,
with random energies around the hull. Without --data the entries are those of the shipped reference set: vertices of
the hull only, which spares PhaseDiagram most of its work. With --data they are all entries of mp_energies.parquet in
that folder, which is what one would build phase diagrams from.

PhaseDiagram is built once per chemical system, from a list of entries that is ready: finding the entries of a system is
not counted for it, but is for ours, and so is naming the products of decomposition. Times are CPU times.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition
from setting import processor

from matinvent.errors import Failure
from matinvent.priors.dataset import load_table
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.stability import Hull, HullResult, atomic_fractions, formula, symbol

SIZES = range(1, 7)
#: Spread of the energies around the hull (eV/atom).
SPREAD = 0.15
#: Shares of the atoms that differ by more than this are different decompositions.
SAME_SHARE = 1e-4


@dataclass
class Timing:
    """Times (s) for one crystal; ``build`` is 0 where its phase diagram was there already."""

    size: int
    build: float
    query: float
    ours: float
    difference: float
    same_phases: bool


class Entries:
    """The entries of the reference, for ours and for pymatgen."""

    def __init__(self, hull: Hull, data: Path | None) -> None:
        self.fractions, self.energies = hull.fractions, hull.energies
        if data is not None:
            table = load_table(data, "mp_energies", ["formula", "energy_per_atom"])
            self.fractions = atomic_fractions(table["formula"].tolist())
            self.energies = table["energy_per_atom"].to_numpy()

    def of_system(self, numbers: np.ndarray) -> list[PDEntry]:
        """What pymatgen builds a phase diagram from."""
        outside = np.ones(self.fractions.shape[1], dtype=bool)
        outside[numbers] = False
        chosen = np.flatnonzero(~(self.fractions[:, outside] > 0).any(axis=1))
        compositions = [Composition(formula(self.fractions[row])) for row in chosen]
        return [PDEntry(c, e * c.num_atoms) for c, e in zip(compositions, self.energies[chosen], strict=True)]


def draw(entries: Entries, hull: Hull, count: int, rng: np.random.Generator) -> list[tuple[Composition, float]]:
    """Random compositions and energies (eV/atom)."""
    sizes = (entries.fractions > 0).sum(axis=1)
    drawn = []
    for number in range(count):
        size = SIZES[number % len(SIZES)]
        row = entries.fractions[rng.choice(np.flatnonzero(sizes == size))]
        amounts = rng.integers(1, 7, size)
        composition = Composition(dict(zip([symbol(z) for z in np.flatnonzero(row)], amounts.tolist(), strict=True)))
        ground = hull.hull_energy(composition)
        if isinstance(ground, Failure):
            raise SystemExit(f"{composition}: {ground}")
        drawn.append((composition, ground + rng.normal(0, SPREAD)))
    return drawn


def measure(entries: Entries, hull: Hull, crystals: list[tuple[Composition, float]]) -> list[Timing]:
    results = []
    for composition, energy in crystals:
        start = time.process_time()
        result = hull.energy_above_hull(composition, energy)
        results.append((result, time.process_time() - start))
    diagrams: dict[str, PhaseDiagram] = {}
    timings = []
    for (composition, energy), (result, ours) in zip(crystals, results, strict=True):
        system, build = composition.chemical_system, 0.0
        if system not in diagrams:
            listed = entries.of_system(np.array([element.Z for element in composition.elements]))
            start = time.process_time()
            diagrams[system] = PhaseDiagram(listed)
            build = time.process_time() - start
        entry = PDEntry(composition, energy * composition.num_atoms)
        start = time.process_time()
        phases, above = diagrams[system].get_decomp_and_e_above_hull(entry, allow_negative=True)
        query = time.process_time() - start
        if not isinstance(result, HullResult):
            raise SystemExit(f"{composition}: {result}")
        theirs = {phase.composition.reduced_formula: share for phase, share in phases.items()}
        names = set(theirs) | set(result.decomposition)
        same = all(abs(theirs.get(n, 0.0) - result.decomposition.get(n, 0.0)) < SAME_SHARE for n in names)
        timings.append(Timing(len(composition), build, query, ours, abs(above - result.e_above_hull), same))
    return timings


def show(timings: list[Timing]) -> None:
    print("| elements | crystals | PhaseDiagram, built (ms) | kept (ms) | ours (ms) | ratio of medians | of totals |")
    print("|---|---|---|---|---|---|---|")
    for size in [*SIZES, None]:
        chosen = [t for t in timings if size is None or t.size == size]
        built = np.array([t.build + t.query for t in chosen])
        kept, ours = np.array([t.query for t in chosen]), np.array([t.ours for t in chosen])
        medians = [1000 * np.median(times) for times in (built, kept, ours)]
        print(
            f"| {size or 'all'} | {len(chosen)} | {' | '.join(f'{m:.3g}' for m in medians)} "
            f"| {medians[0] / medians[2]:.0f} | {built.sum() / ours.sum():.0f} |"
        )
    kept_ratio = sum(t.query for t in timings) / sum(t.ours for t in timings)
    print(
        f"\nlargest difference: {1000 * max(t.difference for t in timings):.2g} meV/atom; other decompositions: "
        f"{sum(not t.same_phases for t in timings)} of {len(timings)}; against phase diagrams that are there already: "
        f"{kept_ratio:.1f}x"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mp_energies.parquet")
    parser.add_argument("--n", type=int, default=500, help="crystals")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="pymatgen")
    start = time.process_time()
    shipped = ReferenceSet.load("mp").hull
    loaded = time.process_time()
    shipped.energy_above_hull(Composition("SrTiO3"), -8.0)
    first = time.process_time()
    entries = Entries(shipped, arguments.data)
    hull = Hull(entries.fractions, entries.energies)
    timings = measure(entries, hull, draw(entries, hull, arguments.n, np.random.default_rng(arguments.seed)))
    print(f"{processor()}; {len(entries.energies)} entries, {len(hull)} compositions")
    print(f"opening the shipped set: {loaded - start:.2f} s; its first query: {1000 * (first - loaded):.1f} ms\n")
    show(timings)


if __name__ == "__main__":
    main()
