"""How much lower would the reference lie if it were relaxed as candidates are, and how many verdicts would change?

    python benchmarks/reference_bias.py DATA [--crystals FILE] [--n 300] [--systems 40]   # 10 to 20 minutes on one core

DATA holds mp_structures.parquet and mp_energies.parquet. The energies of the shipped reference set are CHGNet single
points at the geometries of the Materials Project; a candidate is relaxed with CHGNet first.

Part 1 relaxes crystals near the hull with the defaults of the screening and shows by how much that lowers their
energies. Part 2 relaxes everything near the hull of random chemical systems and builds their hulls anew; each relaxed
compound is judged as if its composition were new (without the entries that have it). Part 3 does the same to
generated crystals in FILE (`matinvent generate 300`), but relaxes only the phases that each would decompose into.
Verdicts are compared between the shipped kind of hull, the relaxed one, and the shipped kind moved by the median of
part 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from pymatgen.core import Composition, Element, Structure

from matinvent.cli.output import progress_bar
from matinvent.cli.structure_files import read_structures
from matinvent.config_screening import RelaxationConfig
from matinvent.errors import Failure
from matinvent.priors.dataset import load_table, structures
from matinvent.screening.relaxation import Relaxer, make_relaxer
from matinvent.screening.stability import Hull, HullResult, atomic_fractions

#: Part 1 looks at crystals this close to the hull, part 2 relaxes up to this far above it (eV/atom).
NEAR, FAR = 0.02, 0.25
#: A crystal is stable below these energies above the hull (eV/atom), the second as in the screening.
THRESHOLDS = (0.0, 0.1)
#: Systems with more entries to relax than this are passed over.
MOST_ENTRIES = 60
HALIDES, CHALCOGENS, PNICTOGENS = {"F", "Cl", "Br", "I"}, {"S", "Se", "Te"}, {"N", "P", "As"}


@dataclass
class Reference:
    """All entries, their hull, and the geometries that are known.

    ``table`` has material_id, formula, energy_per_atom (eV/atom) and above (eV/atom), one row per entry; ``fractions``
    are the atomic fractions of the rows; ``geometry`` has the rows of mp_structures by material id.
    """

    table: pd.DataFrame
    fractions: np.ndarray
    hull: Hull
    geometry: pd.DataFrame

    @classmethod
    def load(cls, data: Path) -> Reference:
        """Read the tables of a data folder."""
        table = load_table(data, "mp_energies", ["material_id", "formula", "energy_per_atom"])
        fractions = atomic_fractions(table["formula"].tolist())
        hull = Hull(fractions, table["energy_per_atom"])
        table["above"] = hull.energies_above_hull(table["formula"].tolist(), table["energy_per_atom"])
        columns = ["material_id", "species", "frac_coords", "abc", "angles"]
        geometry = load_table(data, "mp_structures", columns).set_index("material_id", drop=False)
        table["known"] = table["material_id"].isin(geometry.index)
        return cls(table, fractions, hull, geometry)

    def crystals(self, rows: Sequence[int]) -> list[Structure]:
        """The crystals of some rows, whose geometry must be known."""
        ids = self.table["material_id"].iloc[list(rows)]
        return [structure for _, structure in structures(self.geometry.loc[ids])]


class Lowered:
    """Energies after relaxation (eV/atom), each computed once; NaN where it failed."""

    def __init__(self, reference: Reference, relaxer: Relaxer) -> None:
        self._reference = reference
        self._relaxer = relaxer
        self._known: dict[int, float] = {}
        self.unconverged = 0

    def energies(self, rows: Sequence[int], label: str) -> np.ndarray:
        """Energies of some rows, shape (N,)."""
        new = [row for row in rows if row not in self._known]
        if new:
            with progress_bar(label) as progress:
                results = self._relaxer.relax(self._reference.crystals(new), progress)
            for row, result in zip(new, results, strict=True):
                failed = isinstance(result, Failure)
                self._known[row] = np.nan if failed else result.energy_per_atom
                self.unconverged += not failed and not result.converged
        return np.array([self._known[row] for row in rows])


def anion_class(formula_fractions: np.ndarray) -> str:
    """The family of a compound, by its most electronegative kind of anion."""
    present = [Element.from_Z(int(z)) for z in np.flatnonzero(formula_fractions)]
    symbols = {element.symbol for element in present}
    if "O" in symbols:
        return "oxide"
    for name, family in (("halide", HALIDES), ("chalcogenide", CHALCOGENS), ("pnictide", PNICTOGENS)):
        if symbols & family:
            return name
    return "intermetallic" if all(element.is_metal for element in present) else "other"


def summarise(name: str, values: np.ndarray) -> str:
    """One row of a table: count, mean and quantiles in meV/atom."""
    meV = 1000 * values[np.isfinite(values)]
    quantiles = np.quantile(meV, [0.5, 0.9, 0.95, 0.99])
    return f"| {name} | {len(meV)} | {meV.mean():.1f} | {' | '.join(f'{q:.1f}' for q in quantiles)} |"


def lowering(reference: Reference, lowered: Lowered, count: int, rng: np.random.Generator) -> float:
    """Part 1: prints by how much relaxing lowers crystals near the hull; returns the median (eV/atom)."""
    pool = np.flatnonzero((reference.table["above"] < NEAR) & reference.table["known"])
    rows = rng.choice(pool, min(count, len(pool)), replace=False)
    drops = reference.table["energy_per_atom"].to_numpy()[rows] - lowered.energies(list(rows), "part 1")
    families = np.array([anion_class(reference.fractions[row]) for row in rows])
    print(f"{len(rows)} crystals of up to 24 atoms, at most {NEAR} eV/atom above the hull; meV/atom\n")
    print("| lowered by relaxing | crystals | mean | median | 90 % | 95 % | 99 % |\n|---|---|---|---|---|---|---|")
    print(summarise("all", drops))
    for family in pd.unique(families):
        print(summarise(family, drops[families == family]))
    print(f"\nwithout result: {np.isnan(drops).sum()}; not converged in the step limit: {lowered.unconverged}\n")
    return float(np.nanmedian(drops))


def draw_systems(reference: Reference, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Rows of the entries of random systems of 2 to 4 elements whose hull vertices all have a known geometry."""
    table, present = reference.table, reference.fractions > 0
    above, known = table["above"].to_numpy(), table["known"].to_numpy()
    seeds = np.flatnonzero((above < NEAR) & (present.sum(axis=1) >= 2) & (present.sum(axis=1) <= 4))
    seen, systems = set(), []
    for seed in rng.permutation(seeds):
        key = present[seed].tobytes()
        if key in seen:
            continue
        seen.add(key)
        rows = np.flatnonzero(~(present & ~present[seed]).any(axis=1))
        near = rows[above[rows] < FAR]
        if known[rows[above[rows] < 1e-6]].all() and known[near].sum() <= MOST_ENTRIES:
            systems.append(rows)
        if len(systems) == count:
            break
    return systems


