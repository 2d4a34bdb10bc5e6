"""Novelty by fingerprints against pymatgen's StructureMatcher: agreement and speed, in one run.

    python benchmarks/novelty.py DATA                 # about 15 minutes on two cores, most of it relaxation
    python benchmarks/novelty.py DATA --crystals made.json -n 1000

Crystals whose formula is known, none of them from the formulas that the fingerprint was trained on:

- rediscovered: known crystals rattled (0.05 - 0.25 A), strained (3 %) and relaxed with CHGNet;
- substituted: known formulas in the structure of another compound, relaxed with CHGNet: right or wrong polymorphs;
- near-duplicates: known crystals whose formula has several entries, compared with the other entries only. The
  Materials Project merges duplicates with StructureMatcher, so that what is left are cases at its very border.

Truth is whether StructureMatcher (defaults) fits any known crystal of the same formula. Times are CPU time of this
process for the first two kinds together: ours from pymatgen structures to verdicts against the packaged set; the
matcher's with its reference structures already in memory, for all of a formula and until the first that fits.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from novelty_crystals import MAX_ATOMS, KnownCrystals, rattled, relax
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure
from setting import processor

from matinvent.errors import Failure
from matinvent.screening.fingerprint import THRESHOLD
from matinvent.screening.matching import identify
from matinvent.screening.quality import wilson
from matinvent.screening.reference import ReferenceSet


class Query(NamedTuple):
    """A crystal to be judged; ``itself`` is the known crystal it must not be compared with, if any."""

    kind: str
    structure: Structure
    itself: str


class Spent(NamedTuple):
    """CPU seconds of StructureMatcher: over all pairs, and ending at the first that fits."""

    all: float
    until_fit: float
    pairs: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mp_structures.parquet")
    parser.add_argument("-n", type=int, default=1000, help="rediscovered and substituted crystals, half each")
    parser.add_argument("--near-duplicates", type=int, default=300)
    parser.add_argument("--crystals", type=Path, help="keep the relaxed crystals here, or take them from here")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    known = KnownCrystals(arguments.data)
    rng = np.random.default_rng(arguments.seed)
    if arguments.crystals is not None and arguments.crystals.is_file():
        stored = json.loads(arguments.crystals.read_text(encoding="utf-8"))
        queries = [Query(kind, Structure.from_dict(crystal), "") for kind, crystal in stored]
    else:
        queries = relaxed_queries(known, arguments.n, rng)
        if arguments.crystals is not None:
            stored = [[query.kind, query.structure.as_dict(verbosity=0)] for query in queries]
            arguments.crystals.write_text(json.dumps(stored), encoding="utf-8")
    queries += near_duplicates(known, arguments.near_duplicates, rng)
    truth, matcher = ask_matcher(known, queries)
    ours, seconds = ask_fingerprints(queries)
    report(queries, truth, ours)
    print(f"\nCPU time ({processor()}, one thread): fingerprints {seconds:.2f} s")
    for name, spent in (("every crystal of the formula", matcher.all), ("until one fits", matcher.until_fit)):
        print(f"StructureMatcher, {name}: {spent:.2f} s for {matcher.pairs} pairs at most: {spent / seconds:.0f}x ours")


def relaxed_queries(known: KnownCrystals, count: int, rng: np.random.Generator) -> list[Query]:
    """Half rediscovered, half substituted crystals of held-out formulas, relaxed."""
    small = [row for row in np.flatnonzero(known.held_out) if known.atoms(row) <= MAX_ATOMS]
    rediscovered = [
        rattled(known.structure(row), rng.uniform(0.05, 0.25), 0.03, rng) for row in rng.choice(small, count // 2)
    ]
    substituted: list[Structure] = []
    while len(substituted) < count - count // 2:
        made = known.substituted(int(rng.choice(small)), rng)
        if made is not None:
            substituted.append(made)
    kinds = ["rediscovered"] * len(rediscovered) + ["substituted"] * len(substituted)
    relaxed = zip(kinds, relax(rediscovered + substituted), strict=True)
    return [Query(kind, crystal, "") for kind, crystal in relaxed if not isinstance(crystal, Failure)]


def near_duplicates(known: KnownCrystals, count: int, rng: np.random.Generator) -> list[Query]:
    """Known crystals of held-out formulas with several entries."""
    rows = [row for row in np.flatnonzero(known.held_out) if len(known.by_formula[known.formulas[row]]) > 1]
    chosen = rng.choice(rows, min(count, len(rows)), replace=False)
    return [Query("near-duplicates", known.structure(row), known.name(row)) for row in chosen]


def ask_matcher(known: KnownCrystals, queries: list[Query]) -> tuple[list[bool], Spent]:
    """StructureMatcher's verdicts, and what they cost for the relaxed crystals."""
    matcher = StructureMatcher()
    verdicts, everything, until_fit, pairs = [], 0.0, 0.0, 0
    for query in queries:
        rows = known.by_formula.get(query.structure.composition.reduced_formula, ())
        fits, seconds = [], []
        for other in [known.structure(row) for row in rows if known.name(row) != query.itself]:
            start = time.process_time()
            fits.append(matcher.fit(query.structure, other))
            seconds.append(time.process_time() - start)
        verdicts.append(any(fits))
        if not query.itself:
            pairs += len(fits)
            everything += sum(seconds)
            until_fit += sum(seconds[: fits.index(True) + 1] if any(fits) else seconds)
    return verdicts, Spent(everything, until_fit, pairs)


def ask_fingerprints(queries: list[Query]) -> tuple[list[bool], float]:
    """Our verdicts; CPU seconds for the relaxed crystals."""
    reference = ReferenceSet.load("mp")
    identify(queries[0].structure)  # loads the weights
    verdicts, seconds = [], 0.0
    for query in queries:
        start = time.process_time()
        identity = identify(query.structure)
        assert not isinstance(identity, Failure)
        if query.itself:
            close = reference.distances(identity)
            verdicts.append(any(d < THRESHOLD for name, d in close.items() if name != query.itself))
        else:
            verdicts.append(reference.match(identity) is not None)
            seconds += time.process_time() - start
    return verdicts, seconds


def report(queries: list[Query], truth: list[bool], ours: list[bool]) -> None:
    """Precision and recall of "known" with 95 % intervals."""
    kinds = ["rediscovered", "substituted", "both", "near-duplicates"]
    print("| crystals | number | known to StructureMatcher | precision | recall |\n|---|---|---|---|---|")
    for kind in kinds:
        chosen = [
            (t, o)
            for query, t, o in zip(queries, truth, ours, strict=True)
            if query.kind == kind or (kind == "both" and not query.itself)
        ]
        both = sum(t and o for t, o in chosen)
        said, true = sum(o for _, o in chosen), sum(t for t, _ in chosen)
        print(f"| {kind} | {len(chosen)} | {true} | {share(both, said)} | {share(both, true)} |")


def share(count: int, total: int) -> str:
    """A share with its interval."""
    low, high = wilson(count, total)
    return f"{count / max(1, total):.3f} ({low:.3f} - {high:.3f})"


if __name__ == "__main__":
    main()
