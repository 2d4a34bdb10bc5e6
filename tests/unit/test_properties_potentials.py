"""Potentials behind properties: batches keep the order, and any ASE calculator serves."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import diamond, displaced, rocksalt

from matinvent.errors import ConfigError, Failure
from matinvent.properties.potentials import compute_batched, load_chgnet, load_potential
from matinvent.screening.ase_potential import AsePotential
from matinvent.screening.neighbors import Crystal
from matinvent.screening.potential import Evaluation

COPPER = Structure(Lattice(1.8 * (1 - np.eye(3))), ["Cu"], [[0, 0, 0]])
DISORDERED = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])


def emt() -> object:
    from ase.calculators.emt import EMT

    return EMT()


def test_batches_are_limited_and_results_keep_their_order() -> None:
    sizes: list[int] = []

    def compute(crystals: list[Crystal]) -> list[int | Failure]:
        sizes.append(sum(map(len, crystals)))
        return [Failure("large", "too large") if len(crystal) > 60 else len(crystal) for crystal in crystals]

    structures = [rocksalt(), DISORDERED, rocksalt() * (2, 2, 2), *[diamond()] * 90, rocksalt() * (3, 3, 3), COPPER]
    results = compute_batched(compute, structures)
    kinds = [result.kind if isinstance(result, Failure) else result for result in results]
    assert kinds == [8, "disordered", "large", *[2] * 90, "large", 1]
    assert max(size for size in sizes if size != 216) <= 160
    assert 216 in sizes


def test_one_chgnet_per_process() -> None:
    assert load_potential("chgnet") is load_chgnet()


def test_an_unknown_potential_is_named() -> None:
    with pytest.raises(ConfigError, match="chgnett"):
        load_potential("chgnett")


class TestAsePotential:
    def test_forces_and_stress_are_derivatives_of_the_energy(self) -> None:
        potential = load_potential(f"{__name__}:emt")
        structure = displaced(COPPER * (2, 2, 2), 0.1, seed=2)
        crystal = Crystal.from_structure(structure)
        (here,) = potential.evaluate([crystal])
        assert isinstance(here, Evaluation)
        step = 1e-4
        for atom, axis in [(0, 0), (3, 1), (7, 2)]:
            energies = []
            for sign in (1, -1):
                moved = structure.copy()
                moved.translate_sites([atom], sign * step * np.eye(3)[axis], frac_coords=False)
                (there,) = potential.evaluate([Crystal.from_structure(moved)])
                assert isinstance(there, Evaluation)
                energies.append(there.energy)
            assert here.forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-4)
        energies = []
        for sign in (1, -1):
            strained = structure.copy()
            strained.apply_strain(sign * step)
            (there,) = potential.evaluate([Crystal.from_structure(strained)])
            assert isinstance(there, Evaluation)
            energies.append(there.energy)
        work = (energies[0] - energies[1]) / (2 * step)
        assert np.trace(here.stress) * crystal.volume == pytest.approx(work, rel=1e-3)

    def test_what_the_calculator_raises_fails_one_crystal(self) -> None:
        potential = AsePotential(emt(), "emt")
        iron = Crystal.from_structure(Structure(Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]]))
        results = potential.evaluate([iron, Crystal.from_structure(COPPER)])
        assert isinstance(results[0], Failure)
        assert results[0].kind == "error"
        assert isinstance(results[1], Evaluation)
