"""Batched CHGNet: equal to the package, consistent with its own gradients, robust per crystal."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import diamond, displaced, rocksalt

from matinvent.errors import Failure
from matinvent.screening.batched_relaxer import BatchedRelaxer
from matinvent.screening.chgnet import ChgnetEvaluator, Description, Graph
from matinvent.screening.neighbors import Crystal
from matinvent.screening.potential import Evaluation
from matinvent.screening.relaxation import Relaxation

OXIDE = displaced(
    Structure(
        Lattice.cubic(3.95),
        ["Sr", "Ti", "O", "O", "O"],
        [[0, 0, 0], [0.5] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]],
    ),
    0.1,
    seed=3,
)

CORNER_CASES = {
    "no bond short enough for an angle": Structure(Lattice.cubic(3.6), ["Cs"], [[0, 0, 0]]),
    "one atom, bound to its images": Structure(Lattice(1.8 * (1 - np.eye(3))), ["Cu"], [[0, 0, 0]]),
    "one angle, straight": Structure(Lattice.orthorhombic(2.8, 4.5, 4.5), ["Na"], [[0, 0, 0]]),
    "crowded, without symmetry": displaced(
        Structure(Lattice.from_parameters(5.6, 6.1, 6.6, 80, 95, 105), ["Fe", "O", "H", "U"] * 2,
                  np.random.default_rng(5).permutation(8)[:, None] / 8 + [0, 0.375, 0.625]), 0.2, seed=4,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def loaded() -> tuple[ChgnetEvaluator, str]:
    """The potential and what was printed while it was loaded."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return ChgnetEvaluator(), said.getvalue()


@pytest.fixture(scope="module")
def chgnet(loaded: tuple[ChgnetEvaluator, str]) -> ChgnetEvaluator:
    return loaded[0]


def crystal(structure: Structure) -> Crystal:
    return Crystal.from_structure(structure)


def evaluated(potential: ChgnetEvaluator, *crystals: Crystal) -> list[Evaluation]:
    results = potential.evaluate(crystals)
    assert all(isinstance(result, Evaluation) for result in results)
    return [result for result in results if isinstance(result, Evaluation)]


def test_loading_says_nothing(loaded: tuple[ChgnetEvaluator, str]) -> None:
    assert loaded[1] == ""


def test_equals_the_package(chgnet: ChgnetEvaluator) -> None:
    from chgnet.model import CHGNet

    with contextlib.redirect_stdout(io.StringIO()):
        package = CHGNet.load(use_device="cpu", verbose=False)
    structures = [OXIDE, diamond(5.6), rocksalt(), *CORNER_CASES.values()]
    for structure, ours in zip(structures, evaluated(chgnet, *map(crystal, structures)), strict=True):
        theirs = package.predict_structure(structure)
        assert ours.energy / len(structure) == pytest.approx(float(theirs["e"]), abs=2e-6)
        assert ours.forces == pytest.approx(theirs["f"], abs=2e-4)
        assert ours.stress * 160.21766 == pytest.approx(theirs["s"], abs=5e-3)


@pytest.mark.parametrize("name", CORNER_CASES)
def test_company_does_not_matter(chgnet: ChgnetEvaluator, name: str) -> None:
    structure = CORNER_CASES[name]
    [alone] = evaluated(chgnet, crystal(structure))
    together = evaluated(chgnet, crystal(OXIDE), crystal(structure), crystal(rocksalt()))[1]
    assert together.energy / len(structure) == pytest.approx(alone.energy / len(structure), abs=1e-6)
    assert together.forces == pytest.approx(alone.forces, abs=1e-4)
    assert together.stress == pytest.approx(alone.stress, abs=1e-6)


def test_stress_is_symmetric_and_falls_off_with_expansion(chgnet: ChgnetEvaluator) -> None:
    dense, loose = evaluated(chgnet, crystal(diamond(5.0)), crystal(diamond(6.0)))
    assert np.trace(dense.stress) < 0 < np.trace(loose.stress)
    [sheared] = evaluated(chgnet, crystal(CORNER_CASES["crowded, without symmetry"]))
    assert np.abs(sheared.stress).max() > 0.01
    assert np.array_equal(sheared.stress, sheared.stress.T)


