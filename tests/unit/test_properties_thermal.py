"""Heat capacities: Einstein's and Debye's limits, measurements, and no number where a vibration has no frequency."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.optimize import brentq
from tests.unit.screening_world import diamond, displaced, rocksalt

from matinvent.errors import ConfigError, Failure
from matinvent.properties.equilibrium import RestingCrystal, rest
from matinvent.properties.phonons import Vibrations, choose_supercell
from matinvent.properties.potentials import load_potential
from matinvent.properties.registry import create
from matinvent.properties.thermal import HeatCapacity, share
from matinvent.testing.evaluators import check_evaluator

GAS_CONSTANT = 8.314462618
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.615), ["Cu"], [[0, 0, 0]]).get_primitive_structure()
MAGNESIUM = Structure.from_spacegroup("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]])
SALT = rocksalt("Na", "Cl", 5.64).get_primitive_structure()


def capacity(structure: Structure, **params: float) -> float:
    (result,) = HeatCapacity(**params).evaluate([structure])
    assert not isinstance(result, Failure), result
    value = result["heat_capacity"]
    assert isinstance(value, float)
    return value


def resting(structure: Structure) -> RestingCrystal:
    (crystal,) = rest([structure], load_potential("chgnet"))
    assert isinstance(crystal, RestingCrystal)
    return crystal


def test_einstein_s_oscillator() -> None:
    # At theta/T = 1 it is 0.9207, at 5 it is 0.1707 (e.g. Kittel, ch. 5); h/k_B is 47.99 K per THz.
    frequencies = np.array([0.0, 1.0, 5.0, 1e6])
    np.testing.assert_allclose(share(frequencies, 47.9924307), [1, 0.92067, 0.17074, 0], atol=1e-5)
    assert share(np.array([-1.0]), 47.99) == share(np.array([1.0]), 47.99)


def test_hot_crystals_reach_dulong_and_petit_and_cold_ones_nothing() -> None:
    for crystal in (COPPER, SALT):
        limit = 3 * GAS_CONSTANT * len(crystal) / float(crystal.composition.weight)
        values = [capacity(crystal, temperature=t, supercell=6.0) for t in (5.0, 300.0, 3000.0)]
        assert values == sorted(values)
        assert values[0] < 0.01 * limit
        assert values[-1] == pytest.approx(limit, rel=2e-3)


def test_an_element_follows_debye_s_law() -> None:
    def debye(theta: float, temperature: float) -> float:
        x = np.linspace(1e-6, theta / temperature, 20001)
        integral = np.trapezoid(x**4 * np.exp(x) / np.expm1(x) ** 2, x)
        return float(9 * GAS_CONSTANT * (temperature / theta) ** 3 * integral / 63.546)

    found = {t: capacity(COPPER, temperature=t, supercell=6.0) for t in (50.0, 100.0, 200.0)}
    theta = brentq(lambda theta: debye(theta, 100.0) - found[100.0], 50, 1000)
    assert 0.6 * 343 < theta < 343  # measured 343 K (Kittel, ch. 5); the potential is soft
    assert found[50.0] == pytest.approx(debye(theta, 50.0), rel=0.1)
    assert found[200.0] == pytest.approx(debye(theta, 200.0), rel=0.02)


@pytest.mark.parametrize(
    ("crystal", "measured"),
    # J/(g K) at 298 K and constant pressure: CODATA Key Values (Cu, Si, Mg), NIST-JANAF (NaCl, MgO). At constant volume
    # NaCl takes up 5 % less, copper and magnesium 3 %, the others 1 % and less.
    [(COPPER, 0.385), (diamond(), 0.712), (MAGNESIUM, 1.023), (SALT, 0.864), (rocksalt("Mg", "O", 4.212), 0.921)],
    ids=["Cu", "Si", "Mg", "NaCl", "MgO"],
)
def test_near_experiment(crystal: Structure, measured: float) -> None:
    assert capacity(crystal) == pytest.approx(measured, rel=0.1)


def test_any_cell_of_a_crystal_gives_its_heat_capacity() -> None:
    single = capacity(MAGNESIUM)
    cell = MAGNESIUM.copy()
    cell.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]])
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    turned = Structure(cell.lattice.matrix @ axes, cell.species, cell.frac_coords)
    assert capacity(turned) == pytest.approx(single, rel=2e-3)
    assert capacity(displaced(SALT, 0.03, seed=1)) == pytest.approx(capacity(SALT), rel=2e-3)


def test_a_larger_supercell_changes_little() -> None:
    assert capacity(SALT, supercell=6.0) == pytest.approx(capacity(SALT, supercell=11.0), rel=0.01)


def test_frequencies_are_three_that_vanish_and_those_of_symmetry() -> None:
    crystal = resting(diamond())
    vibrations = Vibrations(crystal.primitive, choose_supercell(crystal, 8.0))
    assert vibrations.compute(load_potential("chgnet")) is None
    modes = vibrations.modes(30.0)
    centre = modes.frequencies[np.abs(modes.wave_vectors).max(axis=1) == 0][0]
    np.testing.assert_allclose(centre[:3], 0, atol=0.02)
    np.testing.assert_allclose(centre[3:], centre[3], rtol=1e-3)  # the optical mode is threefold; measured 15.5 THz
    assert 11 < centre[3] < 15.5


def test_supercells_are_wide_and_few() -> None:
    for structure, atoms in ((COPPER, 64), (SALT, 64), (MAGNESIUM, 36)):
        crystal = resting(structure)
        matrix = choose_supercell(crystal, 8.0)
        lattice = Lattice(matrix @ crystal.primitive.lattice)
        assert min(lattice.get_niggli_reduced_lattice().abc) >= 8.0 - 1e-3
        assert round(abs(np.linalg.det(matrix))) * len(crystal.primitive) <= atoms


def test_a_crystal_that_vibrations_carry_away_has_no_heat_capacity() -> None:
    (result,) = HeatCapacity().evaluate([Structure(Lattice.cubic(2.4), ["Cu"], [[0, 0, 0]])])
    assert isinstance(result, Failure)
    assert result.kind == "unstable-phonons"
    assert "i THz, at the wave vector (" in result.reason
    # Who takes such frequencies for noise must say so.
    assert HeatCapacity(tolerance=1e-6).evaluate([COPPER]) == HeatCapacity(tolerance=5.0).evaluate([COPPER])


def test_what_would_take_too_long_is_refused_with_the_limit() -> None:
    few, little = HeatCapacity(max_atoms=1), HeatCapacity(max_work=20)
    assert [r.kind for r in few.evaluate([SALT]) if isinstance(r, Failure)] == ["too-large"]
    (result,) = little.evaluate([SALT])
    assert isinstance(result, Failure)
    assert result.kind == "too-large"
    assert "the limit is 20 (max_work)" in result.reason


def test_what_cannot_be_evaluated_fails_alone_and_says_why() -> None:
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    unknown = Structure(Lattice.cubic(3.4), ["Lr"], [[0, 0, 0]])
    sparse = Structure(Lattice.cubic(20), ["Na"], [[0, 0, 0]])
    broken = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0.5, 0.5]])
    results = HeatCapacity().evaluate([disordered, diamond(), unknown, sparse, broken])
    kinds = [result.kind if isinstance(result, Failure) else "" for result in results]
    assert kinds == ["disordered", "", "unknown-element", "isolated-atom", "not-finite"]


def test_keeps_the_contract_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        check_evaluator(HeatCapacity(supercell=6.0), [diamond(), COPPER])
    assert capsys.readouterr().out == ""


def test_parameters_are_checked_and_kept() -> None:
    evaluator = create("heat_capacity", {"temperature": 77.0})
    assert evaluator.params["temperature"] == 77.0
    assert evaluator.params["potential"] == "chgnet-0.3.0"
    assert pickle.loads(pickle.dumps(evaluator)).params == evaluator.params
    for wrong in ({"temperature": 0}, {"supercell": -1.0}, {"temperature": float("nan")}):
        with pytest.raises(ConfigError, match="positive number"):
            create("heat_capacity", wrong)
    with pytest.raises(ConfigError, match="did you mean 'chgnet"):
        create("heat_capacity", {"potential": "chgnett"})
