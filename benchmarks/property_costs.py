"""What each property costs per crystal, on crystals that the shipped prior samples.

    python benchmarks/property_costs.py                       # all properties, 24 relaxed samples
    python benchmarks/property_costs.py -p density,band_gap   # some of them

Every crystal is evaluated alone, as campaigns do; the first one, with which models are loaded, is not counted.
Properties that share a calculation share its cost in a campaign (the five elastic ones, those on CHGNet's features);
here each is measured on its own. The samples are relaxed first unless they come from a file (``--crystals``).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from setting import generated_crystals, processor

from matinvent.config_screening import RelaxationConfig
from matinvent.errors import Failure
from matinvent.properties.registry import create, describe
from matinvent.screening.relaxation import make_relaxer

if TYPE_CHECKING:
    from pymatgen.core import Structure


def relaxed(structures: Sequence[Structure]) -> list[Structure]:
    """The crystals at the potential's minimum, without those that do not get there."""
    outcomes = make_relaxer(RelaxationConfig(), workers=1).relax(structures)
    return [outcome.structure for outcome in outcomes if not isinstance(outcome, Failure) and outcome.converged]


def fresh(structures: Sequence[Structure], number: int) -> list[Structure]:
    """The same crystals but for a billionth of their volume, so that nothing remembered of them serves again."""
    copies = [structure.copy() for structure in structures]
    for structure in copies:
        structure.scale_lattice(structure.volume * (1 + 1e-9 * (number + 1)))
    return copies


def measure(name: str, structures: Sequence[Structure]) -> tuple[list[float], Counter[str]]:
    """CPU seconds per crystal, and the kinds of the failures."""
    evaluator = create(name, {})
    evaluator.evaluate(structures[:1])
    seconds, failures = [], Counter[str]()
    for structure in structures[1:]:
        start = time.process_time()
        (result,) = evaluator.evaluate([structure])
        seconds.append(time.process_time() - start)
        if isinstance(result, Failure):
            failures[result.kind] += 1
    return seconds, failures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", "--property", help="names, comma-separated; default: all that are shipped")
    parser.add_argument("-n", type=int, default=24, help="number of crystals")
    parser.add_argument("--prior", default="mp-symmetric")
    parser.add_argument("--crystals", type=Path, help="file of relaxed crystals to use instead of samples")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    structures = generated_crystals(
        arguments.n + 1, prior=arguments.prior, seed=arguments.seed, file=arguments.crystals
    )
    if arguments.crystals is None:
        structures = relaxed(structures)
    names = arguments.property.split(",") if arguments.property else [info.name for info in describe()]
    print(
        f"{len(structures) - 1} crystals, median {statistics.median(map(len, structures)):.0f} atoms; {processor()}\n"
    )
    print("| property | CPU s per crystal, median | 90 % below | failures |\n|---|---|---|---|")
    for number, name in enumerate(names):
        seconds, failures = measure(name, fresh(structures, number))
        reasons = ", ".join(f"{count} {kind}" for kind, count in failures.most_common()) or "-"
        high = statistics.quantiles(seconds, n=10)[-1]
        print(f"| {name} | {statistics.median(seconds):.2g} | {high:.2g} | {reasons} |", flush=True)


if __name__ == "__main__":
    main()