def test_forces_and_stress_turn_with_the_crystal(chgnet: ChgnetEvaluator) -> None:
    start = crystal(OXIDE)
    turn, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    here, turned = evaluated(chgnet, start, Crystal(start.numbers, start.lattice @ turn, start.frac))
    assert turned.energy == pytest.approx(here.energy, abs=1e-5)
    assert turned.forces == pytest.approx(here.forces @ turn, abs=1e-4)
    assert turned.stress == pytest.approx(turn.T @ here.stress @ turn, abs=1e-6)


def test_forces_and_stress_are_the_gradient_of_the_energy(chgnet: ChgnetEvaluator) -> None:
    start = crystal(OXIDE)
    [here] = evaluated(chgnet, start)
    step = 5e-3  # the energy is single precision
    moved = []
    for sign in (1, -1):
        shift = np.zeros((5, 3))
        shift[3, 1] = sign * step
        moved.append(Crystal(start.numbers, start.lattice, start.frac + shift @ np.linalg.inv(start.lattice)))
        strain = np.zeros((3, 3))
        strain[0, 2] = strain[2, 0] = sign * step / 2
        moved.append(Crystal(start.numbers, start.lattice @ (np.eye(3) + strain), start.frac))
    forward, sheared, backward, unsheared = evaluated(chgnet, *moved)
    assert here.forces[3, 1] == pytest.approx((backward.energy - forward.energy) / (2 * step), abs=0.02)
    slope = (sheared.energy - unsheared.energy) / (2 * step)
    assert here.stress[0, 2] * start.volume == pytest.approx(slope, abs=0.05)


def test_symmetry_forbids_forces_and_momentum_is_conserved(chgnet: ChgnetEvaluator) -> None:
    perfect, crooked = evaluated(chgnet, crystal(diamond(5.6)), crystal(OXIDE))
    assert np.abs(perfect.forces).max() < 1e-4
    assert perfect.stress == pytest.approx(np.eye(3) * np.trace(perfect.stress) / 3, abs=1e-5)
    assert np.abs(crooked.forces).max() > 0.1
    assert np.abs(crooked.forces.sum(axis=0)).max() < 1e-4


def test_energy_is_extensive_and_ignores_the_choice_of_cell(chgnet: ChgnetEvaluator) -> None:
    doubled = OXIDE.copy()
    doubled.make_supercell([[1, 1, 0], [-1, 1, 0], [0, 0, 1]])
    single, double = evaluated(chgnet, crystal(OXIDE), crystal(doubled))
    assert double.energy == pytest.approx(2 * single.energy, abs=1e-4)


UNTREATABLE = {
    "not-finite": Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0.5, 0.5]]),
    "isolated-atom": Structure(Lattice.cubic(15), ["Na"], [[0, 0, 0]]),
    "unknown-element": Structure(Lattice.cubic(3.4), ["Lr"], [[0, 0, 0]]),
    "flat-cell": Structure(Lattice.orthorhombic(9, 9, 0.1), ["Na"], [[0, 0, 0]]),
    "too-dense": Structure(Lattice.cubic(1.05), ["H"], [[0, 0, 0]]),
}


@pytest.mark.parametrize("kind", UNTREATABLE)
def test_one_bad_crystal_fails_alone(chgnet: ChgnetEvaluator, kind: str) -> None:
    [alone] = evaluated(chgnet, crystal(OXIDE))
    before, bad, after = chgnet.evaluate([crystal(OXIDE), crystal(UNTREATABLE[kind]), crystal(OXIDE)])
    assert isinstance(bad, Failure)
    assert bad.kind == kind
    for result in (before, after):
        assert isinstance(result, Evaluation)
        assert result.energy == pytest.approx(alone.energy, abs=1e-5)


def test_coincident_atoms_do_not_poison_the_batch(chgnet: ChgnetEvaluator) -> None:
    clash = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0]])
    bad, good = chgnet.evaluate([crystal(clash), crystal(OXIDE)])
    assert isinstance(bad, Failure)
    assert isinstance(good, Evaluation)


