"""Magnetic densities of known magnets beside measurement, and with ``--data`` beside DFT.

    python benchmarks/magnetic_density.py                 # the table of known magnets, seconds
    python benchmarks/magnetic_density.py --data DATA     # and crystals of the Materials Project, half a minute

Crystals have their measured lattice parameters at room temperature. Measured moments, muB per formula unit at low
temperature: Coey, Magnetism and Magnetic Materials (2010); Fe4N Frazer, Phys. Rev. 112, 751 (1958); Fe3N
Leineweber et al., J. Alloys Compd. 288, 79 (1999). MnO and NiO are antiferromagnets: the evaluator takes all
moments as parallel, and the value given beside it is that of their ordered moments if they were.
DATA is a folder with ``mp_structures.parquet`` and ``mp_labels.parquet`` (total magnetisation of DFT).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from pymatgen.core import Lattice, Structure
from setting import processor

from matinvent.errors import Failure
from matinvent.priors.dataset import load_table, structures
from matinvent.properties.magnetism import MagneticDensity

ORIGIN, HALF, THIRD = [0.0, 0.0, 0.0], [0.5, 0.5, 0.5], [1 / 3, 2 / 3]

# name: space group, lattice, elements of the orbits, one position of each, measured moment (muB) of the whole cell
MAGNETS = {
    "Fe": ("Im-3m", Lattice.cubic(2.866), ["Fe"], [ORIGIN], 2 * 2.22),
    "Co": ("P6_3/mmc", Lattice.hexagonal(2.507, 4.069), ["Co"], [[*THIRD, 0.25]], 2 * 1.72),
    "Ni": ("Fm-3m", Lattice.cubic(3.524), ["Ni"], [ORIGIN], 4 * 0.61),
    "Gd": ("P6_3/mmc", Lattice.hexagonal(3.634, 5.781), ["Gd"], [[*THIRD, 0.25]], 2 * 7.63),
    "FeCo": ("Pm-3m", Lattice.cubic(2.857), ["Fe", "Co"], [ORIGIN, HALF], 4.70),
    "Fe4N": ("Pm-3m", Lattice.cubic(3.795), ["Fe", "Fe", "N"], [ORIGIN, [0.5, 0.5, 0], HALF], 8.9),
    "Fe3N": (
        "P6_322", Lattice.hexagonal(4.698, 4.379), ["Fe", "N"], [[0.326, 0, 0], [*THIRD, 0.25]], 2 * 3 * 2.0,
    ),
    "CrO2": ("P4_2/mnm", Lattice.tetragonal(4.421, 2.917), ["Cr", "O"], [ORIGIN, [0.302, 0.302, 0]], 2 * 2.0),
    "EuO": ("Fm-3m", Lattice.cubic(5.144), ["Eu", "O"], [ORIGIN, HALF], 4 * 7.0),
    "MnBi": ("P6_3/mmc", Lattice.hexagonal(4.290, 6.126), ["Mn", "Bi"], [ORIGIN, [*THIRD, 0.25]], 2 * 3.95),
    "YCo5": (
        "P6/mmm", Lattice.hexagonal(4.937, 3.978), ["Y", "Co", "Co"], [ORIGIN, [*THIRD, 0], [0.5, 0, 0.5]], 8.3,
    ),
    "NaCl (none)": ("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [ORIGIN, HALF], 0.0),
    "MnO (antiferromagnet)": ("Fm-3m", Lattice.cubic(4.446), ["Mn", "O"], [ORIGIN, HALF], 4 * 4.58),
    "NiO (antiferromagnet)": ("Fm-3m", Lattice.cubic(4.177), ["Ni", "O"], [ORIGIN, HALF], 4 * 1.77),
}  # fmt: skip


def known_magnets() -> None:
    """Print measured and computed density of each known magnet."""
    print("| crystal | measured, muB/A^3 | ours | ours / measured |\n|---|---|---|---|")
    crystals = [Structure.from_spacegroup(*arguments) for *arguments, _ in MAGNETS.values()]
    results = MagneticDensity().evaluate(crystals)
    for (name, (*_, moment)), crystal, result in zip(MAGNETS.items(), crystals, results, strict=True):
        if isinstance(result, Failure):
            print(f"| {name} | {moment / crystal.volume:.4f} | {result} | |")
            continue
        found, measured = result["magnetic_density"], moment / crystal.volume
        print(f"| {name} | {measured:.4f} | {found:.4f} | {f'{found / measured:.2f}' if measured else ''} |")


def against_dft(data: Path, number: int, seed: int) -> None:
    """Print how the densities of labelled crystals compare with the total magnetisation of DFT."""
    labels = load_table(data, "mp_labels", ["material_id", "magnetic_density"]).dropna().set_index("material_id")
    table = load_table(data, "mp_structures", ["material_id", "abc", "angles", "species", "frac_coords"])
    table = table[table.material_id.isin(labels.index)]
    table = table.sample(min(number, len(table)), random_state=seed)
    ids, crystals = zip(*structures(table), strict=True)
    start = time.process_time()
    results = MagneticDensity().evaluate(crystals)
    seconds = time.process_time() - start
    pairs = np.array(
        [
            (labels.magnetic_density[key], result["magnetic_density"])
            for key, result in zip(ids, results, strict=True)
            if not isinstance(result, Failure)
        ]
    )
    dft, ours = pairs.T
    r2 = 1 - ((ours - dft) ** 2).sum() / ((dft - dft.mean()) ** 2).sum()
    print(
        f"\n{len(dft)} of {len(crystals)} labelled crystals: mean absolute error {np.abs(ours - dft).mean():.4f} "
        f"muB/A^3 (mean value {dft.mean():.4f}), R2 {r2:.2f}; {1e3 * seconds / len(crystals):.1f} CPU ms per crystal"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with mp_structures.parquet and mp_labels.parquet")
    parser.add_argument("-n", type=int, default=2000, help="labelled crystals to compare")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    known_magnets()
    if arguments.data is not None:
        against_dft(arguments.data, arguments.n, arguments.seed)
    print(f"\n{processor()}")


if __name__ == "__main__":
    main()
