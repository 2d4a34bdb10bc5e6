"""Crystals with which novelty is learned and judged; shared by train_fingerprint.py and novelty.py.

A data folder holds mp_structures.parquet with columns material_id, formula, species, abc (A), angles (degrees),
frac_coords. A quarter of its formulas, chosen by a checksum, is never trained on.
"""

from __future__ import annotations

import zlib
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from pymatgen.core import Composition, Lattice, Structure

from matinvent.config_screening import RelaxationConfig
from matinvent.errors import Failure
from matinvent.priors.dataset import load_table, structures
from matinvent.screening.relaxation import make_relaxer

COLUMNS = ["material_id", "formula", "species", "abc", "angles", "frac_coords"]
MAX_ATOMS = 16  # of crystals that are relaxed


class KnownCrystals:
    """The table of known crystals; structures are made when asked for."""

    def __init__(self, data: Path) -> None:
        table = load_table(data, "mp_structures", COLUMNS)
        self.table = table[[len(species) > 1 for species in table["species"]]].reset_index(drop=True)
        self.formulas = [reduced(text) for text in self.table["formula"]]
        self.held_out = np.array([is_held_out(formula) for formula in self.formulas])

    @cached_property
    def by_formula(self) -> dict[str, np.ndarray]:
        """Rows of each reduced formula."""
        return _rows_of(self.formulas)

    @cached_property
    def by_prototype(self) -> dict[str, np.ndarray]:
        """Rows of each anonymous formula (A2B, ABC3, ...)."""
        return _rows_of([Composition(formula).anonymized_formula for formula in self.formulas])

    def structure(self, row: int) -> Structure:
        """The crystal of a row."""
        ((_, structure),) = structures(self.table.iloc[[row]])
        return structure

    def name(self, row: int) -> str:
        """The material id of a row."""
        return str(self.table["material_id"].iloc[row])

    def atoms(self, row: int) -> int:
        """Atoms per cell of a row."""
        return len(self.table["species"].iloc[row])

    def like(self, row: int, most: int, rng: np.random.Generator) -> list[Structure]:
        """Known crystals of a row's formula, itself among them, at most so many."""
        rows = self.by_formula[self.formulas[row]]
        if len(rows) > most:
            rows = np.unique([row, *rng.choice(rows, most - 1, replace=False)])
        return [self.structure(int(other)) for other in rows]

    def substituted(self, row: int, rng: np.random.Generator) -> Structure | None:
        """The formula of a row in the structure of another of the same prototype; None when it meets itself.

        Elements take each other's places in the order of their amounts, then electronegativities; the volume per
        atom is that of the row.
        """
        donors = self.by_prototype[Composition(self.formulas[row]).anonymized_formula]
        donor = int(rng.choice(donors))
        if self.formulas[donor] == self.formulas[row] or self.atoms(donor) > 2 * MAX_ATOMS:
            return None
        structure, target = self.structure(donor), self.structure(row)
        places = zip(_roles(self.formulas[donor]), _roles(self.formulas[row]), strict=True)
        structure.replace_species(dict(places))
        structure.scale_lattice(target.volume / len(target) * len(structure))
        return structure


@cache
def reduced(formula: str) -> str:
    """Reduced formula as pymatgen writes it."""
    return str(Composition(formula).reduced_formula)


def is_held_out(formula: str) -> bool:
    """Whether crystals of a reduced formula are kept for testing."""
    return zlib.crc32(formula.encode()) % 4 == 0


def rattled(structure: Structure, move: float, strain: float, rng: np.random.Generator) -> Structure:
    """Gaussian displacements of width ``move`` (A) on every coordinate, and a Gaussian strain."""
    noise = rng.normal(0, strain, (3, 3))
    lattice = Lattice(structure.lattice.matrix @ (np.eye(3) + (noise + noise.T) / 2))
    coords = lattice.get_cartesian_coords(structure.frac_coords) + rng.normal(0, move, (len(structure), 3))
    return Structure(lattice, structure.species, coords, coords_are_cartesian=True)


def relax(structures: list[Structure]) -> list[Structure | Failure]:
    """Crystals relaxed to their end with the default potential and limits."""
    relaxer = make_relaxer(RelaxationConfig(give_up=False), 0)
    try:
        outcomes = relaxer.relax(structures)
    finally:
        relaxer.close()
    return [outcome if isinstance(outcome, Failure) else outcome.structure for outcome in outcomes]


def _rows_of(keys: list[str]) -> dict[str, np.ndarray]:
    names, inverse = np.unique(keys, return_inverse=True)
    order = np.argsort(inverse, kind="stable")
    return dict(zip(names, np.split(order, np.cumsum(np.bincount(inverse))[:-1]), strict=True))


@cache
def _roles(formula: str) -> list[str]:
    """Elements by amount, then electronegativity (2 for noble gases without one)."""
    amounts = Composition(formula).items()
    ranked = sorted(amounts, key=lambda item: (round(item[1], 6), item[0].X if item[0].X == item[0].X else 2.0))
    return [element.symbol for element, _ in ranked]
