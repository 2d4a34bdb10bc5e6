"""Relaxation: known minima, honest reports, order, determinism, and crystals that go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import LennardJones, diamond, displaced, face_centred

from matinvent.config import RelaxationConfig
from matinvent.errors import ConfigError, Failure
from matinvent.screening.batched_relaxer import BatchedRelaxer
from matinvent.screening.relaxation import Relaxation, Relaxer, make_relaxer

FCC = Structure(Lattice([[0, 1, 1], [1, 0, 1], [1, 1, 0]]), ["Ar"], [[0, 0, 0]])


def argon(spacing: float, repeat: int = 1) -> Structure:
    """Face-centred cubic argon with a nearest-neighbour distance in A (sigma = 1)."""
    crystal = FCC.copy()
    crystal.scale_lattice(spacing**3 / np.sqrt(2))
    crystal.make_supercell([repeat, 1, 1])
    return crystal


def relaxer(**changes: float) -> BatchedRelaxer:
    settings: dict = {"fmax": 1e-3, "max_steps": 400, "batch_atoms": 8, "max_volume_ratio": 3.0} | changes
    return BatchedRelaxer(LennardJones(), **settings)


def relaxed(by: Relaxer, *structures: Structure) -> list[Relaxation]:
    results = by.relax(structures)
    assert all(isinstance(result, Relaxation) for result in results), results
    return [result for result in results if isinstance(result, Relaxation)]


@pytest.mark.parametrize("spacing", [1.0, 1.2])
def test_lennard_jones_solid_has_its_textbook_energy_and_spacing(spacing: float) -> None:
    """Kittel: -8.61 epsilon per atom at a nearest-neighbour distance of 1.09 sigma."""
    [result] = relaxed(relaxer(), displaced(argon(spacing, repeat=3), 0.03, seed=1))
    assert result.converged
    assert result.energy_per_atom == pytest.approx(-8.61, abs=0.03)
    volume_per_atom = result.structure.volume / len(result.structure)
    assert (volume_per_atom * np.sqrt(2)) ** (1 / 3) == pytest.approx(1.09, abs=0.01)


def test_shear_relaxes_too() -> None:
    sheared = argon(1.09)
    sheared = Structure(
        Lattice(sheared.lattice.matrix @ (np.eye(3) + np.array([[0, 0.06, 0], [0.06, 0, 0], [0, 0, 0]]))),
        ["Ar"],
        [[0, 0, 0]],
    )
    [result] = relaxed(relaxer(), sheared)
    assert sorted(result.structure.lattice.abc) == pytest.approx([1.09] * 3, abs=0.01)
    assert result.rmsd == pytest.approx(0.0, abs=1e-9)


def test_displacement_is_reported_without_drift() -> None:
    start = argon(1.09, repeat=4)
    moved = start.copy()
    moved.translate_sites([1], [0, 0.03, 0.0], frac_coords=False)
    moved.translate_sites(range(4), [0.3, 0.3, 0.3])
    [result] = relaxed(relaxer(), moved)
    shift = 0.03 * np.sqrt(3) / 4  # one of four atoms goes back, the mean is taken out
    assert result.rmsd == pytest.approx(shift, rel=0.15)


def test_running_out_of_steps_is_said() -> None:
    [result] = relaxed(relaxer(max_steps=3), argon(1.25))
    assert not result.converged
    assert result.steps == 3
    assert result.max_force > 1e-3


def test_no_steps_gives_the_energy_as_it_is() -> None:
    [result] = relaxed(relaxer(max_steps=0), argon(1.2))
    assert result.steps == 0
    assert not result.converged
    assert result.structure.volume == pytest.approx(argon(1.2).volume)


def test_energy_never_ends_above_its_start() -> None:
    structures = [displaced(argon(1.1, repeat=n), 0.08, seed=n) for n in (2, 3, 4)]
    before = relaxed(relaxer(max_steps=0), *structures)
    after = relaxed(relaxer(), *structures)
    assert all(b.energy < a.energy for a, b in zip(before, after, strict=True))


def test_failures_keep_their_place() -> None:
    bad = {
        1: Structure(Lattice.cubic(4), ["Ar"], [[np.nan, 0, 0]]),
        2: Structure(Lattice.cubic(1.5), ["He"], [[0, 0, 0]]),
        4: Structure(Lattice.cubic(2), [{"Ar": 0.5, "Kr": 0.5}], [[0, 0, 0]]),
        5: argon(0.8),  # so compressed that it expands by more than a factor of 2
    }
    items = [bad.get(position, argon(1.05 + 0.02 * position)) for position in range(7)]
    results = BatchedRelaxer(_Checked(), fmax=1e-2, max_steps=200, batch_atoms=3, max_volume_ratio=2.0).relax(items)
    kinds = [result.kind if isinstance(result, Failure) else "fine" for result in results]
    assert kinds == ["fine", "not-finite", "unknown-element", "fine", "disordered", "volume", "fine"]


class _Checked(LennardJones):
    """Refuses defective cells as a real potential does."""

    def _one(self, crystal):
        from matinvent.screening.neighbors import cell_defect

        return cell_defect(crystal) if np.isnan(crystal.frac).any() else super()._one(crystal)


@settings(max_examples=5, deadline=None)
@given(st.permutations(range(5)), st.integers(1, 20))
def test_order_and_batch_size_do_not_matter(order: list[int], batch_atoms: int) -> None:
    structures = [displaced(argon(1.06 + 0.02 * n, repeat=1 + n % 3), 0.02, seed=n) for n in range(5)]
    straight = relaxed(relaxer(fmax=0.05), *structures)
    shuffled = relaxed(relaxer(fmax=0.05, batch_atoms=batch_atoms), *[structures[n] for n in order])
    for position, n in enumerate(order):
        assert shuffled[position].energy == straight[n].energy
        assert shuffled[position].steps == straight[n].steps


def test_progress_ends_at_one_and_never_falls() -> None:
    seen: list[float] = []
    relaxer().relax([argon(1.05 + 0.03 * n) for n in range(5)], seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_nothing_to_relax() -> None:
    assert relaxer().relax([]) == []


class TestChgnet:
    @pytest.fixture(scope="class")
    def chgnet(self) -> Relaxer:
        return make_relaxer(RelaxationConfig(fmax=0.02), workers=1)

    def test_silicon_finds_its_lattice_constant(self, chgnet: Relaxer) -> None:
        """Experiment 5.431 A; CHGNet was trained on PBE (5.47 A)."""
        [result] = relaxed(chgnet, displaced(diamond(5.6), 0.05, seed=0))
        assert result.converged
        assert (4 * result.structure.volume) ** (1 / 3) == pytest.approx(5.45, abs=0.06)

    def test_bit_identical_when_repeated(self, chgnet: Relaxer) -> None:
        structures = [displaced(diamond(5.3 + 0.1 * n), 0.05, seed=n) for n in range(3)]
        first, second = relaxed(chgnet, *structures), relaxed(chgnet, *structures)
        assert [result.energy for result in first] == [result.energy for result in second]
        assert all(
            (a.structure.frac_coords == b.structure.frac_coords).all() for a, b in zip(first, second, strict=True)
        )

    def test_threads_are_given_back(self, chgnet: Relaxer) -> None:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(2)
        chgnet.relax([diamond()])
        assert torch.get_num_threads() == 2
        torch.set_num_threads(before)


class TestAse:
    def test_copper_in_effective_medium_theory(self) -> None:
        """EMT copper: a = 3.58 A."""
        emt = make_relaxer(RelaxationConfig(potential="ase.calculators.emt:EMT", fmax=0.01), workers=1)
        copper = face_centred(3.7, Cu=(0, 0, 0))
        [result] = relaxed(emt, copper)
        assert emt.potential == "ase.calculators.emt:EMT"
        assert result.converged
        assert result.structure.lattice.a == pytest.approx(3.58, abs=0.01)

    def test_a_calculator_that_raises_fails_one_crystal(self) -> None:
        emt = make_relaxer(RelaxationConfig(potential="tests.unit.screening_world:raising_calculator"), workers=1)
        copper, gold = metals("Cu", "Au")
        first, second, third = emt.relax([copper, gold, copper])
        assert isinstance(first, Relaxation)
        assert isinstance(third, Relaxation)
        assert isinstance(second, Failure)
        assert "no gold today" in second.reason

    def test_calculator_without_the_element_is_a_failure(self) -> None:
        emt = make_relaxer(RelaxationConfig(potential="ase.calculators.emt:EMT"), workers=1)
        [result] = emt.relax([diamond()])
        assert isinstance(result, Failure)

    def test_unknown_potential_names_itself(self) -> None:
        with pytest.raises(ConfigError, match="no_such_package:calculator"):
            make_relaxer(RelaxationConfig(potential="no_such_package:calculator"), workers=1)
        with pytest.raises(ConfigError, match="mace"):
            make_relaxer(RelaxationConfig(potential="mace"), workers=1)


def metals(*elements: str) -> list[Structure]:
    return [face_centred(3.9, **{element: (0, 0, 0)}) for element in elements]


@pytest.mark.slow
def test_a_dying_worker_costs_its_own_crystal_only() -> None:
    config = RelaxationConfig(potential="tests.unit.screening_world:deadly_calculator", max_steps=30)
    pool = make_relaxer(config, workers=2)
    try:
        results = pool.relax(metals("Cu", "Ag", "Ni", "Au", "Al", "Pd", "Pt", "Cu"))
    finally:
        pool.close()
    kinds = [result.kind if isinstance(result, Failure) else "fine" for result in results]
    assert kinds == ["fine"] * 3 + ["crashed"] + ["fine"] * 4


@pytest.mark.slow
def test_workers_agree_with_one_process() -> None:
    structures = [displaced(diamond(5.3 + 0.05 * n), 0.05, seed=n) for n in range(6)]
    config = RelaxationConfig()
    alone = relaxed(make_relaxer(config, 1), *structures)
    pool = make_relaxer(config, 2)
    try:
        first, second = relaxed(pool, *structures), relaxed(pool, *structures)
    finally:
        pool.close()
    assert [result.energy for result in first] == [result.energy for result in second]
    assert [r.energy_per_atom for r in first] == pytest.approx([r.energy_per_atom for r in alone], abs=1e-4)
