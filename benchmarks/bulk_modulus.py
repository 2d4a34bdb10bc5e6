"""Bulk moduli of well-known solids by a potential beside experiment, with and without relaxation at each volume.

    python benchmarks/bulk_modulus.py                          # CHGNet; one Markdown table, about a minute on one core
    python benchmarks/bulk_modulus.py --potential sevennet     # needs matinvent[sevennet]

The crystals enter with their room-temperature lattice parameters; the evaluator finds the potential's minimum itself.
Experimental moduli, GPa at room temperature: elements from Kittel, Introduction to Solid State Physics; quartz from
Angel et al., J. Appl. Cryst. 30, 461 (1997); graphite from Hanfland et al., Phys. Rev. B 39, 12598 (1989); the other
compounds are usual values of compilations, which differ by a few percent.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pymatgen.core import Lattice, Structure
from scipy.stats import spearmanr

from matinvent.errors import Failure
from matinvent.properties.elasticity import BulkModulus

THIRD, QUARTER, HALF = [1 / 3, 2 / 3], [0.25] * 3, [0.5] * 3
ORIGIN = [0.0, 0.0, 0.0]

# name: space group, lattice, elements of the orbits, one position of each, experimental bulk modulus
SOLIDS = {
    "C (diamond)": ("Fd-3m", Lattice.cubic(3.567), ["C"], [ORIGIN], 443),
    "Si": ("Fd-3m", Lattice.cubic(5.431), ["Si"], [ORIGIN], 98.8),
    "Ge": ("Fd-3m", Lattice.cubic(5.658), ["Ge"], [ORIGIN], 77.2),
    "Al": ("Fm-3m", Lattice.cubic(4.050), ["Al"], [ORIGIN], 72.2),
    "Cu": ("Fm-3m", Lattice.cubic(3.615), ["Cu"], [ORIGIN], 137),
    "Au": ("Fm-3m", Lattice.cubic(4.078), ["Au"], [ORIGIN], 173),
    "Pt": ("Fm-3m", Lattice.cubic(3.924), ["Pt"], [ORIGIN], 278),
    "W": ("Im-3m", Lattice.cubic(3.165), ["W"], [ORIGIN], 323),
    "Fe": ("Im-3m", Lattice.cubic(2.866), ["Fe"], [ORIGIN], 168),
    "Na": ("Im-3m", Lattice.cubic(4.290), ["Na"], [ORIGIN], 6.8),
    "Mg": ("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[*THIRD, 0.25]], 35.4),
    "Ti": ("P6_3/mmc", Lattice.hexagonal(2.951, 4.684), ["Ti"], [[*THIRD, 0.25]], 105),
    "Zn": ("P6_3/mmc", Lattice.hexagonal(2.665, 4.947), ["Zn"], [[*THIRD, 0.25]], 59.8),
    "MgO": ("Fm-3m", Lattice.cubic(4.212), ["Mg", "O"], [ORIGIN, HALF], 160),
    "NaCl": ("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [ORIGIN, HALF], 24),
    "LiF": ("Fm-3m", Lattice.cubic(4.027), ["Li", "F"], [ORIGIN, HALF], 67),
    "TiC": ("Fm-3m", Lattice.cubic(4.328), ["Ti", "C"], [ORIGIN, HALF], 241),
    "TiN": ("Fm-3m", Lattice.cubic(4.240), ["Ti", "N"], [ORIGIN, HALF], 288),
    "SiC (3C)": ("F-43m", Lattice.cubic(4.360), ["Si", "C"], [ORIGIN, QUARTER], 227),
    "GaAs": ("F-43m", Lattice.cubic(5.653), ["Ga", "As"], [ORIGIN, QUARTER], 75),
    "CaF2": ("Fm-3m", Lattice.cubic(5.463), ["Ca", "F"], [ORIGIN, QUARTER], 82),
    "SrTiO3": ("Pm-3m", Lattice.cubic(3.905), ["Sr", "Ti", "O"], [ORIGIN, HALF, [0.5, 0.5, 0]], 174),
    "TiO2 (rutile)": (
        "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [ORIGIN, [0.305, 0.305, 0]], 211,
    ),
    "Al2O3": (
        "R-3c", Lattice.hexagonal(4.759, 12.99), ["Al", "O"], [[0, 0, 0.352], [0.306, 0, 0.25]], 254,
    ),
    "AlN": ("P6_3mc", Lattice.hexagonal(3.11, 4.98), ["N", "Al"], [[*THIRD, 0], [*THIRD, 0.382]], 205),
    "CaCO3 (calcite)": (
        "R-3c", Lattice.hexagonal(4.99, 17.06), ["Ca", "C", "O"], [ORIGIN, [0, 0, 0.25], [0.257, 0, 0.25]], 73,
    ),
    "SiO2 (quartz)": (
        "P3_221", Lattice.hexagonal(4.913, 5.405), ["Si", "O"], [[0.4697, 0, 2 / 3], [0.4135, 0.2669, 0.7857]], 37.1,
    ),
    "C (graphite)": ("P6_3/mmc", Lattice.hexagonal(2.464, 6.711), ["C", "C"], [[0, 0, 0.25], [*THIRD, 0.25]], 33.8),
}  # fmt: skip


def value(evaluator: BulkModulus, crystal: Structure) -> float | Failure:
    (result,) = evaluator.evaluate([crystal])
    return result if isinstance(result, Failure) else result["bulk_modulus"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default="chgnet")
    potential = parser.parse_args().potential
    relaxed, rigid = BulkModulus(potential), BulkModulus(potential, relax=False)
    found: list[tuple[float, float]] = []
    print("| solid | experiment | relaxed | strained only | CPU s |\n|---|---|---|---|---|")
    rigid.evaluate([Structure(Lattice.cubic(3), ["Fe"], [ORIGIN])])  # loads the potential
    for name, (group, lattice, elements, positions, experiment) in SOLIDS.items():
        crystal = Structure.from_spacegroup(group, lattice, elements, positions).get_primitive_structure()
        start = time.process_time()
        modulus = value(relaxed, crystal)
        seconds = time.process_time() - start
        cells = [v.kind if isinstance(v, Failure) else f"{v:.3g}" for v in (modulus, value(rigid, crystal))]
        print(f"| {name} | {experiment:g} | {' | '.join(cells)} | {seconds:.2f} |", flush=True)
        if not isinstance(modulus, Failure):
            found.append((experiment, modulus))
    errors = [abs(ours - theirs) / theirs for theirs, ours in found]
    print(
        f"\n{len(found)} of {len(SOLIDS)} solids: median deviation {statistics.median(errors):.0%}, "
        f"{sum(error < 0.25 for error in errors)} within 25 %, rank correlation {spearmanr(found).statistic:.2f}"
    )


if __name__ == "__main__":
    main()
