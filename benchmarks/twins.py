"""Twins recognised before relaxation: are they what they are taken for, and what does it save?

    python benchmarks/twins.py runs/density-1 -n 100

Of a finished campaign, crystals that were called duplicates as they were drawn are relaxed after all (at most n of
them, spread evenly), and compared with the stable crystals that they were taken for. Saved are their optimizer
steps times atoms, of all that the campaign would have spent.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from setting import processor

from matinvent.candidate import Candidate, Fate
from matinvent.cli.output import progress_bar
from matinvent.config_screening import ScreeningConfig
from matinvent.errors import Failure
from matinvent.memory.ledger import Ledger
from matinvent.run_directory import RunDirectory
from matinvent.screening.matching import Catalogue, Matcher
from matinvent.screening.quality import wilson
from matinvent.screening.reference import ReferenceSet
from matinvent.screening.relaxation import Relaxation, make_relaxer


def skipped(candidates: list[Candidate]) -> list[Candidate]:
    """Duplicates that were not relaxed."""
    return [c for c in candidates if c.fate is Fate.DUPLICATE and c.relax_steps is None and c.structure is not None]


def verdict(outcome: Relaxation | Failure, twin: Candidate, reference: ReferenceSet, config: ScreeningConfig) -> str:
    """What became of a crystal that was taken for its twin."""
    if isinstance(outcome, Failure):
        return "failed"
    above = reference.hull.energy_above_hull(outcome.structure.composition, outcome.energy_per_atom)
    if isinstance(above, Failure) or above.e_above_hull >= config.max_e_above_hull:
        return "not stable"
    matcher = Matcher.of(config)
    identity = matcher.identify(outcome.structure)
    model = matcher.identify(twin.final) if twin.final is not None else None
    if isinstance(identity, Failure) or model is None or isinstance(model, Failure):
        return "failed"
    catalogue = Catalogue(matcher)
    catalogue.add(model, "twin")
    return "the same" if catalogue.find(identity) else "another stable crystal"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="run directory of a campaign")
    parser.add_argument("-n", type=int, default=100, help="crystals to relax")
    options = parser.parse_args()

    run, settings = RunDirectory.open(options.run)
    config = settings.screening
    candidates = Ledger(run.ledger_file).candidates()
    by_label = {candidate.label: candidate for candidate in candidates}
    found = skipped(candidates)
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, min(options.n, len(found))).astype(int))]
    relaxer = make_relaxer(config.relaxation, workers=1)
    with progress_bar(f"{len(chosen)} of {len(found)} twins") as progress:
        outcomes = relaxer.relax([c.structure for c in chosen if c.structure is not None], progress)
    relaxer.close()

    reference = ReferenceSet.load(config.reference)
    counts = Counter(
        verdict(outcome, by_label[candidate.twin], reference, config)
        for candidate, outcome in zip(chosen, outcomes, strict=True)
    )
    spent = sum((c.relax_steps or 0) * len(c.structure) for c in candidates if c.structure is not None)
    each = [o.steps * len(o.structure) for o in outcomes if not isinstance(o, Failure)]
    saved = float(np.mean(each)) * len(found) if each else 0.0
    print(
        f"{options.run}: {len(found)} of {len(candidates)} crystals taken for twins as they were drawn; {processor()}\n"
    )
    print("| relaxed after all, they are | of " + f"{len(chosen)} | share (95 % interval) |\n|---|---|---|")
    for name, count in counts.most_common():
        low, high = wilson(count, len(chosen))
        print(f"| {name} | {count} | {count / len(chosen):.1%} ({low:.1%} to {high:.1%}) |")
    print(f"\nSteps x atoms saved: {saved / (spent + saved):.0%}")


if __name__ == "__main__":
    main()
