"""Crystals, potentials and relaxers that the tests of the screening share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from pymatgen.core import Lattice, Structure

from matinvent.errors import Failure
from matinvent.screening.fingerprint import LENGTH
from matinvent.screening.matching import Identity, identify
from matinvent.screening.neighbors import Crystal, find_neighbors
from matinvent.screening.potential import Evaluation
from matinvent.screening.reference import QUANTUM, KnownCrystals, ReferenceSet
from matinvent.screening.relaxation import Progress, Relaxation
from matinvent.screening.stability import Hull, atomic_fractions

SALTS = {"NaCl": -3.4, "KCl": -3.3, "LiF": -4.8, "LiCl": -3.6, "NaF": -4.3, "KF": -4.2}


def face_centred(a: float, **sublattices: tuple[float, float, float]) -> Structure:
    """Conventional cubic cell of face-centred sublattices: element -> position of its first atom."""
    corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    species = [element for element in sublattices for _ in corners]
    coords = [corner + first for first in sublattices.values() for corner in corners]
    return Structure(Lattice.cubic(a), species, coords)


def rocksalt(cation: str = "Na", anion: str = "Cl", a: float = 5.64) -> Structure:
    """Conventional rock-salt cell, 8 atoms."""
    return face_centred(a, **{cation: (0, 0, 0), anion: (0.5, 0.5, 0.5)})


def zincblende(cation: str = "Na", anion: str = "Cl", a: float = 5.64) -> Structure:
    """Conventional zinc-blende cell, 8 atoms."""
    return face_centred(a, **{cation: (0, 0, 0), anion: (0.25, 0.25, 0.25)})


def diamond(a: float = 5.431) -> Structure:
    """Primitive silicon, 2 atoms."""
    vectors = Lattice([[0, a / 2, a / 2], [a / 2, 0, a / 2], [a / 2, a / 2, 0]])
    return Structure(vectors, ["Si", "Si"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def displaced(structure: Structure, size: float, seed: int) -> Structure:
    """A copy with every atom moved by a Gaussian of width ``size`` (A)."""
    moves = np.random.default_rng(seed).normal(0, size, (len(structure), 3))
    coords = structure.cart_coords + moves
    return Structure(structure.lattice, structure.species, coords, coords_are_cartesian=True)


class LennardJones:
    """Lennard-Jones with epsilon 1 eV and sigma 1 A, cut off at 8 A: every number known on paper."""

    potential = "lennard-jones"

    def evaluate(self, crystals: Sequence[Crystal]) -> list[Evaluation | Failure]:
        return [self._one(crystal) for crystal in crystals]

    def _one(self, crystal: Crystal) -> Evaluation | Failure:
        if (crystal.numbers == 2).any():
            return Failure("unknown-element", "helium is what this test potential does not know")
        pairs = find_neighbors(crystal, 8.0)
        positions = crystal.frac @ crystal.lattice
        away = positions[pairs.other] + pairs.image @ crystal.lattice - positions[pairs.center]
        inverse = pairs.distance**-6
        energy = 0.5 * float((4 * (inverse**2 - inverse)).sum())
        slope = 4 * (-12 * inverse**2 + 6 * inverse) / pairs.distance  # dE/dr of each pair
        pulls = (slope / pairs.distance)[:, None] * away
        forces = np.zeros((len(crystal), 3))
        np.add.at(forces, pairs.center, pulls)
        stress = 0.5 * (away.T @ pulls) / crystal.volume
        return Evaluation(energy, forces, stress)


class StillRelaxer:
    """Leaves crystals as they are and gives them the energies it was told, in order of formula."""

    potential = "still"

    def __init__(self, energies: dict[str, float], failing: Sequence[str] = ()) -> None:
        self.energies = energies
        self.failing = failing
        self.relaxed: list[str] = []
        self.closed = False

    def relax(
        self,
        structures: Sequence[Structure],
        progress: Progress | None = None,
        *,
        ceilings: Sequence[float | None] | None = None,
        on_result: Callable[[int, Relaxation | Failure], None] | None = None,
    ) -> list[Relaxation | Failure]:
        self.ceilings = ceilings
        results = [self._one(structure) for structure in structures]
        for index, result in enumerate(results):
            if on_result is not None:
                on_result(index, result)
        if progress is not None:
            progress(1.0)
        return results

    def close(self) -> None:
        self.closed = True

    def _one(self, structure: Structure) -> Relaxation | Failure:
        name = structure.composition.reduced_formula
        self.relaxed.append(name)
        if name in self.failing:
            return Failure("error", "told to fail")
        return Relaxation(structure, self.energies[name] * len(structure), True, 3, 0.05, 0.1)


def salt_reference() -> ReferenceSet:
    """Elements at 0 eV/atom, NaCl at -3.4 and known in rock salt."""
    entries = {"Na": 0.0, "K": 0.0, "Li": 0.0, "Cl": 0.0, "F": 0.0} | SALTS
    known = identify(rocksalt())
    assert isinstance(known, Identity)
    quanta = np.rint(known.fingerprint[None] / QUANTUM).astype(np.int16)
    hull = Hull(atomic_fractions(list(entries)), list(entries.values()))
    nothing = np.zeros(0, dtype=np.int64), np.zeros((0, LENGTH), dtype=np.int16)
    halite = KnownCrystals(["NaCl"], np.array([1]), ["halite"], quanta, *nothing)
    return ReferenceSet(hull, "still", halite)


def deadly_calculator() -> Any:
    """EMT, except that gold kills the process."""
    from ase.calculators.emt import EMT

    class Deadly(EMT):
        def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
            if "Au" in atoms.get_chemical_symbols():
                os._exit(1)
            super().calculate(atoms, *args, **kwargs)

    return Deadly()


def raising_calculator() -> Any:
    """EMT, except that gold raises."""
    from ase.calculators.emt import EMT

    class Raising(EMT):
        def calculate(self, atoms: Any = None, *args: Any, **kwargs: Any) -> None:
            if "Au" in atoms.get_chemical_symbols():
                raise RuntimeError("no gold today")
            super().calculate(atoms, *args, **kwargs)

    return Raising()
