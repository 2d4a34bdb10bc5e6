"""Shipped properties against the literature, and the contract that every evaluator keeps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from smact.data_loader import lookup_element_hhis

from matinvent.errors import Failure
from matinvent.properties.registry import create, describe
from matinvent.testing.evaluators import check_evaluator


def bulk(spacegroup: str, lattice: Lattice, species: list[str], coords: list[list[float]]) -> Structure:
    return Structure.from_spacegroup(spacegroup, lattice, species, coords)


SILICON = bulk("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]])
ROCK_SALT = bulk("Fm-3m", Lattice.cubic(5.640), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
OSMIUM = bulk("P6_3/mmc", Lattice.hexagonal(2.734, 4.317), ["Os"], [[1 / 3, 2 / 3, 1 / 4]])
TUNGSTEN = bulk("Im-3m", Lattice.cubic(3.165), ["W"], [[0, 0, 0]])
GOLD = bulk("Fm-3m", Lattice.cubic(4.078), ["Au"], [[0, 0, 0]])
CRYSTALS = [SILICON, ROCK_SALT, OSMIUM, TUNGSTEN]


def value(name: str, structure: Structure) -> float | Failure:
    (result,) = create(name, {}).evaluate([structure])
    return result if isinstance(result, Failure) else result[name]


@pytest.mark.parametrize(
    ("structure", "density"),
    # CRC Handbook of Chemistry and Physics, room temperature, g/cm^3.
    [(SILICON, 2.33), (ROCK_SALT, 2.17), (OSMIUM, 22.59), (TUNGSTEN, 19.3), (GOLD, 19.3)],
)
def test_density(structure, density):
    assert value("density", structure) == pytest.approx(density, rel=0.005)


@given(st.integers(1, 3), st.floats(0.5, 2.0))
@settings(deadline=None, max_examples=20)
def test_density_is_intensive_and_falls_with_the_volume(repeat, stretch):
    supercell = ROCK_SALT * (repeat, 1, 1)
    assert value("density", supercell) == pytest.approx(value("density", ROCK_SALT))
    larger = ROCK_SALT.copy()
    larger.scale_lattice(stretch * ROCK_SALT.volume)
    assert value("density", larger) == pytest.approx(value("density", ROCK_SALT) / stretch)


@pytest.mark.parametrize("lattice", [Lattice(np.zeros((3, 3))), Lattice(np.full((3, 3), math.nan))])
def test_a_cell_without_volume_has_no_density(lattice):
    result = value("density", Structure(lattice, ["Fe"], [[0, 0, 0]]))
    assert isinstance(result, Failure)


@pytest.mark.parametrize(
    ("symbol", "production", "reserve"),
    # Gaultois et al., Chem. Mater. 25, 2911 (2013), table of the elements.
    [
        ("Si", 4700, 1000),
        ("O", 500, 500),
        ("Fe", 2400, 1400),
        ("Pt", 5500, 9100),
        ("Nd", 9500, 3100),
        ("W", 7000, 4300),
    ],
)
def test_supply_risk_of_the_elements(symbol, production, reserve):
    crystal = Structure(Lattice.cubic(3), [symbol], [[0, 0, 0]])
    assert value("hhi", crystal) == reserve
    assert value("hhi_production", crystal) == production


def test_supply_risk_of_a_compound_is_weighted_by_mass_not_by_atoms():
    # PbTe: reserve indices 1800 (Pb) and 4900 (Te), masses 207.2 and 127.6.
    crystal = Structure(Lattice.cubic(6.46), ["Pb", "Te"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    expected = (207.2 * 1800 + 127.6 * 4900) / (207.2 + 127.6)
    assert value("hhi", crystal) == pytest.approx(expected, rel=1e-5)


def test_element_table_agrees_with_an_independent_copy():
    for symbol in ["Li", "Co", "Nd", "Dy", "Pb", "Te", "Ga", "In"]:
        crystal = Structure(Lattice.cubic(3), [symbol], [[0, 0, 0]])
        assert (value("hhi_production", crystal), value("hhi", crystal)) == lookup_element_hhis(symbol)


def test_an_element_without_data_fails_its_crystal_only():
    # Known fault of the released code: one crystal with missing data ends the run.
    hydride = Structure(Lattice.cubic(4.1), ["Li", "H"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    results = create("hhi", {}).evaluate([SILICON, hydride, ROCK_SALT])
    assert results[1] == Failure("missing-data", "no Herfindahl-Hirschman index for H")
    assert [isinstance(r, Failure) for r in results] == [False, True, False]


def test_oxidation_states_do_not_matter():
    decorated = ROCK_SALT.copy()
    decorated.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert value("hhi", decorated) == value("hhi", ROCK_SALT)
    assert value("density", decorated) == value("density", ROCK_SALT)


@pytest.mark.parametrize("info", describe(), ids=lambda info: info.name)
def test_every_shipped_evaluator_keeps_the_contract(info):
    check_evaluator(create(info.name, {}), CRYSTALS)
