"""Do the verdicts of the screening, stable or unstable by CHGNet, hold for a second potential with its own hull?

    python benchmarks/second_potential.py SCREENED --data DATA -o OUT.csv [--n 200] [--workers 2] [--seed 0]

SCREENED is a folder written by `matinvent evaluate`; DATA holds mp_structures.parquet and mp_energies.parquet. Needs
SevenNet (pip install sevenn==0.13.0, the weights of SevenNet-0 are in it).

Each crystal as CHGNet relaxed it is relaxed further by SevenNet-0 and placed above a hull of SevenNet-0 energies. These
are single points at the Materials Project geometry, as CHGNet's own reference energies are, of the entries that
CHGNet puts at most 0.05 eV/atom above its hull. Known limits:

- SevenNet-0 learned the plain DFT energies of MPtrj, CHGNet the corrected ones. To mean the same, those of SevenNet-0
  get the corrections of the Materials Project (MP2020: GGA/GGA+U mixing, anions); one column is without them.
- Both potentials learned from MPtrj. They differ in architecture and fit, and share the errors of that DFT.
- Entries of mp_energies that mp_structures lacks cannot be recomputed and are missing from the second hull. The
  columns "same entries" leave them out of CHGNet's hull too.
- A known crystal, or one like it, is itself an entry of both hulls and agrees almost by construction; the last column
  is without those that the screening found known (it looks for them among the stable ones only).

Kill it at any moment and repeat the command: energies are kept beside OUT.csv, in OUT.references.csv and
OUT.relaxations.csv.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import math
import re
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from matinvent.candidate import Fate
from matinvent.cli.output import error_console, progress_bar
from matinvent.errors import ConfigError, Failure, InputError, MatInventError
from matinvent.screening.stability import Hull, atomic_fractions

if TYPE_CHECKING:
    from pymatgen.core import Composition, Structure

    Task = tuple[str, Structure]  # name and crystal

#: A crystal is stable below this energy above the hull (eV/atom), as in the screening.
STABLE = 0.1
#: Below this energy above the hull (eV/atom) a potential is wrong about a crystal, as in the screening.
IMPLAUSIBLE = -1.0
#: Entries at most this far above CHGNet's hull (eV/atom) may be vertices of the other hull.
WINDOW = 0.05
#: Further relaxation by SevenNet-0: force criterion (eV/A) and optimizer steps.
FMAX, MAX_STEPS = 0.1, 50


@dataclass(frozen=True, slots=True)
class Energy:
    """What SevenNet-0 says about one crystal; a line of a file of energies.

    Attributes:
        key: the crystal's name in the file.
        energy: uncorrected energy (eV/atom); NaN after a failure.
        correction: MP2020 correction (eV/atom).
        steps: relaxation steps; 0 for a single point.
        converged: whether the forces fell to the criterion.
        rmsd: displacement against the CHGNet-relaxed crystal (A).
        seconds: CPU time.
        failure: why there is no energy.
    """

    key: str
    energy: float = math.nan
    correction: float = math.nan
    steps: int = 0
    converged: bool = True
    rmsd: float = 0.0
    seconds: float = 0.0
    failure: str = ""


@lru_cache(maxsize=1)
def _sevennet() -> Any:
    """The ASE calculator, loaded once per process."""
    import torch

    torch.set_num_threads(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about GPU kernels that are not installed
        from sevenn.calculator import SevenNetCalculator

        return SevenNetCalculator("7net-0", device="cpu")


@lru_cache(maxsize=1)
def _energy_model() -> Any:
    """The network without its gradients: a third of the calculator's time, and batches are no faster on a CPU."""
    from copy import deepcopy

    model = deepcopy(_sevennet().model)
    del model.force_output
    return model


def single_point(task: Task) -> Energy:
    """Energy of a crystal as it is."""
    import torch
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph

    key, structure = task
    model, cutoff = _energy_model(), _sevennet().cutoff
    start = time.process_time()
    try:
        graph = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(structure.to_ase_atoms(), cutoff))
        with torch.no_grad():
            energy = float(model(graph)["inferred_total_energy"]) / len(structure)
        return Energy(key, energy, mp2020_correction(structure), seconds=time.process_time() - start)
    except Exception as error:  # noqa: BLE001 - the package raises anything, and one crystal must not stop the rest
        return Energy(key, failure=f"{type(error).__name__}: {error}")


