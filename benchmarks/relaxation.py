"""Relaxation of generated crystals with CHGNet: this package beside ASE with the package chgnet.

    python benchmarks/relaxation.py                                 # 64 samples of the shipped prior, about 5 minutes
    python benchmarks/relaxation.py --crystals FILE.extxyz -n 16

Every crystal is relaxed, atoms and cell, to the same force criterion with the same step limit by

- ASE: FIRE with FrechetCellFilter around chgnet's CHGNetCalculator, one crystal after the other;
- one process: BatchedRelaxer with ChgnetEvaluator, as each process of the screening does it;
- pool: PooledRelaxer, one worker process per core.

CPU time is that of the process, torch on one thread in each. Loading the weights is not counted. Final energies are
compared crystal by crystal; a loose criterion lets equal optimizers stop at different energies, so a second ASE run
with half the time step (and the energies of the evaluator of this package, for speed) says what agreement can be had.
The wall time of the pool is compared with what the machine gives: the same work in several independent
processes at once.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import multiprocessing
import os
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from ase.calculators.calculator import Calculator, CalculatorError, all_changes
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.io.ase import AseAtomsAdaptor
from setting import generated_crystals, processor

from matinvent.cli.output import progress_bar
from matinvent.config_screening import RelaxationConfig
from matinvent.errors import Failure
from matinvent.execution.executors import available_cores
from matinvent.screening.chgnet import ChgnetEvaluator
from matinvent.screening.neighbors import Crystal
from matinvent.screening.pooled_relaxer import PooledRelaxer, local_relaxer

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

    from matinvent.screening.relaxation import Relaxer

#: Final energies closer than this (eV/atom) are equal.
TOLERANCE = 0.003


class Outcome(NamedTuple):
    """What is left of a relaxation: energy (eV/atom), steps, whether the criterion was met."""

    energy: float
    steps: int
    converged: bool


class Run(NamedTuple):
    """All crystals relaxed in one way (None: could not be relaxed) and the seconds that took."""

    outcomes: list[Outcome | None]
    cpu: float
    wall: float


class PackageCalculator(Calculator):
    """The evaluator of this package as an ASE calculator."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 - ASE's way

    def __init__(self, evaluator: ChgnetEvaluator) -> None:
        super().__init__()
        self._evaluator = evaluator

    def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Sequence[str] = all_changes) -> None:
        """Evaluate; what cannot be evaluated is a CalculatorError."""
        super().calculate(atoms, properties, system_changes)
        crystal = Crystal(atoms.numbers, np.array(atoms.cell), atoms.get_scaled_positions(wrap=False))
        [result] = self._evaluator.evaluate([crystal])
        if isinstance(result, Failure):
            raise CalculatorError(str(result))
        self.results = {"energy": result.energy, "forces": result.forces, "stress": result.stress}


def package_calculator() -> Calculator:
    """CHGNet as its authors ship it."""
    from chgnet.model.dynamics import CHGNetCalculator

    warnings.filterwarnings("ignore", "Converting a tensor with requires_grad=True", UserWarning)  # of its own
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        calculator: Calculator = CHGNetCalculator(use_device="cpu")
    return calculator


def timed(work: Callable[[], list[Outcome | None]]) -> Run:
    """Do it on one thread with a stop watch."""
    torch.set_num_threads(1)
    wall, cpu = time.perf_counter(), time.process_time()
    outcomes = work()
    return Run(outcomes, time.process_time() - cpu, time.perf_counter() - wall)


def by_ase(
    structures: Sequence[Structure], config: RelaxationConfig, calculator: Calculator, time_step: float, name: str
) -> list[Outcome | None]:
    """FIRE with FrechetCellFilter, one crystal after the other."""

    def relax(atoms: Atoms) -> Outcome | None:
        atoms.calc = calculator
        optimizer = FIRE(FrechetCellFilter(atoms), dt=time_step, logfile=None)
        try:
            converged = optimizer.run(fmax=config.fmax, steps=config.max_steps)
        except Exception as error:  # noqa: BLE001 - a crystal that blows up is counted, not fatal
            print(f"{name}: {atoms.get_chemical_formula()}: {type(error).__name__}: {error}")
            return None
        return Outcome(atoms.get_potential_energy() / len(atoms), optimizer.nsteps, bool(converged))

    outcomes = []
    with progress_bar(f"{name}: {len(structures)} crystals") as progress:
        for done, structure in enumerate(structures, start=1):
            outcomes.append(relax(AseAtomsAdaptor.get_atoms(structure, msonable=False)))
            progress(done / len(structures))
    return outcomes


