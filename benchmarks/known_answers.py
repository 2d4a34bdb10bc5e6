"""Does the screening say of known crystals what is known of them?

    python benchmarks/known_answers.py DATA            # 400 crystals, about 5 minutes on two cores

Crystals that DFT puts on its hull (mp_labels.parquet: e_above_hull 0) are handed over in disguise - another cell of two
or three times the size, turned, shifted, atoms shuffled - and screened as `matinvent evaluate` does. Every one
should come out known (by its own name or that of a twin), and within 0.1 eV/atom of the CHGNet hull.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
from novelty_crystals import KnownCrystals
from pymatgen.core import Structure
from pymatgen.core.operations import SymmOp

from matinvent.candidate import Candidate
from matinvent.cli.output import progress_bar
from matinvent.config_screening import ScreeningConfig
from matinvent.priors.dataset import load_table
from matinvent.screening.quality import METASTABLE, spread, wilson
from matinvent.screening.screen import Screener

CELLS = ([[1, 0, 0], [0, 1, 0], [0, 0, 2]], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]], [[2, 1, 0], [0, 1, 1], [1, 0, 1]])
MAX_ATOMS = 20  # before the cell grows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mp_structures.parquet and mp_labels.parquet")
    parser.add_argument("-n", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    rng = np.random.default_rng(arguments.seed)
    known = KnownCrystals(arguments.data)
    labels = load_table(arguments.data, "mp_labels", ["material_id", "e_above_hull"])
    stable = set(labels.loc[labels["e_above_hull"] == 0, "material_id"])
    rows = [r for r in range(len(known.table)) if known.name(r) in stable and known.atoms(r) <= MAX_ATOMS]
    chosen = rng.choice(rows, min(arguments.n, len(rows)), replace=False)
    candidates = [
        Candidate.of(0, index, disguised(known.structure(row), rng), known.name(row))
        for index, row in enumerate(chosen)
    ]
    settings = ScreeningConfig.for_measuring(
        uniqueness=False,
        max_e_above_hull=np.finfo(float).max,  # novelty is asked of all, however unstable
    )
    screener = Screener(settings)
    try:
        with progress_bar(f"screening {len(candidates)} known crystals") as progress:
            screener.screen(candidates, len(candidates), progress)
    finally:
        screener.close()
    report(candidates)


def disguised(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal, drawn in another way."""
    other = structure.copy()
    other.make_supercell(CELLS[rng.integers(len(CELLS))])
    other.translate_sites(range(len(other)), rng.uniform(-1, 1, 3))
    axis = rng.normal(size=3)
    other.apply_operation(SymmOp.from_axis_angle_and_translation(axis, rng.uniform(0, 360)))
    return Structure.from_sites([other[int(i)] for i in rng.permutation(len(other))])


def report(candidates: list[Candidate]) -> None:
    """Shares with 95 % intervals, and who fell out."""
    total = len(candidates)
    known = [c for c in candidates if c.twin]
    near = [c for c in candidates if c.e_above_hull is not None and c.e_above_hull < METASTABLE]
    print("| of crystals on the DFT hull | number | share |\n|---|---|---|")
    for name, members in (
        ("recognised as known", known),
        ("recognised by their own name", [c for c in known if c.twin == c.source]),
        (f"below {METASTABLE} eV/atom by CHGNet", near),
    ):
        low, high = wilson(len(members), total)
        share = f"{len(members) / total:.1%} ({low:.1%} - {high:.1%})"
        print(f"| {name} | {len(members)} of {total} | {share} |")
    energies = spread(c.e_above_hull for c in candidates)
    print(f"\nEnergy above the CHGNet hull: median {energies.median:.4f}, mean {energies.mean:.4f} eV/atom")
    for c in candidates:
        if not c.twin or c not in near:
            energy = "no energy" if c.e_above_hull is None else f"{c.e_above_hull:.3f} eV/atom"
            print(f"- {c.source} {c.composition}: {energy}; {c.reason or 'new'}")


if __name__ == "__main__":
    main()