def relax(task: Task) -> Energy:
    """Energy of a crystal after further relaxation."""
    from matinvent.screening.ase_relaxer import AseRelaxer

    key, structure = task
    relaxer = AseRelaxer(_sevennet, potential="sevennet-0", fmax=FMAX, max_steps=MAX_STEPS, max_volume_ratio=3.0)
    start = time.process_time()
    outcome = relaxer.relax([structure])[0]
    if isinstance(outcome, Failure):
        return Energy(key, failure=str(outcome))
    try:
        correction = mp2020_correction(outcome.structure)
    except ValueError as error:
        return Energy(key, failure=str(error))
    how = (outcome.steps, outcome.converged, outcome.rmsd)
    return Energy(key, outcome.energy_per_atom, correction, *how, seconds=time.process_time() - start)


def mp2020_correction(structure: Structure) -> float:
    """What the Materials Project adds to a DFT energy (eV/atom), as if computed with its own settings.

    Raises:
        ValueError: pymatgen has no correction scheme for the crystal.
    """
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    scheme = _mp2020()
    elements = structure.composition.elements
    anion = max(elements, key=lambda element: 0.0 if math.isnan(element.X) else element.X)
    of_metals = scheme.u_settings.get(anion.symbol, {})  # U (eV) of metals in oxides and in fluorides
    hubbards = {element.symbol: of_metals[element.symbol] for element in elements if element.symbol in of_metals}
    parameters = {"run_type": "GGA+U" if hubbards else "GGA", "hubbards": hubbards}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oxidation states that cannot be guessed mean no anion correction
        entry = scheme.process_entry(ComputedStructureEntry(structure, 0.0, parameters=parameters))
    if entry is None:
        raise ValueError(f"no MP2020 correction for {structure.composition.reduced_formula}")
    return float(entry.correction_per_atom)


@lru_cache(maxsize=1)
def _mp2020() -> Any:
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    return MaterialsProject2020Compatibility(check_potcar=False)


def read_screened(folder: Path, n: int, seed: int) -> pd.DataFrame:
    """Up to ``n`` random crystals of an evaluate folder that have a verdict, with columns key and structure added."""
    table = folder / "results.csv"
    numbers = ["energy_per_atom", "e_above_hull"]
    try:
        rows = pd.read_csv(table, keep_default_na=False, na_values=dict.fromkeys(numbers, ""))
        judged = rows[rows[numbers].notna().all(axis=1) & (rows["relaxed"] != "") & (rows["fate"] != Fate.RELAX_FAILED)]
        chosen = judged.sample(min(n, len(judged)), random_state=seed).sort_index()
        chosen = chosen[["source", "formula", "fate", "relaxed", *numbers]].reset_index(drop=True)
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{folder}: not a folder written by `matinvent evaluate` ({error})") from None
    if chosen.empty:
        raise InputError(f"{table}: no crystal has an energy above the hull and a relaxed form")
    crystals = [_read_crystal(folder, name) for name in chosen["relaxed"]]
    return chosen.assign(key=[key for key, _ in crystals], structure=[structure for _, structure in crystals])


def _read_crystal(folder: Path, name: str) -> tuple[str, Structure]:
    """A key that follows the content, and the crystal."""
    from pymatgen.core import Structure

    try:
        text = (folder / name).read_text(encoding="utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CIF readers warn about rounding
            return f"{name}#{hashlib.sha256(text.encode()).hexdigest()[:12]}", Structure.from_str(text, fmt="cif")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / name}: cannot be read: {error}") from None


def read_entries(data: Path, compositions: Sequence[Composition]) -> pd.DataFrame:
    """Entries of the compositions' chemical systems.

    Columns: those of mp_energies; ``above`` (CHGNet's energy above the hull, eV/atom); ``geometry`` (mp_structures
    has it); ``wanted`` (to be recomputed).
    """
    from matinvent.priors.dataset import load_table

    within = {tuple(element.symbol for element in composition.elements) for composition in compositions}
    systems = {frozenset(some) for all_ in within for n in range(len(all_)) for some in combinations(all_, n + 1)}
    table = load_table(data, "mp_energies", ["material_id", "formula", "energy_per_atom"])
    members = table["formula"].map(lambda formula: frozenset(re.findall("[A-Z][a-z]?", formula)))
    table = table[members.isin(systems)].reset_index(drop=True)
    formulas, energies = table["formula"].tolist(), table["energy_per_atom"].to_numpy()
    table["above"] = Hull(atomic_fractions(formulas), energies).energies_above_hull(formulas, energies)
    table["geometry"] = table["material_id"].isin(load_table(data, "mp_structures", ["material_id"])["material_id"])
    table["wanted"] = table["geometry"] & (table["above"] <= WINDOW)
    # Every element is needed, and its ground state may have too large a cell: take the best one there is.
    symbols = table["formula"].str.extract("^([A-Z][a-z]?)[0-9]*$")[0]
    best = table[table["geometry"]].groupby(symbols)["above"].idxmin()
    table.loc[best, "wanted"] = True
    return table


