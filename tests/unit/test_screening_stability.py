"""The convex hull: textbook cases, pymatgen as judge, and what has no hull."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from matinvent.errors import Failure, InputError
from matinvent.screening.stability import Hull, HullResult, atomic_fractions, formula, whole_amounts


def hull(entries: dict[str, float]) -> Hull:
    return Hull(atomic_fractions(list(entries)), list(entries.values()))


BINARY = hull({"Na": 0.0, "Cl": 0.0, "NaCl": -1.0, "NaCl3": -0.2})


def placed(reference: Hull, name: str, energy: float) -> HullResult:
    result = reference.energy_above_hull(Composition(name), energy)
    assert isinstance(result, HullResult)
    return result


def test_lever_rule_between_compound_and_element() -> None:
    result = placed(BINARY, "Na3Cl", -0.4)
    assert result.e_above_hull == pytest.approx(-0.4 + 0.5)
    assert result.decomposition == pytest.approx({"NaCl": 0.5, "Na": 0.5})


def test_an_entry_above_the_hull_is_no_competitor() -> None:
    assert placed(BINARY, "NaCl3", -0.2).e_above_hull == pytest.approx(0.3)


def test_below_the_hull_is_negative() -> None:
    assert placed(BINARY, "Na2Cl2", -1.25).e_above_hull == pytest.approx(-0.25)


def test_elements_compete_with_their_lowest_form() -> None:
    reference = Hull(atomic_fractions(["C", "C", "C"]), [-9.1, -9.2, -9.0])
    assert len(reference) == 1
    assert placed(reference, "C", -9.1).e_above_hull == pytest.approx(0.1)


def test_missing_element_is_a_failure_that_names_it() -> None:
    result = BINARY.energy_above_hull(Composition("KCl"), -1.0)
    assert isinstance(result, Failure)
    assert result.kind == "missing-reference"
    assert "K " in result.reason + " "


def test_composition_out_of_reach_is_a_failure() -> None:
    result = hull({"NaCl": -1.0, "Cl": 0.0}).energy_above_hull(Composition("Na2Cl"), -1.0)
    assert isinstance(result, Failure)
    assert result.kind == "missing-reference"


@pytest.mark.parametrize("energy", [float("nan"), float("inf")])
def test_energy_that_is_no_number_is_a_failure(energy: float) -> None:
    result = BINARY.energy_above_hull(Composition("NaCl"), energy)
    assert isinstance(result, Failure)
    assert result.kind == "not-finite"


def test_sodium_nitride_is_a_formula() -> None:
    assert formula(atomic_fractions(["NaN"])[0]) == "NaN"


def test_bulk_agrees_with_single_and_marks_what_has_no_reference() -> None:
    names = ["NaCl", "Na3Cl", "KCl", "NaCl", "Cl"]
    energies = np.array([-0.9, -0.4, -1.0, -1.0, 0.2])
    above = BINARY.energies_above_hull(names, energies)
    assert np.isnan(above[2])
    singles = [
        placed(BINARY, name, energy).e_above_hull for name, energy in zip(names, energies, strict=True) if name != "KCl"
    ]
    assert above[[0, 1, 3, 4]] == pytest.approx(singles)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.floats(-2, 1), min_size=9, max_size=9), st.floats(-1, 1))
def test_equals_pymatgen_on_random_ternaries(energies: list[float], energy: float) -> None:
    names = ["Li", "Fe", "O", "Li2O", "FeO", "Fe2O3", "LiFeO2", "Li5FeO4", "LiFe"]
    diagram = PhaseDiagram(
        [PDEntry(Composition(n), e * Composition(n).num_atoms) for n, e in zip(names, energies, strict=True)]
    )
    target = Composition("Li3Fe2O4")
    expected = diagram.get_e_above_hull(PDEntry(target, energy * target.num_atoms), allow_negative=True)
    reference = hull(dict(zip(names, energies, strict=True)))
    assert placed(reference, "Li3Fe2O4", energy).e_above_hull == pytest.approx(expected, abs=1e-7)
    assert placed(reference.pruned(), "Li3Fe2O4", energy).e_above_hull == pytest.approx(expected, abs=1e-6)


def test_pruning_drops_entries_above_the_hull_only() -> None:
    assert sorted(formula(row) for row in BINARY.pruned().fractions) == ["Cl2", "Na", "NaCl"]


@settings(max_examples=50)
@given(st.dictionaries(st.integers(1, 94), st.integers(1, 40), min_size=1, max_size=6))
def test_whole_amounts_are_recovered_from_fractions(amounts: dict[int, int]) -> None:
    row = np.zeros(119)
    row[list(amounts)] = list(amounts.values())
    divisor = np.gcd.reduce(list(amounts.values()))
    assert whole_amounts(row / row.sum()) == {z: n // divisor for z, n in sorted(amounts.items())}


def test_unusable_input_is_named() -> None:
    with pytest.raises(InputError, match="Xx9"):
        atomic_fractions(["NaCl", "Xx9"])
    with pytest.raises(InputError, match="finite"):
        Hull(atomic_fractions(["Na"]), [float("nan")])
    with pytest.raises(InputError, match="shape"):
        Hull(np.ones((2, 3)), [0.0, 0.0])
