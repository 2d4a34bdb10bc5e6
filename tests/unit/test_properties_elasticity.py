"""The bulk modulus: exact where it is known on paper, near experiment, and never a number out of nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import LennardJones, diamond, displaced, rocksalt

import matinvent.properties.elasticity as elasticity
from matinvent.errors import Failure
from matinvent.properties.elasticity import BulkModulus
from matinvent.properties.equation_of_state import GPA
from matinvent.properties.registry import create
from matinvent.screening.potential import Evaluation


def build(spacegroup: str, lattice: Lattice, species: list[str], coords: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(spacegroup, lattice, species, coords).get_primitive_structure()


def cubic(spacegroup: str, a: float, element: str) -> Structure:
    return build(spacegroup, Lattice.cubic(a), [element], [[0, 0, 0]])


def salt(a: float, *elements: str) -> Structure:
    return build("Fm-3m", Lattice.cubic(a), list(elements), [[0, 0, 0], [0.5, 0.5, 0.5]])


def modulus(structure: Structure, **params: bool) -> float:
    (result,) = BulkModulus(**params).evaluate([structure])
    assert not isinstance(result, Failure), result
    return result["bulk_modulus"]


TITANIUM = build("P6_3/mmc", Lattice.hexagonal(2.951, 4.684), ["Ti"], [[1 / 3, 2 / 3, 0.25]])
GRAPHITE = build("P6_3/mmc", Lattice.hexagonal(2.464, 6.711), ["C", "C"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.25]])

# Lattice parameters at room temperature; moduli in GPa: elements from Kittel, Introduction to Solid State Physics (8th
# ed., ch. 3, table 3); MgO and NaCl from Speziale et al., J. Geophys. Res. 106, 515 (2001) and Birch, ibid. 91, 4949
# (1986); TiN 288 GPa is the usual value of compilations.
LITERATURE = {
    "C": (cubic("Fd-3m", 3.567, "C"), 443),
    "Cu": (cubic("Fm-3m", 3.615, "Cu"), 137),
    "Pt": (cubic("Fm-3m", 3.924, "Pt"), 278),
    "W": (cubic("Im-3m", 3.165, "W"), 323),
    "Mg": (build("P6_3/mmc", Lattice.hexagonal(3.209, 5.211), ["Mg"], [[1 / 3, 2 / 3, 0.25]]), 35.4),
    "MgO": (salt(4.212, "Mg", "O"), 160),
    "NaCl": (salt(5.640, "Na", "Cl"), 24),
    "TiN": (salt(4.240, "Ti", "N"), 288),
}
# What the potential makes too soft: named, so that nobody takes these numbers for better than they are.
SOFT = {
    "Si": (diamond(), 99),
    "Al": (cubic("Fm-3m", 4.050, "Al"), 72),
    "Au": (cubic("Fm-3m", 4.078, "Au"), 173),
    "Fe": (cubic("Im-3m", 2.866, "Fe"), 168),
}


@pytest.mark.parametrize("name", LITERATURE)
def test_near_experiment(name: str) -> None:
    crystal, expected = LITERATURE[name]
    assert modulus(crystal) == pytest.approx(expected, rel=0.17)


@pytest.mark.parametrize("name", SOFT)
def test_known_to_be_too_soft(name: str) -> None:
    crystal, experiment = SOFT[name]
    assert 0.5 * experiment < modulus(crystal) < 0.85 * experiment


def test_layers_are_as_soft_as_they_are_only_when_the_cell_may_follow() -> None:
    # Graphite, experiment 33.8 GPa (Hanfland et al., Phys. Rev. B 39, 12598, 1989); strained isotropically its stiff
    # planes would pass for a hard material.
    assert modulus(GRAPHITE, relax=False) > 200
    assert modulus(GRAPHITE) < 60


def test_a_supercell_and_a_turned_cell_are_the_same_crystal() -> None:
    single = modulus(TITANIUM)
    assert modulus(TITANIUM * (1, 1, 2)) == pytest.approx(single, rel=5e-3)
    turned = TITANIUM.copy()
    turned.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, -1]])
    assert modulus(turned) == pytest.approx(single, rel=5e-3)
    assert modulus(rocksalt()) == pytest.approx(modulus(salt(5.64, "Na", "Cl")), rel=1e-3)


def test_crystals_share_batches_without_mixing_and_stay_as_they_are() -> None:
    crystals = [diamond(), TITANIUM, rocksalt()]
    before = [crystal.copy() for crystal in crystals]
    together = BulkModulus().evaluate(crystals)
    for crystal, result in zip(crystals, together, strict=True):
        assert not isinstance(result, Failure)
        assert result["bulk_modulus"] == pytest.approx(modulus(crystal), rel=1e-3)
    assert crystals == before


def test_what_cannot_be_evaluated_fails_alone_and_says_why() -> None:
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    unknown = Structure(Lattice.cubic(3.4), ["Lr"], [[0, 0, 0]])
    dummy = Structure(Lattice.cubic(3.4), ["X"], [[0, 0, 0]])
    sparse = Structure(Lattice.cubic(20), ["Na"], [[0, 0, 0]])
    broken = Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [np.nan, 0.5, 0.5]])
    results = BulkModulus().evaluate([disordered, diamond(), unknown, dummy, sparse, broken])
    kinds = [result.kind if isinstance(result, Failure) else "" for result in results]
    assert kinds == ["disordered", "", "unknown-element", "unknown-element", "isolated-atom", "not-finite"]


def test_an_atom_that_loses_its_neighbours_under_strain_is_a_failure() -> None:
    (result,) = BulkModulus().evaluate([Structure(Lattice.cubic(5.9), ["Na"], [[0, 0, 0]])])
    assert isinstance(result, Failure)
    assert result.kind == "isolated-atom"
    assert result.reason.startswith("equation of state: ")


class VolumeOnly:
    """One atom in a cubic cell whose energy is a function of the volume alone; counts what it is asked for."""

    potential = "volume-only"

    def __init__(self, energy: Callable[[float], float], force: float = 0.0) -> None:
        self.energy = energy
        self.force = force
        self.evaluations = 0

    def evaluate(self, crystals):
        self.evaluations += len(crystals)
        stress = np.eye(3)  # a pressure that must not change the volume
        forces = np.full((1, 3), self.force)
        return [Evaluation(self.energy(crystal.volume), forces, stress) for crystal in crystals]


def judged(monkeypatch: pytest.MonkeyPatch, potential: object, edge: float = 3.0) -> dict[str, float] | Failure:
    monkeypatch.setattr(elasticity, "load_potential", lambda name: potential)
    (result,) = BulkModulus().evaluate([Structure(Lattice.cubic(edge), ["Fe"], [[0, 0, 0]])])
    return result


def murnaghan(volume: float, modulus: float = 150.0) -> Callable[[float], float]:
    """Energy of a third-order Birch-Murnaghan solid with B' = 4 (eV): a parabola in V^(-2/3)."""
    return lambda v: 9 / 8 * volume * modulus / GPA * ((volume / v) ** (2 / 3) - 1) ** 2