def read_geometries(data: Path, material_ids: Sequence[str]) -> list[Task]:
    """Materials Project geometries."""
    from matinvent.priors.dataset import load_table, structures

    table = load_table(data, "mp_structures", ["material_id", "species", "frac_coords", "abc", "angles"])
    return list(structures(table[table["material_id"].isin(set(material_ids))]))


def read_energies(path: Path) -> pd.DataFrame:
    """The energies kept so far, by key; the file is made if there is none."""
    columns = [column.name for column in dataclasses.fields(Energy)]
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    complete = text[: text.rfind("\n") + 1] or ",".join(columns) + "\n"  # a kill may have cut the last line short
    if complete != text:
        path.write_text(complete, encoding="utf-8")
    table = pd.read_csv(path, keep_default_na=False, na_values={"energy": "nan", "correction": "nan"})
    if list(table.columns) != columns:
        raise InputError(f"{path}: not a file of energies of this program; remove it")
    return table.astype({"energy": float, "correction": float}).set_index("key")


def compute(function: Callable[[Task], Energy], tasks: list[Task], path: Path, workers: int, text: str) -> None:
    """Append energies to a file, each as soon as it is known; a crystal whose worker dies is left for the next run."""
    from matinvent.execution.executors import make_executor_factory
    from matinvent.execution.runner import Runner

    def keep(index: int, outcome: Energy | Failure) -> None:
        if isinstance(outcome, Failure):
            error_console().print(f"{tasks[index][0]}: {outcome}", soft_wrap=True, markup=False)
            return
        with path.open("a", encoding="utf-8", newline="") as file:
            values = [str(value).replace("\n", " ") for value in dataclasses.astuple(outcome)]
            csv.writer(file, lineterminator="\n").writerow(values)

    with progress_bar(f"{len(tasks)} {text}") as bar, Runner(make_executor_factory("processes", workers)) as runner:
        runner.map(function, tasks, bar, keep)


def judge(crystals: pd.DataFrame, entries: pd.DataFrame, relaxed: pd.DataFrame) -> pd.DataFrame:
    """Energies above the hull (eV/atom) of each crystal, on the three hulls of the recomputed entries."""
    usable = entries[entries["wanted"] & (entries["energy"] + entries["correction"]).notna()]
    fractions = atomic_fractions(usable["formula"].tolist())
    compositions = [structure.composition for structure in crystals["structure"]]

    def above(of_entries: pd.Series, of_crystals: pd.Series) -> Any:
        return Hull(fractions, of_entries).energies_above_hull(compositions, of_crystals)

    kept = relaxed.reindex(crystals["key"]).reset_index(drop=True)
    return crystals.assign(
        chgnet_same_entries=above(usable["energy_per_atom"], crystals["energy_per_atom"]),
        sevennet=above(usable["energy"] + usable["correction"], kept["energy"] + kept["correction"]),
        sevennet_uncorrected=above(usable["energy"], kept["energy"]),
        **{name: kept[name] for name in ("steps", "converged", "rmsd", "seconds")},
        failure=kept["failure"].fillna("its worker process died"),
    )


def wilson(hits: int, total: int) -> str:
    """A share with its 95 % Wilson interval."""
    if total == 0:
        return "-"
    z, share = 1.96, hits / total
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return f"{share:.1%} ({middle - half:.1%} to {middle + half:.1%})"


def compare(first: pd.Series, second: pd.Series) -> dict[str, str]:
    """Agreement of two energies above the hull, the first by CHGNet."""
    if first.empty:
        return defaultdict(lambda: "-")
    ours, theirs, total = first < STABLE, second < STABLE, len(first)
    both, neither = int((ours & theirs).sum()), int((~ours & ~theirs).sum())
    chance = ours.mean() * theirs.mean() + (1 - ours.mean()) * (1 - theirs.mean())
    kappa = ((both + neither) / total - chance) / (1 - chance) if chance < 1 else math.nan
    return {
        "crystals": str(total),
        "both stable": str(both),
        "only CHGNet": str(int((ours & ~theirs).sum())),
        "only SevenNet-0": str(int((theirs & ~ours).sum())),
        "neither": str(neither),
        "agreement (95 % interval)": wilson(both + neither, total),
        "Cohen's kappa": f"{kappa:.2f}",
        "CHGNet-stable confirmed": wilson(both, int(ours.sum())),
        "correlation (of ranks)": f"{first.corr(second):.3f} ({first.corr(second, method='spearman'):.3f})",
        "median absolute difference (meV/atom)": f"{1000 * (second - first).abs().median():.0f}",
        "median of SevenNet-0 minus CHGNet (meV/atom)": f"{1000 * (second - first).median():+.0f}",
    }


