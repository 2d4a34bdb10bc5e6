"""Minimal coincident areas beside pymatgen's SubstrateAnalyzer, in values and time, and for known films.

    python benchmarks/interface.py                          # known films, then 40 samples of the shipped prior
    python benchmarks/interface.py --crystals FILE -n 100   # crystals of a file instead
    python benchmarks/interface.py --substrate Al2O3 --plane 0,0,1
    NUMBA_DISABLE_JIT=1 python benchmarks/interface.py      # if numba is installed: this package does not bring it

SubstrateAnalyzer gets the same conventional cells and criteria. ``as usual``: its own choice of the film's planes, and
the first match of each plane, which is what the paper's rewards rest on. Two things make that larger than the minimum:
the first match need not be the smallest, and planes count as one when the reciprocal lattice is symmetric within a
loose tolerance. ``exhaustive``: all matches of all 13 planes with indices up to 1, whose minimum ours must equal. Time
includes finding the conventional cell. With numba pymatgen compiles parts of its search. Films larger than
``--largest`` atoms are left out, for pymatgen's sake.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from pymatgen.analysis.interfaces.substrate_analyzer import SubstrateAnalyzer
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from setting import generated_crystals, processor

from matinvent.errors import Failure
from matinvent.properties.interface import CoincidentArea
from matinvent.properties.substrates import load_substrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Plane = tuple[int, int, int]

ORIGIN, QUARTER, HALF = [0.0] * 3, [0.25] * 3, [0.5] * 3

# film: (space group, lattice, elements, positions); substrate, plane; area of the known relation, the relation.
# Areas follow from room-temperature lattice parameters and the relation; R: rotated by 30 degrees.
KNOWN = [
    ("GaAs", ("F-43m", Lattice.cubic(5.6533), ["Ga", "As"], [ORIGIN, QUARTER]), "Ge", (1, 0, 0), 5.6533**2 / 2,
     "(100) on (100), 1 x 1"),
    ("GaP", ("F-43m", Lattice.cubic(5.4505), ["Ga", "P"], [ORIGIN, QUARTER]), "Si", (1, 0, 0), 5.4505**2 / 2,
     "(100) on (100), 1 x 1"),
    ("GaN", ("P6_3mc", Lattice.hexagonal(3.189, 5.186), ["Ga", "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.377]]),
     "AlN", (0, 0, 1), 3.189**2 * math.sqrt(3) / 2, "(0001) on (0001), 1 x 1"),
    ("AlN", ("P6_3mc", Lattice.hexagonal(3.112, 4.982), ["Al", "N"], [[1 / 3, 2 / 3, 0], [1 / 3, 2 / 3, 0.382]]),
     "SiC", (0, 0, 1), 3.112**2 * math.sqrt(3) / 2, "(0001) on (0001), 1 x 1"),
    ("SrTiO3", ("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [ORIGIN, HALF, [0.5, 0.5, 0]]), "Si", (1, 0, 0),
     3.905**2, "(100) on (100), R 45 (McKee et al., Phys. Rev. Lett. 81, 3014)"),
    ("CeO2", ("Fm-3m", Lattice.cubic(5.411), ["Ce", "O"], [ORIGIN, QUARTER]), "Si", (1, 0, 0), 5.411**2 / 2,
     "lattices alike, 1 x 1 (Inoue et al., Appl. Phys. Lett. 56, 1332)"),
    ("Fe", ("Im-3m", Lattice.cubic(2.8665), ["Fe"], [ORIGIN]), "GaAs", (1, 0, 0), 2 * 2.8665**2,
     "(100) on (100), half as wide (Prinz and Krebs, Appl. Phys. Lett. 39, 397)"),
]  # fmt: skip


def conventional(structure: Structure) -> Structure:
    return SpacegroupAnalyzer(structure, symprec=0.1).get_conventional_standard_structure()


def as_usual(film: Structure, substrate: Structure, plane: Plane) -> float | None:
    """Smallest of the first matches of the planes that SubstrateAnalyzer chooses; None without a match."""
    analyzer = SubstrateAnalyzer(film_max_miller=1)
    matches = analyzer.calculate(conventional(film), substrate, substrate_millers=[plane], lowest=True)
    return min((match.match_area for match in matches), default=None)


def exhaustive(film: Structure, substrate: Structure, plane: Plane) -> float | None:
    """Smallest of all matches of all planes; None without a match."""
    analyzer = SubstrateAnalyzer()
    planes = [index for index in product((1, 0, -1), repeat=3) if index > (0, 0, 0)]
    sets = analyzer.generate_surface_vectors(conventional(film), substrate, planes, [plane])
    return min((match.match_area for ours, theirs, *_ in sets for match in analyzer(ours, theirs)), default=None)


def ours(evaluator: CoincidentArea, film: Structure) -> float | None:
    (result,) = evaluator.evaluate([film])
    if isinstance(result, Failure):
        return None if result.kind == "no-match" else math.nan
    return float(result["mcia"])  # type: ignore[arg-type]


def known_films() -> None:
    print("| film | substrate | known relation | its area | ours, primitive | ours, conventional |")
    print("|---|---|---|---|---|---|")
    for name, (group, lattice, elements, positions), substrate, plane, area, relation in KNOWN:
        film = Structure.from_spacegroup(group, lattice, elements, positions)
        values = [ours(CoincidentArea(substrate, plane, primitive=p), film) for p in (True, False)]
        cells = [f"{value:.1f}" if value is not None else "none" for value in values]
        index = "".join(map(str, plane))
        print(f"| {name} | {substrate}({index}) | {relation} | {area:.1f} | {' | '.join(cells)} |")


def compare(films: Sequence[Structure], name: str, plane: Plane) -> None:
    evaluator = CoincidentArea(name, plane)
    # The analyzer uses the lattice alone.
    substrate = Structure(Lattice(load_substrate(name).lattice), ["Si"], [ORIGIN])
    ways: dict[str, Callable[[Structure], float | None]] = {
        "ours": lambda film: ours(evaluator, film),
        "pymatgen as usual": lambda film: as_usual(film, substrate, plane),
        "pymatgen, exhaustive": lambda film: exhaustive(film, substrate, plane),
    }
    values: dict[str, list[float | None]] = {label: [] for label in ways}
    seconds: dict[str, list[float]] = {label: [] for label in ways}
    for label, way in ways.items():
        way(films[0])  # imports and compiles
        for film in films:
            start = time.process_time()
            values[label].append(way(film))
            seconds[label].append(time.process_time() - start)
    print(
        f"\n{len(films)} films on {name}{plane}, median {statistics.median(map(len, films)):.0f} atoms; {processor()}\n"
    )
    print("| by | equal to ours | CPU ms per film, median | mean | ratio of medians |\n|---|---|---|---|---|")
    base = statistics.median(seconds["ours"])
    for label, times in seconds.items():
        equal = sum(same(one, other) for one, other in zip(values["ours"], values[label], strict=True))
        median, mean = statistics.median(times), statistics.fmean(times)
        print(f"| {label} | {equal} of {len(films)} | {1e3 * median:.3g} | {1e3 * mean:.3g} | {median / base:.3g} |")
    found = [value for value in values["ours"] if value is not None]
    print(f"\n{len(found)} of {len(films)} match; median area {statistics.median(found):.0f} A^2")


def same(one: float | None, other: float | None) -> bool:
    return one is other if one is None or other is None else math.isclose(one, other, rel_tol=1e-6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=40, help="number of crystals")
    parser.add_argument("--prior", default="mp-symmetric")
    parser.add_argument("--crystals", type=Path, help="file of crystals to use instead of samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--substrate", default="Si")
    parser.add_argument("--plane", default="1,0,0")
    parser.add_argument("--largest", type=int, default=20, help="atoms of the largest film")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", module="pymatgen")
    known_films()
    films = generated_crystals(arguments.n, prior=arguments.prior, seed=arguments.seed, file=arguments.crystals)
    h, k, l = (int(index) for index in arguments.plane.split(","))  # noqa: E741 - Miller indices
    compare([film for film in films if len(film) <= arguments.largest], arguments.substrate, (h, k, l))


if __name__ == "__main__":
    main()