def by_relaxer(structures: Sequence[Structure], relaxer: Relaxer) -> list[Outcome | None]:
    """This package."""
    return [
        None if isinstance(result, Failure) else Outcome(result.energy_per_atom, result.steps, result.converged)
        for result in relaxer.relax(structures)
    ]


def alone(structures: Sequence[Structure], config: RelaxationConfig, start: Any) -> Run:
    """One process's work, begun when all processes are ready."""
    torch.set_num_threads(1)
    relaxer = local_relaxer(config)
    relaxer.relax(structures[:2])
    start.wait()
    return timed(lambda: by_relaxer(structures, relaxer))


def at_once(structures: Sequence[Structure], config: RelaxationConfig, processes: int) -> list[Run]:
    """The same work in each of several independent processes at the same time."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Manager() as manager, ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        start = manager.Barrier(processes)
        futures = [pool.submit(alone, structures, config, start) for _ in range(processes)]
        return [future.result() for future in futures]


def pooled(structures: Sequence[Structure], config: RelaxationConfig, workers: int) -> Run:
    """The relaxer with worker processes, once every worker has loaded the potential."""
    relaxer = PooledRelaxer(config, workers)
    try:
        relaxer.relax(structures[: 4 * workers])
        return timed(lambda: by_relaxer(structures, relaxer))
    finally:
        relaxer.close()


def compared(ours: Run, reference: Run) -> str:
    """Shares of final energies equal, lower and higher than the reference's."""
    pairs = [(a.energy, b.energy) for a, b in zip(ours.outcomes, reference.outcomes, strict=True) if a and b]
    lower = sum(a < b - TOLERANCE for a, b in pairs)
    higher = sum(a > b + TOLERANCE for a, b in pairs)
    return f"{1 - (lower + higher) / len(pairs):.1%} | {lower} | {higher}"


def row(name: str, run: Run, baseline: Run) -> str:
    """A line of the table."""
    done = [outcome for outcome in run.outcomes if outcome]
    steps = f"{statistics.median(o.steps for o in done):g} | {statistics.fmean(o.steps for o in done):.0f}"
    met = f"{sum(o.converged for o in done)} of {len(run.outcomes)}"
    return f"| {name} | {steps} | {met} | {compared(run, baseline)} | {run.cpu:.1f} | {baseline.cpu / run.cpu:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=64, help="number of crystals")
    parser.add_argument("--prior", default="mp-symmetric", help="what samples them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--crystals", type=Path, help="relax the first crystals of this file instead")
    parser.add_argument("--fmax", type=float, default=0.1, help="force criterion (eV/A)")
    parser.add_argument("--max-steps", type=int, default=500)
    options = parser.parse_args()

    os.environ["OMP_NUM_THREADS"] = "1"  # of the worker processes
    config = RelaxationConfig(fmax=options.fmax, max_steps=options.max_steps, device="cpu")
    structures = generated_crystals(options.n, prior=options.prior, seed=options.seed, file=options.crystals)
    cores = available_cores()
    evaluator, calculator = ChgnetEvaluator(), package_calculator()
    one = local_relaxer(config)
    one.relax(structures[:2])

    ours = timed(lambda: by_relaxer(structures, one))
    baseline = timed(lambda: by_ase(structures, config, calculator, 0.1, "ASE"))
    again = timed(lambda: by_ase(structures, config, PackageCalculator(evaluator), 0.05, "ASE, half the time step"))
    pool, single = pooled(structures, config, cores), at_once(structures, config, 1)
    several = at_once(structures, config, cores)

    atoms = [len(structure) for structure in structures]
    print(f"{len(structures)} crystals of {min(atoms)} to {max(atoms)} atoms (median {statistics.median(atoms):g}), "
          f"fmax {options.fmax:g} eV/A, at most {options.max_steps} steps; {processor()}\n")  # fmt: skip
    print("| relaxed by | steps, median | mean | converged | energy within 3 meV/atom of ASE's | lower | higher "
          "| CPU s | CPU time of ASE / this |\n|---" + "|---" * 8 + "|")  # fmt: skip
    print(row("ASE, CHGNetCalculator", baseline, baseline))
    print(row("this package, one process", ours, baseline))
    print(row("ASE, half the time step, this package's energies", again, baseline))
    longest = max(run.wall for run in several)
    print(f"\nwall time: one process {single[0].wall:.1f} s, {cores} workers {pool.wall:.1f} s, "
          f"ratio {single[0].wall / pool.wall:.2f}; the machine's ceiling for {cores} independent processes: "
          f"{cores * single[0].wall / longest:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