def report(verdicts: pd.DataFrame, entries: pd.DataFrame) -> None:
    """Print what came out."""
    screened, same, second = verdicts["e_above_hull"], verdicts["chgnet_same_entries"], verdicts["sevennet"]
    missing, sound = second.isna(), second >= IMPLAUSIBLE
    if not sound.any():
        raise InputError("SevenNet-0 could not judge a single crystal; the column failure says why")
    new = sound & (verdicts["fate"] != Fate.KNOWN)
    columns = {
        "CHGNet as screened": compare(screened[sound], second[sound]),
        "same entries": compare(same[sound], second[sound]),
        "same entries, uncorrected": compare(same[sound], verdicts["sevennet_uncorrected"][sound]),
        "same entries, no known crystals": compare(same[new], second[new]),
    }
    print(f"| stable: < {STABLE:g} eV/atom | {' | '.join(columns)} |\n|---{'|---' * len(columns)}|")
    for quantity in columns["same entries"]:
        print(f"| {quantity} | {' | '.join(column[quantity] for column in columns.values())} |")
    print(
        f"Left out: {missing.sum()} without energy by SevenNet-0, {(~sound & ~missing).sum()} implausible "
        f"(< {IMPLAUSIBLE:g} eV/atom); CHGNet called {(screened[~sound] < STABLE).sum()} of them stable."
    )
    vertices, moved = entries[entries["above"] < 1e-6], (same - screened).abs() > 1e-3
    print(
        f"CHGNet's hull: {(~vertices['geometry']).sum()} of {len(vertices)} vertices have no geometry. Without them "
        f"{moved.sum()} crystals move by > 1 meV/atom, {((same < STABLE) != (screened < STABLE)).sum()} change verdict."
    )
    points, done = entries[entries["energy"].notna()], verdicts[verdicts["failure"] == ""]
    steps, loose = done["steps"].astype(float), (done["converged"].astype(str) != "True").sum()
    minutes = (points["seconds"].sum() + done["seconds"].sum()) / 60
    print(f"Reference energies: {len(points)} of {entries['wanted'].sum()}, {points['seconds'].mean():.3f} CPU s each.")
    print(
        f"Relaxations: {len(done)} of {len(verdicts)}, {done['seconds'].mean():.2f} CPU s and {steps.mean():.0f} steps "
        f"each, {loose} not converged in {MAX_STEPS} steps. In all {minutes:.1f} core-minutes."
    )


def run(options: argparse.Namespace) -> None:
    if find_spec("sevenn") is None:
        raise ConfigError("SevenNet is not installed; install it with: pip install sevenn==0.13.0")
    crystals = read_screened(options.folder, options.n, options.seed)
    entries = read_entries(options.data, [structure.composition for structure in crystals["structure"]])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    references, relaxed = (options.output.with_suffix(f".{name}.csv") for name in ("references", "relaxations"))

    wanted = entries.loc[entries["wanted"], "material_id"]
    missing = wanted[~wanted.isin(read_energies(references).index)].tolist()
    compute(single_point, read_geometries(options.data, missing), references, options.workers, "reference energies")
    waiting = crystals[~crystals["key"].isin(read_energies(relaxed).index)]
    tasks = list(zip(waiting["key"], waiting["structure"], strict=True))
    compute(relax, tasks, relaxed, options.workers, "relaxations")

    entries = entries.join(read_energies(references)[["energy", "correction", "seconds"]], on="material_id")
    verdicts = judge(crystals, entries, read_energies(relaxed))
    verdicts.drop(columns=["key", "structure"]).to_csv(options.output, index=False)
    report(verdicts, entries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="SCREENED", help="folder written by `matinvent evaluate`")
    parser.add_argument("--data", type=Path, required=True, help="folder with the reference entries")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.csv")
    parser.add_argument("--n", type=int, default=200, help="crystals, drawn at random")
    parser.add_argument("--workers", type=int, default=2, help="processes, one thread each")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args()
    if options.n < 1 or options.workers < 1:
        parser.error("--n and --workers must be at least 1")
    try:
        run(options)
    except MatInventError as error:
        error_console().print(f"Error: {error}", soft_wrap=True, markup=False, highlight=False)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
