"""Elastic moduli of well-known solids beside experiment, and the cost beside matcalc on the same potential.

    python benchmarks/elastic_moduli.py                          # CHGNet
    python benchmarks/elastic_moduli.py --potential sevennet     # needs matinvent[sevennet]
    python benchmarks/elastic_moduli.py --matcalc                # beside matcalc.ElasticityCalc (pip install matcalc)

Experiment: moduli of a polycrystal (Voigt-Reuss-Hill) from the elastic constants of single crystals at room
temperature, by the same formulas as ours. Sources of the constants: Simmons and Wang, Single Crystal Elastic
Constants and Calculated Aggregate Properties (1971), where not named; C McSkimin and Andreatch, J. Appl. Phys. 43,
2944 (1972); Si, Ge, GaAs McSkimin and others, J. Appl. Phys. 34, 651 (1963), 35, 3312 (1964), 38, 2362 (1967); Al
Thomas, Phys. Rev. 175, 955 (1968); Fe Rayne and Chandrasekhar, Phys. Rev. 122, 1714 (1961); W Featherston and
Neighbours, Phys. Rev. 130, 1324 (1963); MgO Sinogeikin and Bass, Phys. Earth Planet. Inter. 120, 43 (2000); SiC
Lambrecht et al., Phys. Rev. B 44, 3685 (1991); TiC Gilman and Roberts, J. Appl. Phys. 32, 1405 (1961); TiN Kim et
al., J. Appl. Phys. 72, 1805 (1992); SrTiO3 Bell and Rupprecht, Phys. Rev. 129, 90 (1963); Mg Slutsky and Garland,
Phys. Rev. 107, 972 (1957); Ti Fisher and Renken, Phys. Rev. 135, A482 (1964); Al2O3 Goto et al., J. Geophys. Res. 94,
7588 (1989); quartz McSkimin et al., J. Appl. Phys. 36, 1624 (1965); AlN McNeil et al., J. Am. Ceram. Soc. 76, 1132
(1993).
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from bulk_modulus import SOLIDS
from pymatgen.core import Structure
from scipy.stats import spearmanr
from setting import processor

from matinvent.errors import Failure
from matinvent.properties.elastic_tensor import ElasticModuli, average
from matinvent.properties.potentials import load_potential

if TYPE_CHECKING:
    from numpy.typing import NDArray

NAMES = ("bulk_modulus_vrh", "shear_modulus", "young_modulus", "pugh_ratio", "poisson_ratio")

# Cubic: C11, C12, C44. Hexagonal and trigonal: C11, C12, C13, C33, C44, C14.
CONSTANTS = {
    "C (diamond)": (1079, 124, 578),
    "Si": (165.7, 63.9, 79.6),
    "Ge": (128.5, 48.3, 66.8),
    "Al": (106.8, 60.4, 28.3),
    "Cu": (168.4, 121.4, 75.4),
    "Au": (192.3, 163.1, 42.0),
    "W": (522.4, 204.4, 160.6),
    "Fe": (231.4, 134.7, 116.4),
    "MgO": (297.9, 95.8, 154.4),
    "NaCl": (49.5, 12.9, 12.9),
    "LiF": (114.0, 47.7, 63.6),
    "TiC": (500, 113, 175),
    "TiN": (625, 165, 163),
    "SiC (3C)": (390, 142, 256),
    "GaAs": (118.8, 53.8, 59.4),
    "CaF2": (164.2, 44.0, 33.7),
    "SrTiO3": (318.1, 102.5, 123.6),
    "Mg": (59.7, 26.2, 21.7, 61.7, 16.4, 0),
    "Ti": (162.4, 92.0, 69.0, 180.7, 46.7, 0),
    "AlN": (411, 149, 99, 389, 125, 0),
    "Al2O3": (497.3, 162.8, 116.0, 500.9, 146.8, -21.9),
    "SiO2 (quartz)": (86.8, 7.0, 11.9, 105.8, 58.2, -18.0),
}


def tensor(constants: Sequence[float]) -> NDArray[np.float64]:
    """Elastic tensor (6, 6) of a cubic, hexagonal or trigonal crystal."""
    full = np.zeros((6, 6))
    if len(constants) == 3:
        full[:3, :3] = constants[1]
        np.fill_diagonal(full, [constants[0]] * 3 + [constants[2]] * 3)
        return full
    c11, c12, c13, c33, c44, c14 = constants
    full[:3, :3] = [[c11, c12, c13], [c12, c11, c13], [c13, c13, c33]]
    full[[3, 4, 5], [3, 4, 5]] = c44, c44, (c11 - c12) / 2
    full[[0, 3, 1, 3, 4, 5], [3, 0, 3, 1, 5, 4]] = c14, c14, -c14, -c14, c14, c14
    return full


def solid(name: str) -> Structure:
    return Structure.from_spacegroup(*SOLIDS[name][:4]).get_primitive_structure()


def compare(evaluator: ElasticModuli) -> None:
    """Print the moduli of every solid beside experiment, and how far they are off."""
    print("| solid | " + " | ".join(f"{name}: exp., ours" for name in NAMES) + " | CPU s |\n" + "|---" * 7 + "|")
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in NAMES}
    for name, constants in CONSTANTS.items():
        measured = average(tensor(constants))
        assert not isinstance(measured, Failure), name
        start = time.process_time()
        (found,) = evaluator.evaluate([solid(name)])
        seconds = time.process_time() - start
        if isinstance(found, Failure):
            print(
                f"| {name} | " + " | ".join(f"{measured[n]:.3g}, {found.kind}" for n in NAMES) + f" | {seconds:.2f} |"
            )
            continue
        cells = []
        for quantity in NAMES:
            value = found[quantity]
            assert not isinstance(value, Failure)
            pairs[quantity].append((measured[quantity], value))
            cells.append(f"{measured[quantity]:.3g}, {value:.3g}")
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.2f} |", flush=True)
    print()
    for quantity, found_pairs in pairs.items():
        errors = [abs(ours / theirs - 1) for theirs, ours in found_pairs]
        ratio = statistics.median(ours / theirs for theirs, ours in found_pairs)
        print(
            f"{quantity}: {len(errors)} of {len(CONSTANTS)} solids, median deviation {statistics.median(errors):.0%}, "
            f"median ours / experiment {ratio:.2f}, rank correlation {spearmanr(found_pairs).statistic:.2f}"
        )


def against_matcalc(evaluator: ElasticModuli, calculator: Any) -> None:
    """Print values and CPU time beside matcalc's, with and without its relaxation of the strained cells."""
    from matcalc import ElasticityCalc

    baselines = {
        "relaxed": ElasticityCalc(calculator, fmax=0.02, relax_deformed_structures=True, units_GPa=True, r2_min=-1),
        "rigid": ElasticityCalc(calculator, fmax=0.02, units_GPa=True, r2_min=-1),
    }
    ratios: dict[str, list[float]] = {kind: [] for kind in baselines}
    seconds: dict[str, list[float]] = {kind: [] for kind in ("ours", *baselines)}
    print("| solid | G, K ours | matcalc, atoms relaxed | matcalc, rigid | CPU s of the three |\n|---|---|---|---|---|")
    for name in CONSTANTS:
        crystal = solid(name)
        start = time.process_time()
        (found,) = evaluator.evaluate([crystal])
        seconds["ours"].append(time.process_time() - start)
        texts = [found.kind if isinstance(found, Failure) else f"{found[NAMES[1]]:.3g}, {found[NAMES[0]]:.3g}"]
        for kind, baseline in baselines.items():
            start = time.process_time()
            result = baseline.calc(crystal)
            seconds[kind].append(time.process_time() - start)
            ratios[kind].append(seconds[kind][-1] / seconds["ours"][-1])
            texts.append(f"{result['shear_modulus_vrh']:.3g}, {result['bulk_modulus_vrh']:.3g}")
        times = " / ".join(f"{own[-1]:.2f}" for own in seconds.values())
        print(f"| {name} | {' | '.join(texts)} | {times} |", flush=True)
    print("\nCPU s, medians: " + ", ".join(f"{kind} {statistics.median(own):.2f}" for kind, own in seconds.items()))
    for kind in baselines:
        whole = statistics.median(seconds[kind]) / statistics.median(seconds["ours"])
        print(
            f"matcalc {kind} / ours: ratio of medians {whole:.1f}, "
            f"median of ratios {statistics.median(ratios[kind]):.1f}"
        )


def matcalc_calculator(potential: str) -> Any:
    """The ASE calculator of a potential, as its own package makes it."""
    if potential == "chgnet":
        from chgnet.model import CHGNetCalculator

        return CHGNetCalculator(use_device="cpu", verbose=False)
    from matinvent.screening.potential import make_calculator

    return make_calculator(potential, "cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--potential", default="chgnet")
    parser.add_argument("--matcalc", action="store_true", help="compare with matcalc instead of experiment")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", module="chgnet|matcalc|pymatgen|ase|torch|sevenn")
    load_potential(arguments.potential)
    evaluator = ElasticModuli(potential=arguments.potential)
    evaluator.evaluate([solid("Si")])
    print(f"{arguments.potential}; {processor()}, one thread\n")
    if arguments.matcalc:
        against_matcalc(evaluator, matcalc_calculator(arguments.potential))
    else:
        compare(evaluator)


if __name__ == "__main__":
    main()
