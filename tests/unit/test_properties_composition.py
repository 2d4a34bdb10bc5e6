"""Statistics over the elements against definitions, literature and pymatgen's own models."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.hhi import HHIModel
from pymatgen.core import Composition, Element, Lattice, Structure

from matinvent.errors import Failure
from matinvent.properties.composition import ElementStatistics, HerfindahlHirschman
from matinvent.testing.evaluators import check_evaluator

R = 8.314462618


def crystal(formula: str) -> Structure:
    """Some crystal of a composition."""
    symbols = [symbol for symbol, n in Composition(formula).get_el_amt_dict().items() for _ in range(int(n))]
    n = len(symbols)
    return Structure(Lattice.cubic(3 * n), symbols, [[i / n, i / n, i / n] for i in range(n)])


def value(name: str, formula: str) -> float | Failure:
    (result,) = ElementStatistics().evaluate([crystal(formula)])
    return result if isinstance(result, Failure) else result[name]


@pytest.mark.parametrize("formula", ["Nd2Fe14B", "GaAs", "Cu2ZnSnS4", "PbTe", "LiCoO2", "CdTe", "MgO", "Bi2Te3"])
def test_supply_risk_is_exactly_pymatgens(formula):
    (result,) = HerfindahlHirschman().evaluate([crystal(formula)])
    production, reserve = HHIModel().get_hhi(Composition(formula))
    assert result == pytest.approx({"hhi": float(reserve), "hhi_production": float(production)}, rel=1e-12)


def test_every_element_of_the_supply_table_is_exact():
    table = HHIModel().symbol_hhip_hhir
    assert len(table) > 70
    for symbol, (production, reserve) in table.items():
        (result,) = HerfindahlHirschman().evaluate([crystal(symbol)])
        assert result == {"hhi": reserve, "hhi_production": production}


@pytest.mark.parametrize("formula", ["LiH", "XePtF6", "UO2", "PuO2"])
def test_supply_risk_names_missing_elements(formula):
    table = HHIModel().symbol_hhip_hhir
    missing = sorted(symbol for symbol in Composition(formula).get_el_amt_dict() if symbol not in table)
    (result,) = HerfindahlHirschman().evaluate([crystal(formula)])
    if missing:
        assert result == Failure("missing-data", f"no Herfindahl-Hirschman index for {', '.join(missing)}")
    else:
        assert not isinstance(result, Failure)


@pytest.mark.parametrize(
    ("name", "formula", "expected"),
    [
        ("number_of_elements", "Cu2ZnSnS4", 4),
        ("number_of_elements", "Fe", 1),
        ("mean_atomic_mass", "SiO2", (28.0855 + 2 * 15.9994) / 3),
        ("mean_atomic_number", "GaAs", 32),
        # Pauling: Na 0.93, Cl 3.16; Cs 0.79, F 3.98.
        ("electronegativity_difference", "NaCl", 2.23),
        ("electronegativity_difference", "CsF", 3.19),
        ("electronegativity_difference", "Si", 0),
        # k ln n for n elements in equal parts; the Cantor alloy has 1.61 R.
        ("mixing_entropy", "CrMnFeCoNi", R * math.log(5)),
        ("mixing_entropy", "NaCl", R * math.log(2)),
        ("mixing_entropy", "Au", 0),
        # Guo et al.: CoCrFeNi 8.25, CrMnFeCoNi 8.0, with Cu (11) 8.8.
        ("valence_electron_concentration", "CoCrFeNi", 8.25),
        ("valence_electron_concentration", "CrMnFeCoNi", 8.0),
        ("valence_electron_concentration", "CoCrCuFeNi", 8.8),
        ("valence_electron_concentration", "GaAs", 4),
        ("valence_electron_concentration", "Zn", 12),
        ("valence_electron_concentration", "He", 2),
        ("valence_electron_concentration", "Nd", 3),
        # Slater's radii: Cs 2.60, Cl 1.00; mean 1.80.
        ("size_mismatch", "CsCl", 100 * 0.8 / 1.8),
        ("size_mismatch", "Cu", 0),
        ("metal_fraction", "Al2O3", 0.4),
        ("metal_fraction", "Si", 0),
        ("rare_earth_fraction", "Nd2Fe14B", 2 / 17),
        ("rare_earth_fraction", "YBa2Cu3O7", 1 / 13),
        ("precious_fraction", "PtFe", 0.5),
        ("toxic_fraction", "CdTe", 0.5),
        ("toxic_fraction", "ZnTe", 0),
        ("radioactive_fraction", "UO2", 1 / 3),
        ("radioactive_fraction", "Bi2Te3", 0),
    ],
)
def test_known_values(name, formula, expected):
    assert value(name, formula) == pytest.approx(expected, abs=1e-9)


@given(st.lists(st.sampled_from(["H", "O", "Fe", "Cu", "Au", "U"]), min_size=1, max_size=6), st.integers(2, 4))
@settings(deadline=None, max_examples=30)
def test_statistics_depend_on_shares_only(symbols, times):
    one = ElementStatistics().evaluate([crystal("".join(symbols))])[0]
    many = ElementStatistics().evaluate([crystal("".join(symbols * times))])[0]
    assert one == pytest.approx(many)


def test_every_element_has_statistics_or_says_what_it_lacks():
    for element in Element:
        (result,) = ElementStatistics().evaluate([crystal(element.symbol)])
        lacking = {name for name, found in result.items() if isinstance(found, Failure)}
        assert lacking <= {"electronegativity_difference", "size_mismatch"}
        for name in lacking:
            assert element.symbol in result[name].reason


def test_missing_values_fail_their_property_only():
    assert value("electronegativity_difference", "HeNe") == Failure("missing-data", "no electronegativity for He, Ne")
    assert value("size_mismatch", "LrO") == Failure("missing-data", "no atomic radius for Lr")
    assert value("number_of_elements", "HeNe") == 2


def test_charges_do_not_matter():
    bare = crystal("NaCl")
    charged = bare.copy()
    charged.add_oxidation_state_by_element({"Na": 1, "Cl": -1})
    assert ElementStatistics().evaluate([bare]) == ElementStatistics().evaluate([charged])


@pytest.mark.parametrize("evaluator", [ElementStatistics(), HerfindahlHirschman()], ids=["statistics", "hhi"])
def test_keeps_the_contract(evaluator):
    check_evaluator(evaluator, [crystal("NaCl"), crystal("BaTiO3"), crystal("Fe")])