def judge(formulas: np.ndarray, energies: np.ndarray, fractions: np.ndarray, position: int, energy: float) -> float:
    """Energy (eV/atom) of a compound above the hull of the entries of other compositions."""
    others = np.abs(fractions - fractions[position]).max(axis=1) > 1e-6
    above = Hull(fractions[others], energies[others]).energies_above_hull([formulas[position]], [energy])
    return float(above[0])


def systems_part(reference: Reference, lowered: Lowered, count: int, rng: np.random.Generator) -> np.ndarray:
    """Part 2: energies of compounds above the unrelaxed and the relaxed hull (eV/atom), shape (N, 2)."""
    energies, above = reference.table["energy_per_atom"].to_numpy(), reference.table["above"].to_numpy()
    known, formulas = reference.table["known"].to_numpy(), reference.table["formula"].to_numpy()
    found = []
    systems = draw_systems(reference, count, rng)
    for number, rows in enumerate(systems, start=1):
        relaxed = np.flatnonzero(known[rows] & (above[rows] < FAR))
        results = lowered.energies(list(rows[relaxed]), f"part 2, system {number} of {len(systems)}")
        before = energies[rows]
        after = before.copy()
        after[relaxed] = np.where(np.isfinite(results), results, before[relaxed])
        fractions = reference.fractions[rows]
        compounds = relaxed[np.isfinite(results) & ((fractions[relaxed] > 0).sum(axis=1) > 1)]
        found += [
            [judge(formulas[rows], hull, fractions, position, after[position]) for hull in (before, after)]
            for position in compounds
        ]
    return np.array(found).reshape(-1, 2)


