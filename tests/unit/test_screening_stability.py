"""The convex hull: textbook cases, pymatgen as judge, and what has no hull."""

from __future__ import annotations

import time
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from matinvent.errors import Failure, InputError
from matinvent.screening import simplex
from matinvent.screening.stability import Hull, HullResult, atomic_fractions, formula, symbol, whole_amounts


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


POOL = ("Li", "Fe", "O", "P", "Na", "Mn")


@st.composite
def reference_and_target(draw: st.DrawFn) -> tuple[list[tuple[str, float]], str]:
    """Entries of up to six elements, each element among them, and a composition of the same elements."""
    elements = POOL[: draw(st.integers(1, len(POOL)))]
    energy = st.floats(-3, 1).map(lambda e: round(e, 3))  # rounded: equal energies and flat hulls occur
    amounts = st.lists(st.integers(0, 4), min_size=len(elements), max_size=len(elements)).filter(any)
    compounds = draw(st.lists(st.tuples(amounts, energy), max_size=25))
    pure = [(element, draw(energy)) for element in elements]
    named = [("".join(f"{e}{n}" for e, n in zip(elements, a, strict=True) if n), v) for a, v in compounds]
    target = draw(st.lists(st.integers(1, 5), min_size=len(elements), max_size=len(elements)))
    return draw(st.permutations(pure + named)), "".join(f"{e}{n}" for e, n in zip(elements, target, strict=True))


def listed(entries: list[tuple[str, float]]) -> Hull:
    names, energies = zip(*entries, strict=True)
    return Hull(atomic_fractions(names), energies)


class TestAnyHull:
    """Random hulls, among them flat and degenerate ones."""

    @settings(max_examples=150, deadline=None)
    @given(reference_and_target())
    def test_equals_the_general_solver(self, drawn: tuple[list[tuple[str, float]], str]) -> None:
        entries, target = drawn
        reference = listed(entries)
        row = atomic_fractions([target])[0]
        chosen, elements = reference._competitors(row)
        assert set(chosen) == set(range(len(reference)))
        arguments = reference.fractions[np.ix_(chosen, elements)], reference.energies[chosen], row[elements]
        ours, theirs = simplex.cheapest_mixture(*arguments), simplex._by_highs(*arguments)
        assert ours is not None
        assert theirs is not None
        assert ours.energy == pytest.approx(theirs.energy, abs=1e-8)
        mixed = ours.shares @ arguments[0][ours.phases]
        assert mixed == pytest.approx(arguments[2], abs=1e-8)
        assert ours.shares @ arguments[1][ours.phases] == pytest.approx(ours.energy, abs=1e-8)

    @settings(max_examples=30, deadline=None)
    @given(reference_and_target(), st.floats(-3, 1))
    def test_equals_pymatgen(self, drawn: tuple[list[tuple[str, float]], str], energy: float) -> None:
        entries, name = drawn
        target = Composition(name)
        diagram = PhaseDiagram([PDEntry(Composition(n), e * Composition(n).num_atoms) for n, e in entries])
        expected = diagram.get_e_above_hull(PDEntry(target, energy * target.num_atoms), allow_negative=True)
        assert placed(listed(entries), name, energy).e_above_hull == pytest.approx(expected, abs=1e-7)

    @settings(max_examples=30, deadline=None)
    @given(reference_and_target(), st.randoms(use_true_random=False))
    def test_shares_sum_to_one_and_order_does_not_matter(
        self, drawn: tuple[list[tuple[str, float]], str], random: Random
    ) -> None:
        entries, name = drawn
        result = placed(listed(entries), name, 0.0)
        assert sum(result.decomposition.values()) == pytest.approx(1.0, abs=1e-5)
        assert all(0 < share <= 1 + 1e-9 for share in result.decomposition.values())
        other = random.sample(entries, len(entries))
        assert placed(listed(other), name, 0.0).e_above_hull == pytest.approx(result.e_above_hull, abs=1e-9)
        assert listed(other).hull_energy(Composition(name)) == pytest.approx(-result.e_above_hull, abs=1e-9)

    @settings(max_examples=30, deadline=None)
    @given(reference_and_target())
    def test_an_entry_lies_on_or_above_the_hull(self, drawn: tuple[list[tuple[str, float]], str]) -> None:
        names, energies = zip(*drawn[0], strict=True)
        above = listed(drawn[0]).energies_above_hull(names, energies)
        assert above.min() >= -1e-9
        assert above.min() == pytest.approx(0, abs=1e-9)


def test_simplex_alone_answers_where_all_elements_are_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simplex, "_by_highs", lambda *_: pytest.fail("the general solver was asked"))
    assert placed(BINARY, "Na3Cl", -0.4).e_above_hull == pytest.approx(0.1)
    assert placed(BINARY, "NaCl", -0.4).decomposition == pytest.approx({"NaCl": 1.0})
    assert placed(BINARY, "Na", 0.3).decomposition == pytest.approx({"Na": 1.0})


def test_endless_pivoting_and_wrong_answers_go_to_the_general_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = placed(BINARY, "Na3Cl", -0.4)
    monkeypatch.setattr(simplex, "_MOST_PIVOTS", 1)
    assert placed(BINARY, "Na3Cl", -0.4) == expected
    monkeypatch.setattr(simplex, "_pivoted", lambda fractions, energies, target, basis: basis)  # not the optimum
    assert placed(BINARY, "Na3Cl", -0.4) == expected
    monkeypatch.setattr(simplex, "_pivoted", lambda fractions, energies, target, basis: basis[[0, 0]])  # singular
    assert placed(BINARY, "Na3Cl", -0.4) == expected


def test_mixtures_without_an_element_are_found() -> None:
    reference = hull({"NaCl": -1.0, "NaCl3": -0.6, "Na3Cl": -0.5})
    result = placed(reference, "NaCl2", -0.7)
    assert result.decomposition == pytest.approx({"NaCl": 1 / 3, "NaCl3": 2 / 3})
    assert result.e_above_hull == pytest.approx(-0.7 + 1.0 / 3 + 0.6 * 2 / 3)


def test_hull_energy_of_a_composition() -> None:
    assert BINARY.hull_energy(Composition("Na3Cl")) == pytest.approx(-0.5)
    missing = BINARY.hull_energy(Composition("KCl"))
    assert isinstance(missing, Failure)
    assert missing.kind == "missing-reference"
    alien = BINARY.hull_energy(Composition("Xx2O"))
    assert isinstance(alien, Failure)
    assert alien.kind == "unknown-element"


def test_a_crystal_of_very_many_elements_is_placed_at_once() -> None:
    elements = [symbol(z) for z in range(19, 95)]
    reference = hull(dict.fromkeys(elements, 0.0) | {"KBr": -1.0, "CsI": -2.0})
    start = time.process_time()
    result = placed(reference, "".join(elements), 0.0)
    assert time.process_time() - start < 1
    assert result.e_above_hull == pytest.approx(2 / 76 * 1.0 + 2 / 76 * 2.0)


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
