"""Heat capacities of well-known solids beside experiment, their convergence, and the cost beside matcalc.

    python benchmarks/heat_capacity.py                      # at 298.15 K, CHGNet
    python benchmarks/heat_capacity.py --potential sevennet # needs matinvent[sevennet]
    python benchmarks/heat_capacity.py --convergence        # by the size of the supercell
    python benchmarks/heat_capacity.py --matcalc            # beside matcalc.PhononCalc (pip install matcalc)

Experiment: C_p at 298.15 K and 1 bar, J/(mol K). NIST-JANAF Thermochemical Tables (4th ed., 1998): LiH, LiF, NaCl,
MgO, Al2O3, SiO2 (quartz), CaF2, TiO2, TiN, SiC, AlN; CODATA Key Values (1989): Si, Al, Cu, Mg, Ti, Ge; CRC Handbook
of Chemistry and Physics: C (diamond), Au, W, Fe, TiC, GaAs. Ours is C_v. Their difference V T alpha^2 K is taken off
with the measured bulk modulus (benchmarks/bulk_modulus.py) and the usual linear expansion at room temperature
(10^-6/K).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from bulk_modulus import HALF, ORIGIN, SOLIDS
from elastic_moduli import matcalc_calculator
from pymatgen.core import Lattice, Structure
from setting import processor

from matinvent.errors import Failure
from matinvent.properties.equilibrium import rest
from matinvent.properties.phonons import choose_supercell
from matinvent.properties.potentials import load_potential
from matinvent.properties.thermal import HeatCapacity

if TYPE_CHECKING:
    from matinvent.properties.evaluator import Values

TEMPERATURE = 298.15
CRYSTALS = {**SOLIDS, "LiH": ("Fm-3m", Lattice.cubic(4.083), ["Li", "H"], [ORIGIN, HALF], 32)}

# C_p of a mole of formula units (J/K), linear thermal expansion (10^-6/K)
MEASURED = {
    "C (diamond)": (6.12, 1.0),
    "Si": (20.00, 2.6),
    "Ge": (23.22, 5.9),
    "Al": (24.20, 23.1),
    "Cu": (24.44, 16.5),
    "Au": (25.42, 14.2),
    "W": (24.3, 4.5),
    "Fe": (25.10, 11.8),
    "Mg": (24.87, 24.8),
    "Ti": (25.06, 8.6),
    "LiH": (27.96, 35),
    "LiF": (41.92, 34),
    "NaCl": (50.51, 40),
    "MgO": (37.11, 10.5),
    "CaF2": (68.59, 18.9),
    "TiC": (33.8, 7.4),
    "TiN": (37.08, 9.4),
    "SiC (3C)": (26.85, 2.8),
    "AlN": (30.10, 4.5),
    "GaAs": (46.9, 5.7),
    "TiO2 (rutile)": (55.10, 8.0),
    "Al2O3": (79.02, 5.4),
    "SiO2 (quartz)": (44.59, 11.7),
}
LENGTHS = (6.0, 8.0, 10.0, 12.0)
BASELINE = ("Si", "Cu", "MgO", "LiH", "NaCl", "TiN", "GaAs", "AlN", "TiO2 (rutile)", "Al2O3")


def solid(name: str) -> Structure:
    return Structure.from_spacegroup(*CRYSTALS[name][:4]).get_primitive_structure()


def measured(name: str) -> tuple[float, float]:
    """C_p and C_v, J/(g K)."""
    capacity, expansion = MEASURED[name]
    crystal, modulus = solid(name), CRYSTALS[name][4]
    _, units = crystal.composition.get_reduced_formula_and_factor()
    if len(crystal.composition) == 1:
        units = len(crystal)
    moles_volume = crystal.volume / units * 0.602214e-6  # m^3
    difference = moles_volume * TEMPERATURE * (3e-6 * expansion) ** 2 * modulus * 1e9
    mass = float(crystal.composition.weight) / units
    return capacity / mass, (capacity - difference) / mass


def text(result: Values | Failure) -> str:
    return result.kind if isinstance(result, Failure) else f"{result['heat_capacity']:.3f}"


def compare(potential: str) -> None:
    """Print the heat capacity of every solid beside experiment."""
    evaluator = HeatCapacity(TEMPERATURE, potential)
    print("| solid | C_p measured | C_v from it | ours | ours / C_v | CPU s |\n|---|---|---|---|---|---|")
    ratios: list[float] = []
    times: list[float] = []
    for name in MEASURED:
        pressure, volume = measured(name)
        start = time.process_time()
        (found,) = evaluator.evaluate([solid(name)])
        times.append(time.process_time() - start)
        quotient = ""
        if not isinstance(found, Failure):
            value = found["heat_capacity"]
            assert not isinstance(value, Failure)
            ratios.append(value / volume)
            quotient = f"{ratios[-1]:.3f}"
        print(f"| {name} | {pressure:.3f} | {volume:.3f} | {text(found)} | {quotient} | {times[-1]:.2f} |", flush=True)
    print(
        f"\n{len(ratios)} of {len(MEASURED)} solids: "
        f"median deviation {statistics.median(abs(ratio - 1) for ratio in ratios):.1%}, "
        f"median ours / C_v {statistics.median(ratios):.3f}, CPU s median {statistics.median(times):.2f}"
    )


def converge(potential: str) -> None:
    """Print what the size of the supercell changes, relative to the largest."""
    evaluators = [HeatCapacity(TEMPERATURE, potential, supercell=length, max_work=10**6) for length in LENGTHS]
    print("| solid | " + " | ".join(f"{length:g} A" for length in LENGTHS) + " |\n" + "|---" * (1 + len(LENGTHS)) + "|")
    errors: dict[float, list[float]] = {length: [] for length in LENGTHS}
    for name in BASELINE:
        results = [evaluator.evaluate([solid(name)])[0] for evaluator in evaluators]
        print(f"| {name} | " + " | ".join(map(text, results)) + " |", flush=True)
        values = [result["heat_capacity"] for result in results if not isinstance(result, Failure)]
        if len(values) == len(LENGTHS):
            for length, value in zip(LENGTHS, values, strict=True):
                errors[length].append(abs(value / values[-1] - 1))
    for length in LENGTHS[:-1]:
        print(
            f"\n{length:g} A: median error {statistics.median(errors[length]):.2%}, largest {max(errors[length]):.2%}"
        )


def against_matcalc(potential: str, calculator: Any) -> None:
    """Print values and CPU time of matcalc and ours with the same supercells."""
    from matcalc import PhononCalc

    evaluator = HeatCapacity(TEMPERATURE, potential)
    files = dict.fromkeys(("write_force_constants", "write_band_structure", "write_total_dos", "write_phonon"), False)
    times: list[tuple[float, float]] = []
    print("| solid | atoms in the supercell | ours | matcalc | CPU s, ours | matcalc |\n|---|---|---|---|---|---|")
    for name in BASELINE:
        (crystal,) = rest([solid(name)], load_potential(potential))
        assert not isinstance(crystal, Failure), name
        matrix = choose_supercell(crystal, evaluator.params["supercell"])
        structure = crystal.primitive.to_structure()
        start = time.process_time()
        (found,) = evaluator.evaluate([structure])
        middle = time.process_time()
        baseline = PhononCalc(
            calculator,
            supercell_matrix=matrix.T,
            atom_disp=0.05,
            fmax=0.02,
            t_min=TEMPERATURE,
            t_max=TEMPERATURE,
            **files,
        )
        capacity = float(baseline.calc(structure)["thermal_properties"]["heat_capacity"][0])
        times.append((middle - start, time.process_time() - middle))
        theirs = capacity / float(structure.composition.weight)
        atoms = round(abs(float(torch.linalg.det(torch.tensor(matrix, dtype=torch.float64))))) * len(structure)
        print(
            f"| {name} | {atoms} | {text(found)} | {theirs:.3f} | {times[-1][0]:.2f} | {times[-1][1]:.2f} |", flush=True
        )
    report(times)


def report(times: Sequence[tuple[float, float]]) -> None:
    ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    ratios = statistics.median(b / a for a, b in times)
    print(
        f"\nmedians {ours:.2f} and {theirs:.2f} s, ratio of medians {theirs / ours:.1f}, median of ratios {ratios:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--convergence", action="store_true", help="by the size of the supercell")
    parser.add_argument("--matcalc", action="store_true", help="compare with matcalc instead of experiment")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    HeatCapacity(potential=arguments.potential).evaluate([solid("Cu")])
    print(f"J/(g K) at {TEMPERATURE} K; {arguments.potential}; {processor()}, one thread\n")
    if arguments.convergence:
        converge(arguments.potential)
    elif arguments.matcalc:
        against_matcalc(arguments.potential, matcalc_calculator(arguments.potential))
    else:
        compare(arguments.potential)


if __name__ == "__main__":
    main()