def generated_part(
    reference: Reference, lowered: Lowered, relaxer: Relaxer, file: Path, count: int
) -> dict[str, np.ndarray]:
    """Part 3: energies of generated crystals above the unrelaxed and the relaxed hull (eV/atom), shape (N, 2).

    Those whose composition is that of a vertex, many of them known crystals, are told apart: relaxed, they lie at the
    hull exactly, so that their verdicts at 0 are a matter of chance.
    """
    crystals = [crystal for _, crystal in read_structures([file]) if not isinstance(crystal, Failure)][:count]
    with progress_bar("part 3, generated crystals") as progress:
        results = relaxer.relax(crystals, progress)
    placed = [
        reference.hull.energy_above_hull(result.structure.composition, result.energy_per_atom)
        for result in results
        if not isinstance(result, Failure)
    ]
    placed = [place for place in placed if isinstance(place, HullResult)]
    table = reference.table
    vertices = np.flatnonzero(table["above"] < 1e-6)
    row_of = {Composition(table["formula"].iloc[row]).reduced_formula: int(row) for row in vertices}
    phases = sorted({row_of[name] for place in placed for name in place.decomposition})
    missing = [row for row in phases if not table["known"].iloc[row]]
    print(f"part 3: {len(phases)} phases, {len(missing)} of them without geometry and left as they are\n")
    chosen = [row for row in phases if table["known"].iloc[row]]
    drops = table["energy_per_atom"].to_numpy()[chosen] - lowered.energies(chosen, "part 3, phases")
    drop_of = dict(zip(chosen, np.nan_to_num(drops), strict=True))
    moved = [sum(share * drop_of.get(row_of[name], 0.0) for name, share in p.decomposition.items()) for p in placed]
    above = np.array([place.e_above_hull for place in placed])
    pairs = np.stack([above, above + np.array(moved)], axis=1)
    at_vertex = np.array([len(place.decomposition) == 1 for place in placed])
    return {"generated, composition of a vertex": pairs[at_vertex], "generated, between vertices": pairs[~at_vertex]}


def show_verdicts(parts: dict[str, np.ndarray], shift: float) -> None:
    """How far the hull moves, and how many verdicts change, for energies above the two hulls, shape (N, 2) each."""
    finite = {name: pairs[np.isfinite(pairs).all(axis=1)] for name, pairs in parts.items()}
    print("| hull energy lowered by relaxing | crystals | mean | median | 90 % | 95 % | 99 % |")
    print("|---|---|---|---|---|---|---|")
    for name, pairs in finite.items():
        print(summarise(name, pairs[:, 1] - pairs[:, 0]))
    print(
        "\n| crystals | number | threshold (eV/atom) | stable by the relaxed hull | by the unrelaxed hull only "
        f"| wrong either way, hull moved by {1000 * shift:.1f} meV/atom |\n|---|---|---|---|---|---|"
    )
    for name, pairs in finite.items():
        for threshold in THRESHOLDS:
            before, after, moved = pairs[:, 0] < threshold, pairs[:, 1] < threshold, pairs[:, 0] + shift < threshold
            print(
                f"| {name} | {len(pairs)} | {threshold} | {after.sum()} | {(before & ~after).sum()} "
                f"| {(moved & ~after).sum()} + {(~moved & after).sum()} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--crystals", type=Path, help="generated crystals, for part 3")
    parser.add_argument("--n", type=int, default=300, help="crystals of part 1, and of part 3")
    parser.add_argument("--systems", type=int, default=40, help="chemical systems of part 2")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    start = time.perf_counter()
    reference = Reference.load(arguments.data)
    relaxer = make_relaxer(RelaxationConfig(), workers=1)
    lowered = Lowered(reference, relaxer)
    shift = lowering(reference, lowered, arguments.n, rng)
    sys.stdout.flush()
    parts = {"known compounds as if new": systems_part(reference, lowered, arguments.systems, rng)}
    if arguments.crystals is not None:
        parts |= generated_part(reference, lowered, relaxer, arguments.crystals, arguments.n)
    show_verdicts(parts, shift)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
