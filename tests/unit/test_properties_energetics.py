"""Formation energies against calorimetry, and hull energies against what is known to exist."""

from __future__ import annotations

import pytest
from pymatgen.core import Lattice, Structure
from tests.unit.screening_world import LennardJones, diamond, rocksalt, zincblende

from matinvent.errors import ConfigError, Failure
from matinvent.properties import energetics
from matinvent.properties.energetics import Energetics
from matinvent.testing.evaluators import check_evaluator

EV = 96.485  # kJ/mol


def energies(*structures: Structure) -> list[dict[str, float]]:
    results = Energetics().evaluate(structures)
    assert not any(isinstance(result, Failure) for result in results), results
    return [dict(result) for result in results if not isinstance(result, Failure)]


@pytest.mark.parametrize(
    ("structure", "measured"),
    # Standard enthalpies of formation, kJ/mol of formula units (CRC Handbook of Chemistry and Physics), two atoms each.
    [
        (rocksalt("Na", "Cl", 5.64), -411.2),
        (rocksalt("Li", "F", 4.03), -616.0),
        (rocksalt("K", "Br", 6.60), -393.8),
        (zincblende("Zn", "S", 5.41), -206.0),
        (zincblende("Ga", "As", 5.653), -71.0),
        (rocksalt("Ti", "C", 4.33), -184.5),
        (rocksalt("Ti", "N", 4.24), -337.7),
    ],
    ids=["NaCl", "LiF", "KBr", "ZnS", "GaAs", "TiC", "TiN"],
)
def test_formation_energy(structure: Structure, measured: float) -> None:
    (found,) = energies(structure)
    assert found["formation_energy"] == pytest.approx(measured / EV / 2, abs=0.22)
    assert -0.02 < found["energy_above_hull"] < 0.03


def test_elements_form_from_themselves() -> None:
    (found,) = energies(diamond())
    assert found["formation_energy"] == pytest.approx(0, abs=0.01)
    assert found["energy_above_hull"] == pytest.approx(found["formation_energy"], abs=1e-6)


def test_a_wrong_structure_lies_above_the_hull() -> None:
    right, wrong = energies(rocksalt("Na", "Cl", 5.64), zincblende("Na", "Cl", 6.0))
    assert wrong["energy_above_hull"] > right["energy_above_hull"] + 0.02
    difference = wrong["formation_energy"] - right["formation_energy"]
    assert wrong["energy_above_hull"] - right["energy_above_hull"] == pytest.approx(difference, abs=1e-6)


def test_keeps_the_contract() -> None:
    check_evaluator(Energetics(), [rocksalt("Na", "Cl", 5.64), diamond()])


def test_energies_of_two_potentials_never_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energetics, "load_potential", lambda name: LennardJones())
    with pytest.raises(ConfigError, match=r"'mp' holds energies of chgnet-0\.3\.0.*from lennard-jones"):
        Energetics(potential="lennard-jones")


def test_what_cannot_be_placed_says_why() -> None:
    disordered = Structure(Lattice.cubic(3.6), [{"Cu": 0.5, "Au": 0.5}], [[0, 0, 0]])
    sparse = Structure(Lattice.cubic(20), ["Na"], [[0, 0, 0]])
    results = Energetics().evaluate([disordered, sparse])
    assert [result.kind for result in results if isinstance(result, Failure)] == ["disordered", "isolated-atom"]
