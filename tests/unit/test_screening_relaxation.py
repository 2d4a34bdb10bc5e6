"""Relaxation: known minima, honest reports, order, determinism, and crystals that go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import LennardJones, diamond, displaced, face_centred

from matinvent.config_screening import RelaxationConfig
from matinvent.errors import ConfigError, Failure, MissingDependencyError
from matinvent.screening import potential
from matinvent.screening.batched_relaxer import BatchedRelaxer
from matinvent.screening.pooled_relaxer import PooledRelaxer, choose_device, make_groups
from matinvent.screening.potential import energy_scale, make_calculator
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


EMT = "ase.calculators.emt:EMT"


def distorted_metals() -> list[Structure]:
    """Six crystals, far from their minima; number 1 is disordered, number 4 has more than 20 atoms."""
    crystals = [displaced(metal, 0.2, seed=n) for n, metal in enumerate(metals("Cu", "Ag", "Ni", "Au", "Al", "Pd"))]
    crystals[1] = Structure(Lattice.cubic(3), [{"Cu": 0.5, "Ag": 0.5}], [[0, 0, 0]])
    crystals[4].make_supercell([2, 2, 2])
    return crystals


def distorted_argon() -> list[Structure]:
    """The same with what the test potential knows."""
    crystals = [displaced(face_centred(1.5 + 0.02 * n, Ar=(0, 0, 0)), 0.1, seed=n) for n in range(6)]
    crystals[1] = Structure(Lattice.cubic(3), [{"Ar": 0.5, "Kr": 0.5}], [[0, 0, 0]])
    crystals[4].make_supercell([2, 2, 2])
    return crystals


@pytest.mark.parametrize("kind", ["batched", "ase", pytest.param("pooled", marks=pytest.mark.slow)], scope="class")
class TestContract:
    """What every relaxer promises."""

    @pytest.fixture(scope="class")
    def relaxer(self, kind: str) -> Iterator[Relaxer]:
        config = RelaxationConfig(potential=EMT, fmax=0.01, max_steps=200, max_atoms=20)
        made: Relaxer = (
            BatchedRelaxer(LennardJones(), fmax=0.01, max_steps=200, batch_atoms=12, max_volume_ratio=3.0, max_atoms=20)
            if kind == "batched"
            else make_relaxer(config, {"ase": 1, "pooled": 2}[kind])
        )
        yield made
        made.close()

    @pytest.fixture(scope="class")
    def crystals(self, kind: str) -> list[Structure]:
        return distorted_argon() if kind == "batched" else distorted_metals()

    @pytest.fixture(scope="class")
    def told(self, kind: str) -> list[tuple[int, Relaxation | Failure]]:
        return []

    @pytest.fixture(scope="class")
    def full(self, relaxer: Relaxer, crystals: list[Structure], told: list) -> list[Relaxation | Failure]:
        return relaxer.relax(crystals, on_result=lambda index, result: told.append((index, result)))

    def test_results_have_the_order_of_the_input(self, crystals: list[Structure], full: list) -> None:
        assert len(full) == len(crystals)
        for crystal, result in zip(crystals, full, strict=True):
            if isinstance(result, Relaxation):
                assert result.structure.composition == crystal.composition
                assert result.converged
                assert result.max_force <= 0.01
        assert [n for n, result in enumerate(full) if isinstance(result, Failure)] == [1, 4]

    def test_faults_say_what_is_wrong(self, full: list) -> None:
        assert full[1].kind == "disordered"
        assert full[4].kind == "too-large"
        assert "32 atoms" in full[4].reason
        assert "20 (screening.relaxation.max_atoms)" in full[4].reason

    def test_the_end_is_a_minimum(self, relaxer: Relaxer, full: list) -> None:
        again = relaxer.relax([full[0].structure])[0]
        assert isinstance(again, Relaxation)
        assert again.steps <= 2  # ASE measures the virial relative to where it starts
        assert again.energy == pytest.approx(full[0].energy, abs=1e-5)

    def test_each_result_is_told_once(self, full: list, told: list) -> None:
        assert sorted(index for index, _ in told) == list(range(len(full)))
        assert all(full[index] is result for index, result in told)

    def test_without_ceilings_nobody_is_given_up(self, relaxer: Relaxer, crystals: list[Structure], full: list) -> None:
        nobody = relaxer.relax(crystals[:1], ceilings=[None])
        assert not any(result.given_up for result in (*full, *nobody) if isinstance(result, Relaxation))

    def test_a_ceiling_far_below_is_given_up(self, relaxer: Relaxer, crystals: list[Structure], full: list) -> None:
        dropped = relaxer.relax(crystals, ceilings=[-1000.0] * len(crystals))
        assert [type(result) for result in dropped] == [type(result) for result in full]
        for early, late in zip(dropped, full, strict=True):
            if isinstance(early, Relaxation):
                assert early.given_up
                assert not early.converged
                assert early.energy > late.energy
                assert early.steps < late.steps

    def test_one_ceiling_each(self, relaxer: Relaxer, crystals: list[Structure]) -> None:
        with pytest.raises(ValueError, match="6 crystals but 2 ceilings"):
            relaxer.relax(crystals, ceilings=[0.0, 0.0])

    def test_nothing_to_relax(self, relaxer: Relaxer) -> None:
        assert relaxer.relax([]) == []


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


def test_energy_does_not_depend_on_how_the_crystal_is_written() -> None:
    crystal = displaced(argon(1.15, repeat=3), 0.06, seed=4)
    reference, *others = relaxed(relaxer(), crystal, rotated(crystal), permuted(crystal), doubled(crystal))
    for other in others:
        assert other.converged
        assert other.energy_per_atom == pytest.approx(reference.energy_per_atom, abs=1e-5)
        volumes = [result.structure.volume / len(result.structure) for result in (other, reference)]
        assert volumes[0] == pytest.approx(volumes[1], rel=1e-3)


def rotated(crystal: Structure) -> Structure:
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    return Structure(Lattice(crystal.lattice.matrix @ turn), crystal.species, crystal.frac_coords)


def permuted(crystal: Structure) -> Structure:
    return Structure.from_sites(list(crystal)[::-1])


def doubled(crystal: Structure) -> Structure:
    copy = crystal.copy()
    copy.make_supercell([1, 2, 1])
    return copy


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


def test_giving_up_can_be_switched_off() -> None:
    patient = relaxer(give_up=False)
    [result] = patient.relax([displaced(argon(1.1, repeat=3), 0.08, seed=2)], ceilings=[-1000.0])
    assert isinstance(result, Relaxation)
    assert result.converged
    assert not result.given_up


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

    def test_symmetry_survives(self, chgnet: Relaxer) -> None:
        """Forces of a diamond crystal vanish and its stress is isotropic: only the lattice constant can change."""
        [result] = relaxed(chgnet, diamond(5.7))
        assert result.structure.lattice.angles == pytest.approx([60] * 3, abs=1e-3)
        assert np.ptp(result.structure.lattice.abc) < 1e-4
        assert result.rmsd == pytest.approx(0, abs=1e-4)

    def test_sheared_cell_written_in_another_frame(self, chgnet: Relaxer) -> None:
        strain = np.eye(3) + 0.04 * np.array([[0, 1, 0], [1, 0, 0.5], [0, 0.5, 0]])
        sheared = Structure(Lattice(diamond().lattice.matrix @ strain), ["Si", "Si"], diamond().frac_coords)
        first, second, third = relaxed(chgnet, sheared, rotated(sheared), doubled(sheared))
        assert second.energy_per_atom == pytest.approx(first.energy_per_atom, abs=1e-4)
        assert third.energy_per_atom == pytest.approx(first.energy_per_atom, abs=1e-3)
        assert first.structure.lattice.angles == pytest.approx([60] * 3, abs=1.0)

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


def no_calculator() -> object:
    return {"energy": 0.0}


def class_of_calculators() -> type:
    from ase.calculators.emt import EMT

    return EMT


def broken_factory() -> Any:
    raise FileNotFoundError("weights.pt")


class TestPotentials:
    """Potentials by name."""

    @pytest.mark.parametrize("name", ["no_such_package:calculator", "ase.calculators.emt:NoSuch", "chgent", "sevenet"])
    def test_unknown_potential_names_itself(self, name: str) -> None:
        with pytest.raises(ConfigError, match=name):
            make_relaxer(RelaxationConfig(potential=name), workers=1)

    def test_unknown_name_is_told_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match=r"chgnet, mace, .*sevennet.*module:function"):
            energy_scale("uff")
        with pytest.raises(ConfigError, match="did you mean 'sevennet"):
            energy_scale("sevenet")

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("no_calculator", "dict is no ASE calculator, it lacks get_potential_energy"),
            ("class_of_calculators", "the class EMT"),
            ("broken_factory", "FileNotFoundError: weights.pt"),
        ],
    )
    def test_nonsense_is_refused_at_the_start(self, name: str, reason: str) -> None:
        with pytest.raises(ConfigError, match=reason) as error:
            make_relaxer(RelaxationConfig(potential=f"{__name__}:{name}"), workers=1)
        assert name in str(error.value)

    def test_calculator_without_stress_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="TIP3P does not compute stress"):
            make_relaxer(RelaxationConfig(potential="ase.calculators.tip3p:TIP3P"), workers=1)

    @pytest.mark.slow
    def test_workers_refuse_nonsense_at_the_start(self) -> None:
        with pytest.raises(ConfigError, match="TIP3P does not compute stress"):
            make_relaxer(RelaxationConfig(potential="ase.calculators.tip3p:TIP3P"), workers=2)

    def test_missing_package_names_its_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(potential, "find_spec", lambda name: None)
        with pytest.raises(MissingDependencyError, match=r"sevenn.*matinvent\[sevennet\]"):
            make_calculator("sevennet", "cpu")
        with pytest.raises(MissingDependencyError, match=r"mace-torch.*matinvent\[mace\]"):
            make_calculator("mace", "cpu")
        with pytest.raises(MissingDependencyError):
            make_relaxer(RelaxationConfig(potential="mace"), workers=2)

    def test_energy_scales_are_known_without_loading(self) -> None:
        names = ["chgnet", "sevennet", "mace", "my.module:calculator"]
        scales = ["chgnet-0.3.0", "sevennet-0", "mace-mpa-0-medium", "my.module:calculator"]
        assert [energy_scale(name) for name in names] == scales

    def test_plug_ins_are_found_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        point = SimpleNamespace(name="effective-medium", value=EMT)
        monkeypatch.setattr(potential, "entry_points", lambda group: [point] if group == "matinvent.potentials" else [])
        emt = make_relaxer(RelaxationConfig(potential="effective-medium", fmax=0.01), workers=1)
        assert emt.potential == "effective-medium"
        [result] = relaxed(emt, face_centred(3.7, Cu=(0, 0, 0)))
        assert result.structure.lattice.a == pytest.approx(3.58, abs=0.01)

    @pytest.mark.slow
    def test_sevennet_silicon(self) -> None:
        """SevenNet-0 was trained on PBE, too (5.47 A)."""
        pytest.importorskip("sevenn")
        sevennet = make_relaxer(RelaxationConfig(potential="sevennet", device="cpu", fmax=0.02), workers=1)
        [result] = relaxed(sevennet, diamond(5.6))
        assert result.converged
        assert (4 * result.structure.volume) ** (1 / 3) == pytest.approx(5.45, abs=0.06)


class TestDevice:
    def test_a_missing_gpu_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        with pytest.raises(ConfigError, match=r"screening.relaxation.device.*no GPU"):
            make_relaxer(RelaxationConfig(device="cuda"), workers=2)
        assert choose_device(RelaxationConfig()) == "cpu"

    def test_a_gpu_is_taken_when_there_is_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        assert choose_device(RelaxationConfig()) == "cuda"
        assert choose_device(RelaxationConfig(device="cpu")) == "cpu"

    def test_one_process_serves_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        relaxer = make_relaxer(RelaxationConfig(potential=EMT), workers=4)
        assert not isinstance(relaxer, PooledRelaxer)

    @pytest.mark.gpu
    def test_gpu_and_cpu_agree(self) -> None:
        structures = [displaced(diamond(5.3 + 0.05 * n), 0.05, seed=n) for n in range(6)]
        here, there = (
            relaxed(make_relaxer(RelaxationConfig(device=device), 1), *structures) for device in ("cpu", "cuda")
        )
        assert [r.energy_per_atom for r in there] == pytest.approx([r.energy_per_atom for r in here], abs=1e-3)


class TestGroups:
    @given(st.lists(st.integers(1, 200), max_size=80), st.integers(1, 16))
    def test_every_crystal_is_in_one_group(self, sizes: list[int], workers: int) -> None:
        groups = make_groups(sizes, workers)
        assert sorted(index for group in groups for index in group) == list(range(len(sizes)))
        assert all(groups)
        assert groups == make_groups(sizes, workers)

    @given(st.lists(st.integers(1, 20), min_size=1, max_size=80), st.integers(1, 16))
    def test_large_crystals_first_and_no_group_is_more_than_a_batch(self, sizes: list[int], workers: int) -> None:
        order = [sizes[index] for group in make_groups(sizes, workers) for index in group]
        assert order == sorted(order, reverse=True)
        assert all(sum(sizes[index] for index in group) <= 160 for group in make_groups(sizes, workers))

    def test_two_workers_end_together(self) -> None:
        """A task goes to whoever is free; the work of a crystal is its atoms times an unknown number of steps."""
        rng = np.random.default_rng(0)
        for _ in range(20):
            sizes = list(rng.integers(1, 21, 64))
            work = [int(size * rng.geometric(1 / 30)) for size in sizes]
            ends = [0, 0]
            for group in make_groups(sizes, 2):
                ends[int(np.argmin(ends))] += sum(work[index] for index in group)
            assert max(ends) < 0.56 * sum(work)

    def test_few_crystals_are_shared_among_many_workers(self) -> None:
        assert len(make_groups([8] * 16, 16)) == 16


def metals(*elements: str) -> list[Structure]:
    return [face_centred(3.9, **{element: (0, 0, 0)}) for element in elements]


@pytest.mark.slow
def test_a_dying_worker_costs_its_own_crystal_only() -> None:
    config = RelaxationConfig(potential="tests.unit.screening_world:deadly_calculator", max_steps=30)
    pool = make_relaxer(config, workers=2)
    told: list[int] = []
    try:
        results = pool.relax(
            metals("Cu", "Ag", "Ni", "Au", "Al", "Pd", "Pt", "Cu"), on_result=lambda index, _: told.append(index)
        )
    finally:
        pool.close()
    assert sorted(told) == list(range(8))
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
