"""A run directory whose every number is known: two iterations of four evaluations, two objectives."""

from __future__ import annotations

from pathlib import Path

from pymatgen.core import Lattice, Structure

from matinvent.candidate import Candidate, Fate
from matinvent.config_files import build_config
from matinvent.memory.ledger import Ledger
from matinvent.reporting.sinks import CsvTable
from matinvent.run_directory import RunDirectory

CONFIG = {
    "name": "made-up",
    "goal": "dense and common",
    "iterations": 4,
    "objectives": [
        {"property": "density", "kind": "maximize", "lo": 0, "hi": 10, "hit": [6.0, None]},
        {"property": "hhi", "kind": "minimize", "lo": 0, "hi": 1000, "hit": [None, 500.0]},
    ],
}

#: Of each iteration: formula, density, hhi; None: the evaluation failed.
EVALUATED = (
    (("NaCl", 2.0, 800.0), ("MgO", 4.0, 600.0)),
    (("Fe", 6.0, 600.0), None),
    (("Fe", 7.0, 400.0), ("TiN", 5.0, 500.0)),
    (("Fe", 8.0, 300.0), ("Fe", 9.0, 200.0)),
)
#: Columns of metrics.csv, one value for each iteration.
METRICS = {
    "validity": (1.0, 0.9, 0.8, 0.6),
    "sun": (0.4, 0.5, 0.6, 0.7),
    "divergence": (0.01, 0.02, 0.03, None),
    "hits": (0, 0, 1, 2),
    "reward_mean": (0.3, 0.5, 0.55, 0.775),
    "density_mean": (3.0, 6.0, 6.0, 8.5),
    "hhi_mean": (700.0, 600.0, 450.0, 250.0),
    "single_element_share": (0.0, 1.0, 0.5, 1.0),
    "evaluations": (2, 4, 6, 8),
}


def make_run(directory: Path) -> Path:
    """Write settings, metrics, times and ledger."""
    run = RunDirectory.create(directory, build_config(CONFIG))
    run.unlock()
    metrics, timings = CsvTable(directory / "metrics.csv", 99), CsvTable(directory / "timings.csv", 99)
    ledger = Ledger(run.ledger_file)
    for iteration, evaluated in enumerate(EVALUATED):
        ledger.record([
            *(candidate(iteration, index, values) for index, values in enumerate(evaluated)),
            Candidate(iteration, 9, None, fate=Fate.INVALID, reason="made up"),
        ])  # fmt: skip
        metrics.append(iteration, {name: values[iteration] for name, values in METRICS.items()})
        timings.append(iteration, {"sample": 1.5, "learn": 0.5})
    return directory


def candidate(iteration: int, index: int, values: tuple[str, float, float] | None) -> Candidate:
    """A scored crystal, or one whose evaluation failed."""
    if values is None:
        return Candidate(iteration, index, crystal("CaO"), fate=Fate.EVAL_FAILED, reason="made up")
    formula, density, hhi = values
    scores = {"density": density / 10, "hhi": 1 - hhi / 1000}
    return Candidate(
        iteration,
        index,
        crystal(formula),
        fate=Fate.SCORED,
        properties={"density": density, "hhi": hhi},
        scores=scores,
        reward=sum(scores.values()) / 2,
        credit=0.1,
        hit=density >= 6 and hhi <= 500,
    )


def crystal(formula: str) -> Structure:
    """Rock salt, or a simple cubic element."""
    from pymatgen.core import Composition

    symbols = [element.symbol for element in Composition(formula).elements]
    if len(symbols) == 1:
        return Structure(Lattice.cubic(3.0), symbols, [[0, 0, 0]])
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.5), symbols, [[0, 0, 0], [0.5, 0.5, 0.5]])