@pytest.mark.parametrize("offset", [-0.05, -0.02, 0.0, 0.02, 0.05])
def test_the_scan_follows_a_minimum_elsewhere_once(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    potential = VolumeOnly(murnaghan((3.0 * (1 + offset)) ** 3))
    result = judged(monkeypatch, potential)
    assert result == {"bulk_modulus": pytest.approx(150, rel=1e-6)}
    assert potential.evaluations == (8 if offset == 0 else 15)


@pytest.mark.parametrize("offset", [-0.09, 0.09])
def test_a_minimum_out_of_reach_is_a_failure(monkeypatch: pytest.MonkeyPatch, offset: float) -> None:
    potential = VolumeOnly(murnaghan((3.0 * (1 + offset)) ** 3))
    result = judged(monkeypatch, potential)
    assert isinstance(result, Failure)
    assert result.kind == "no-minimum"
    assert "outside of the volumes" in result.reason
    assert potential.evaluations == 15


@pytest.mark.parametrize(
    ("energy", "kind"),
    [
        (lambda v: -((v - 27) ** 2), "no-minimum"),
        (lambda v: -v, "no-minimum"),
        (lambda v: 0.0, "no-minimum"),
        (lambda v: murnaghan(27)(v) - (0.05 if v > 28 else 0.0), "misfit"),
        (murnaghan(27, 1100), "out-of-bounds"),
        (lambda v: float("nan"), "not-finite"),
    ],
)
def test_no_curve_no_number(monkeypatch: pytest.MonkeyPatch, energy: Callable[[float], float], kind: str) -> None:
    result = judged(monkeypatch, VolumeOnly(energy))
    assert isinstance(result, Failure)
    assert result.kind == kind


def test_a_relaxation_that_does_not_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    result = judged(monkeypatch, VolumeOnly(murnaghan(27), force=1.0))
    assert isinstance(result, Failure)
    assert result.kind == "not-converged"


class SoftLennardJones(LennardJones):
    """Epsilon 0.01 eV, sigma 1 A: the modulus of the fcc crystal is 0.751 eV/A^3."""

    def evaluate(self, crystals):
        return [Evaluation(0.01 * o.energy, 0.01 * o.forces, 0.01 * o.stress) for o in super().evaluate(crystals)]


def test_argon_s_modulus_on_paper_also_from_a_distorted_start(monkeypatch: pytest.MonkeyPatch) -> None:
    # Ashcroft and Mermin, Solid State Physics, ch. 20: B = 4 eps/sigma^3 A12 (A6/A12)^(5/2), A12 = 12.13, A6 = 14.45.
    monkeypatch.setattr(elasticity, "load_potential", lambda name: SoftLennardJones())
    expected = 0.04 * 12.13 * (14.45 / 12.13) ** 2.5 * GPA
    perfect = Structure.from_spacegroup("Fm-3m", Lattice.cubic(1.54), ["Ar"], [[0, 0, 0]])
    assert modulus(perfect) == pytest.approx(expected, rel=0.01)
    crooked = displaced(perfect, 0.02, seed=0)
    crooked.apply_strain([0.02, -0.01, -0.01])
    assert modulus(crooked) == pytest.approx(expected, rel=0.02)


def test_evaluators_travel_to_workers_and_say_what_they_do() -> None:
    evaluator = create("bulk_modulus", {"relax": False})
    assert evaluator.params == {"potential": "chgnet-0.3.0", "relax": False}
    evaluator.evaluate([diamond()])
    again = pickle.loads(pickle.dumps(evaluator))
    assert again.evaluate([diamond()]) == evaluator.evaluate([diamond()])