def test_a_batch_that_raises_is_split_down_to_the_culprit(
    chgnet: ChgnetEvaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = chgnet._network

    class Choosy:
        def evaluate(self, graph: Graph) -> tuple[np.ndarray, np.ndarray]:
            if (graph.numbers == 14).any():
                raise RuntimeError("silicon is out")
            return network.evaluate(graph)

    monkeypatch.setattr(chgnet, "_network", Choosy())
    results = chgnet.evaluate([crystal(OXIDE), crystal(diamond()), crystal(rocksalt()), crystal(OXIDE)])
    assert [isinstance(result, Failure) for result in results] == [False, True, False, False]
    assert "silicon is out" in str(results[1])


def test_relaxation_takes_the_path_of_ase(chgnet: ChgnetEvaluator) -> None:
    """FIRE with FrechetCellFilter and the package's calculator: energy and cell after the same steps."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE
    from chgnet.model.dynamics import CHGNetCalculator
    from pymatgen.io.ase import AseAtomsAdaptor

    start = OXIDE.copy()
    start.apply_strain([0.08, -0.04, 0.02])
    relaxer = BatchedRelaxer(chgnet, fmax=1e-6, max_steps=20, batch_atoms=100, max_volume_ratio=3.0)
    [before] = evaluated(chgnet, crystal(start))
    [ours] = relaxer.relax([start])
    with contextlib.redirect_stdout(io.StringIO()):
        atoms = AseAtomsAdaptor.get_atoms(start, msonable=False)
        atoms.calc = CHGNetCalculator(use_device="cpu")
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-6, steps=20)
    assert isinstance(ours, Relaxation)
    assert ours.energy < before.energy - 0.1
    assert ours.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-3)
    assert ours.structure.lattice.matrix == pytest.approx(np.array(atoms.cell), abs=1e-3)


def test_empty_batch(chgnet: ChgnetEvaluator) -> None:
    assert chgnet.evaluate([]) == []


class TestDescription:
    @pytest.mark.parametrize("structure", [rocksalt("Fe", "O", 4.3), OXIDE, CORNER_CASES["crowded, without symmetry"]])
    def test_equals_the_package(self, chgnet: ChgnetEvaluator, structure: Structure) -> None:
        from chgnet.model import CHGNet

        with contextlib.redirect_stdout(io.StringIO()):
            package = CHGNet.load(model_name="0.3.0", use_device="cpu", verbose=False)
        theirs = package.predict_structure(structure, task="em", return_crystal_feas=True)
        (ours,) = chgnet.describe([crystal(structure)])
        assert isinstance(ours, Description)
        assert ours.energy / len(structure) == pytest.approx(float(theirs["e"]), abs=1e-5)
        np.testing.assert_allclose(ours.moments, theirs["m"], atol=1e-4)
        np.testing.assert_allclose(ours.features[:, 64:].sum(axis=0), theirs["crystal_fea"], rtol=1e-3, atol=1e-3)

    def test_atoms_keep_their_order_and_crystals_their_places(self, chgnet: ChgnetEvaluator) -> None:
        hermit = Structure(Lattice.cubic(20), ["Na"], [[0, 0, 0]])
        results = chgnet.describe([crystal(OXIDE), crystal(hermit), crystal(diamond())])
        assert isinstance(results[1], Failure)
        assert results[1].kind == "isolated-atom"
        (alone,) = chgnet.describe([crystal(OXIDE)])
        assert isinstance(alone, Description)
        shuffled = [4, 2, 0, 3, 1]
        (turned,) = chgnet.describe([crystal(Structure.from_sites([OXIDE[i] for i in shuffled]))])
        assert isinstance(turned, Description)
        np.testing.assert_allclose(turned.features, alone.features[shuffled], rtol=1e-3, atol=1e-4)
        assert isinstance(results[0], Description)
        np.testing.assert_allclose(results[0].features, alone.features, rtol=1e-3, atol=1e-4)
        assert isinstance(results[2], Description)
        assert results[2].features.shape == (2, 128)

    def test_nothing_to_describe(self, chgnet: ChgnetEvaluator) -> None:
        assert chgnet.describe([]) == []
