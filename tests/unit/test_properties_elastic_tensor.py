"""Elastic moduli: exact where known on paper, the same for any cell of a crystal, and never of an unstable one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import LennardJones, diamond, displaced, rocksalt

from matinvent.errors import ConfigError, Failure
from matinvent.properties import elastic_tensor as module
from matinvent.properties.elastic_tensor import ElasticModuli, average, elastic_tensor
from matinvent.properties.elasticity import BulkModulus
from matinvent.properties.equation_of_state import GPA
from matinvent.properties.equilibrium import RestingCrystal, rest
from matinvent.properties.potentials import load_potential
from matinvent.properties.registry import create
from matinvent.screening.potential import Evaluation
from matinvent.testing.evaluators import check_evaluator

COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]]).get_primitive_structure()
TITANIUM = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(2.951, 4.684), ["Ti"], [[1 / 3, 2 / 3, 0.25]])
MAGNESIA = rocksalt("Mg", "O", 4.212).get_primitive_structure()


def moduli(structure: Structure) -> dict[str, float]:
    (result,) = ElasticModuli().evaluate([structure])
    assert not isinstance(result, Failure), result
    return {name: float(value) for name, value in result.items() if not isinstance(value, Failure)}


def cubic(c11: float, c12: float, c44: float) -> np.ndarray:
    tensor = np.diag([c11 - c12] * 3 + [c44] * 3)
    tensor[:3, :3] += c12
    return tensor


def test_averages_of_known_tensors() -> None:
    # Simmons and Wang (1971) list for copper, from its single-crystal constants: K 137.1, G 47.3 GPa.
    copper = average(cubic(168.4, 121.4, 75.4))
    assert not isinstance(copper, Failure)
    assert copper["bulk_modulus_vrh"] == pytest.approx(137.1, abs=0.1)
    assert copper["shear_modulus"] == pytest.approx(47.3, abs=0.3)
    # Isotropic tungsten: every average is the same, E = 2 G (1 + nu).
    isotropic = average(cubic(500, 200, 150))
    assert not isinstance(isotropic, Failure)
    assert isotropic["shear_modulus"] == pytest.approx(150)
    assert isotropic["pugh_ratio"] == pytest.approx(2)
    assert isotropic["young_modulus"] == pytest.approx(2 * 150 * (1 + isotropic["poisson_ratio"]))
    assert isotropic["poisson_ratio"] == pytest.approx((3 * 300 - 2 * 150) / (6 * 300 + 2 * 150))


@pytest.mark.parametrize("unstable", [(100, 120, 50), (100, 50, -1), (100, -60, 50), (100, 100, 50)])
def test_what_a_strain_carries_away_has_no_moduli(unstable: tuple[float, float, float]) -> None:
    result = average(cubic(*unstable))
    assert isinstance(result, Failure)
    assert result.kind == "unstable"


class SoftLennardJones(LennardJones):
    """Epsilon 0.01 eV, sigma 1 A."""

    def evaluate(self, crystals):
        return [
            o if isinstance(o, Failure) else Evaluation(0.01 * o.energy, 0.01 * o.forces, 0.01 * o.stress)
            for o in super().evaluate(crystals)
        ]


def test_argon_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ashcroft and Mermin, ch. 20: B = 4 eps/sigma^3 A12 (A6/A12)^(5/2). Central forces on inversion centres obey
    # Cauchy's relation C12 = C44 at zero stress.
    monkeypatch.setattr(module, "_STRAINS", (-0.002, 0.002))
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(1.5418), ["Ar"], [[0, 0, 0]])
    (crystal,) = rest([structure], SoftLennardJones())
    assert isinstance(crystal, RestingCrystal)
    tensor = elastic_tensor(crystal.primitive, SoftLennardJones())
    assert not isinstance(tensor, Failure)
    bulk = 0.04 * 12.13 * (14.45 / 12.13) ** 2.5 * GPA
    result = average(tensor)
    assert not isinstance(result, Failure)
    assert result["bulk_modulus_vrh"] == pytest.approx(bulk, rel=0.02)
    np.testing.assert_allclose(tensor[:3, :3][~np.eye(3, dtype=bool)], tensor[3, 3], rtol=0.02)
    np.testing.assert_allclose(tensor[3:, :3], 0, atol=0.1)
    assert tensor[0, 0] == pytest.approx(3 * result["bulk_modulus_vrh"] - 2 * tensor[3, 3], rel=0.01)


@pytest.mark.slow
def test_giving_way_equals_relaxing_the_strained_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    # Silicon's C44 is mostly decided by its two atoms' shift against each other.
    monkeypatch.setattr(module, "_STRAINS", (-0.015, 0.015))
    potential = load_potential("chgnet")
    (crystal,) = rest([diamond()], potential)
    assert isinstance(crystal, RestingCrystal)
    response = elastic_tensor(crystal.primitive, potential)
    assert not isinstance(response, Failure)
    relaxed = _by_relaxation(crystal)
    np.testing.assert_allclose(response, relaxed, atol=0.06 * relaxed.max())


def _by_relaxation(crystal: RestingCrystal) -> np.ndarray:
    """Elastic tensor from stresses of strained cells whose atoms are relaxed by ASE, as others do it."""
    from ase import Atoms
    from ase.optimize import BFGS
    from chgnet.model import CHGNetCalculator

    cell, stresses = crystal.primitive, np.zeros((6, 6))
    calculator = CHGNetCalculator(use_device="cpu", verbose=False)
    for kind, pair in enumerate(module._VOIGT):
        for size in (-0.015, 0.015):
            strain = np.zeros((3, 3))
            strain[pair] += size / 2
            strain[pair[::-1]] += size / 2
            atoms = Atoms(cell.numbers, cell=cell.lattice @ (np.eye(3) + strain), scaled_positions=cell.frac, pbc=True)
            atoms.calc = calculator
            BFGS(atoms, logfile=None).run(fmax=0.002, steps=100)
            stresses[:, kind] += atoms.get_stress() / (2 * size) * GPA
    return (stresses + stresses.T) / 2


def test_any_cell_of_a_crystal_gives_its_moduli() -> None:
    single = moduli(TITANIUM)
    turned = TITANIUM.copy()
    turned.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Structure(turned.lattice.matrix @ axes, turned.species, turned.frac_coords)
    assert moduli(turned) == pytest.approx(single, rel=0.02)
    assert moduli(MAGNESIA) == pytest.approx(moduli(rocksalt("Mg", "O", 4.212)), rel=0.01)


def test_the_bulk_modulus_is_that_of_the_equation_of_state() -> None:
    for crystal in (MAGNESIA, diamond(), TITANIUM):
        (other,) = BulkModulus().evaluate([crystal])
        assert not isinstance(other, Failure)
        assert moduli(crystal)["bulk_modulus_vrh"] == pytest.approx(other["bulk_modulus"], rel=0.15)


@pytest.mark.slow
def test_the_order_of_hardness_is_right_and_chgnet_too_soft() -> None:
    # Measured: diamond 535, MgO 130, Si 66.6, copper 47 GPa (constants as in benchmarks/elastic_moduli.py).
    carbon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]]).get_primitive_structure()
    found = [moduli(crystal)["shear_modulus"] for crystal in (carbon, MAGNESIA, diamond(), COPPER)]
    assert found == sorted(found, reverse=True)
    for ours, measured in zip(found, (535, 130, 66.6, 47.3), strict=True):
        assert 0.4 * measured < ours < 0.9 * measured
    assert moduli(COPPER)["pugh_ratio"] > 1.75 > moduli(carbon)["pugh_ratio"]


def test_a_crystal_on_a_saddle_point_has_no_moduli() -> None:
    # Simple cubic copper slides into a denser packing under any shear.
    (result,) = ElasticModuli().evaluate([Structure(Lattice.cubic(2.4), ["Cu"], [[0, 0, 0]])])
    assert isinstance(result, Failure)
    assert result.kind == "unstable"


def test_what_cannot_be_evaluated_fails_alone_and_says_why() -> None:
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    unknown = Structure(Lattice.cubic(3.4), ["Lr"], [[0, 0, 0]])
    sparse = Structure(Lattice.cubic(20), ["Na"], [[0, 0, 0]])
    broken = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0.5, 0.5]])
    results = ElasticModuli().evaluate([disordered, diamond(), unknown, sparse, broken])
    kinds = [result.kind if isinstance(result, Failure) else "" for result in results]
    assert kinds == ["disordered", "", "unknown-element", "isolated-atom", "not-finite"]


def test_keeps_the_contract() -> None:
    check_evaluator(ElasticModuli(), [displaced(diamond(), 0.02, seed=0), COPPER])


def test_all_five_come_from_one_calculation_and_name_their_potential() -> None:
    evaluator = create("pugh_ratio", {})
    assert evaluator.params == {"potential": "chgnet-0.3.0"}
    assert pickle.loads(pickle.dumps(evaluator)).params == evaluator.params
    assert {type(create(info.name, {})) for info in evaluator.properties} == {ElasticModuli}
    with pytest.raises(ConfigError, match="did you mean 'chgnet"):
        create("shear_modulus", {"potential": "chgnett"})
