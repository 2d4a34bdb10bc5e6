"""Metrics of a sample: every crystal is counted once, shares are of all, intervals are those of the literature."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.stats import binom
from tests.unit.screening_world import SALTS, StillRelaxer, displaced, rocksalt, salt_reference, zincblende

from matinvent.candidate import Candidate, Fate
from matinvent.config_screening import ScreeningConfig, ValidityConfig
from matinvent.screening.quality import (
    QUANTILES,
    Quality,
    assess,
    compare,
    failure_kind,
    spread,
    summarise,
    sun_positions,
    wilson,
)
from matinvent.screening.screen import Screener

#: Hull energies of the salts plus what a crystal lies above it; KCl2 has no balanced charges.
ENERGIES = SALTS | {"KCl": -3.35, "LiCl": -3.55, "LiF": -4.6, "KCl2": -2.3, "RbCl": -3.0}


def screened(*structures: Structure | None, failing: tuple[str, ...] = (), **energies: float) -> list[Candidate]:
    candidates = [Candidate(0, index, structure) for index, structure in enumerate(structures)]
    for candidate in candidates:
        if candidate.structure is None:
            candidate.reject(Fate.INVALID, "collapsed: the generator produced nothing")
    config = ScreeningConfig(exhaustive=True, validity=ValidityConfig(smact=False))
    relaxer = StillRelaxer(ENERGIES | energies, failing)
    Screener(config, relaxer=relaxer, reference=salt_reference()).screen(candidates, len(candidates))
    return candidates


def overlapping() -> Structure:
    return Structure(Lattice.cubic(4), ["Na", "Cl"], [[0, 0, 0], [0, 0, 0.02]])


def unbalanced(a: float = 5.0) -> Structure:
    return Structure(Lattice.cubic(a), ["K", "Cl", "Cl"], [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5]])


def counts(quality: Quality) -> dict[str, int]:
    values = {field.name: getattr(quality, field.name) for field in fields(quality)}
    return {name: value for name, value in values.items() if isinstance(value, int)}


def test_every_metric_of_a_known_sample() -> None:
    candidates = screened(
        None,
        overlapping(),  # charge-balanced all the same
        rocksalt("K", "F"),  # fails in the relaxation
        rocksalt(),  # known, on the hull
        rocksalt("K", "Cl", 6.3),  # 0.05 below the hull, novel
        displaced(rocksalt("K", "Cl", 6.2), 0.01, seed=0),  # the same again
        zincblende("K", "Cl", 6.9),  # another polymorph
        rocksalt("Li", "Cl", 5.1),  # 0.05 above the hull, novel
        rocksalt("Li", "F", 4.0),  # 0.2 above the hull, novel
        displaced(rocksalt("Li", "F", 4.0), 0.01, seed=1),  # a duplicate that the screener never compares
        unbalanced(),  # 0.1 below the hull, novel, but not charge-balanced
        rocksalt("Rb", "Cl", 6.6),  # the reference knows no rubidium
        failing=("KF",),
    )
    quality = assess(candidates, salt_reference())
    assert counts(quality) == {
        "sampled": 12, "built": 11, "valid": 10, "smact": 10, "valid_smact": 9, "relaxed": 9, "converged": 9,
        "given_up": 0, "placed": 8, "stable": 4, "metastable": 6, "unique": 7, "novel": 8,
        "unique_metastable": 5, "novel_metastable": 5, "sun_stable": 3, "sun_any_charge": 4, "sun": 3,
    }  # fmt: skip
    assert quality.limit == 0.1
    assert quality.failures == {"collapsed": 1, "overlap": 1, "error": 1, "missing-reference": 1}
    assert quality.e_above_hull.n == 8
    assert quality.e_above_hull.mean == pytest.approx((0 - 0.05 * 3 + 0.05 + 0.2 * 2 - 0.1) / 8)
    assert quality.e_above_hull.median == pytest.approx(0.0, abs=0.03)
    assert quality.rmsd.median == quality.rmsd.mean == pytest.approx(0.1)
    assert (quality.rmsd.n, quality.relax_steps.mean) == (9, 3)
    assert quality.volume_change.quantiles == (0.0,) * 5
    survivors = [c for c in candidates if c.fate is Fate.SURVIVED]
    assert len(survivors) == quality.sun_any_charge  # the screener agrees


def test_duplicate_of_an_unstable_crystal_still_counts_when_it_is_stable_itself() -> None:
    candidates = screened(rocksalt("K", "Cl", 6.3), rocksalt("K", "Cl", 6.3))
    candidates[0].e_above_hull, candidates[0].fate = 0.11, Fate.UNSTABLE
    quality = assess(candidates, salt_reference())
    assert (quality.metastable, quality.unique, quality.sun) == (1, 1, 1)


def test_implausible_energy_counts_as_valid_but_neither_relaxed_nor_stable() -> None:
    quality = assess(screened(rocksalt("K", "Cl", 6.3), KCl=-9.0), salt_reference())
    assert (quality.valid, quality.relaxed, quality.stable, quality.novel) == (1, 0, 0, 0)
    assert quality.e_above_hull.n == 0


def test_comparisons_name_the_first_of_a_kind_and_the_known_one() -> None:
    candidates = screened(
        rocksalt("K", "Cl", 6.3), None, rocksalt("Li", "F", 4.0), rocksalt(), rocksalt("K", "Cl", 6.3), unbalanced()
    )
    seen: list[float] = []
    comparisons = compare(candidates, salt_reference(), seen.append)
    assert [x.first for x in comparisons] == [0, 1, 2, 3, 0, 5]
    assert [x.known_as for x in comparisons] == ["", "", "", "halite", "", ""]
    assert [x.charge_balanced for x in comparisons] == [True, None, True, True, True, False]
    assert sun_positions(candidates, comparisons, 0.1) == [0]
    assert seen == pytest.approx([n / 6 for n in range(1, 7)])


def test_of_equal_crystals_the_first_good_one_is_the_sun_one() -> None:
    candidates = screened(rocksalt("K", "Cl", 6.3), rocksalt("K", "Cl", 6.3))
    candidates[0].e_above_hull = 0.11
    comparisons = compare(candidates, salt_reference())
    assert sun_positions(candidates, comparisons, 0.1) == [1]
    assert sun_positions(candidates, comparisons, 0.2) == [0]


@pytest.mark.parametrize(("limit", "metastable", "sun"), [(0.0, 1, 1), (0.05, 1, 1), (0.1, 2, 2), (0.5, 3, 3)])
def test_another_limit_of_stability(limit: float, metastable: int, sun: int) -> None:
    candidates = screened(rocksalt("K", "Cl", 6.3), rocksalt("Li", "Cl", 5.1), rocksalt("Li", "F", 4.0))
    candidates[1].e_above_hull = 0.05
    quality = summarise(candidates, compare(candidates, salt_reference()), limit=limit)
    assert (quality.limit, quality.stable, quality.metastable, quality.sun) == (limit, 1, metastable, sun)


def test_given_up_crystals_are_counted() -> None:
    candidates = screened(rocksalt("K", "Cl", 6.3), rocksalt("Li", "F", 4.0))
    candidates[1].given_up, candidates[1].converged = True, False
    quality = assess(candidates, salt_reference())
    assert (quality.relaxed, quality.converged, quality.given_up) == (2, 1, 1)


@pytest.mark.parametrize(
    ("fate", "reason", "kind"),
    [
        (Fate.INVALID, "too-dense: 7 atoms", "too-dense"),
        (Fate.RELAX_FAILED, "after relaxation: overlap: two atoms", "overlap"),
        (Fate.RELAX_FAILED, "implausible energy, -1.20 eV/atom above the hull", "implausible energy"),
        (Fate.UNSTABLE, "missing-reference: no energies for Rb", "missing-reference"),
        (Fate.SURVIVED, "", ""),
    ],
)
def test_kinds_of_failures(fate: Fate, reason: str, kind: str) -> None:
    candidate = Candidate(0, 0, rocksalt(), fate=fate, reason=reason)
    assert failure_kind(candidate) == kind
    candidate.fate, candidate.e_above_hull = Fate.UNSTABLE, 0.3
    assert failure_kind(candidate) == ""


def test_the_limits_of_stability_are_exclusive() -> None:
    candidates = screened(rocksalt("K", "Cl", 6.3), rocksalt("Li", "Cl", 5.1))
    candidates[0].e_above_hull, candidates[1].e_above_hull = 0.0, 0.1
    quality = assess(candidates, salt_reference())
    assert (quality.stable, quality.metastable) == (0, 1)


KINDS = {
    "none": lambda: None,
    "overlap": overlapping,
    "failing": lambda: rocksalt("K", "F"),
    "known": rocksalt,
    "novel": lambda: rocksalt("K", "Cl", 6.3),
    "unstable": lambda: rocksalt("Li", "F", 4.0),
    "unbalanced": unbalanced,
    "no reference": lambda: rocksalt("Rb", "Cl", 6.6),
}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(sorted(KINDS)), max_size=12))
def test_no_sample_is_lost(kinds: list[str]) -> None:
    quality = assess(screened(*(KINDS[kind]() for kind in kinds), failing=("KF",)), salt_reference())
    assert quality.sampled == len(kinds)
    assert quality.built == len(kinds) - kinds.count("none")
    assert quality.valid == quality.built - kinds.count("overlap")
    assert quality.smact == quality.built - kinds.count("unbalanced")
    assert quality.relaxed == quality.valid - kinds.count("failing")
    assert quality.placed == quality.relaxed - kinds.count("no reference")
    assert quality.novel == quality.relaxed - kinds.count("known")
    assert quality.metastable == quality.placed - kinds.count("unstable")
    assert quality.unique == len(set(kinds) - {"none", "overlap", "failing"})
    assert quality.sun_any_charge == len(set(kinds) & {"novel", "unbalanced"})
    assert quality.sun == len(set(kinds) & {"novel"})


def test_a_sample_screened_in_part_is_refused() -> None:
    with pytest.raises(ValueError, match="exhaustive"):
        assess([Candidate(0, 3, rocksalt())], salt_reference())


def test_a_sample_screened_for_charges_is_refused() -> None:
    candidate = Candidate(0, 0, unbalanced())
    Screener(ScreeningConfig(), relaxer=StillRelaxer(ENERGIES), reference=salt_reference()).screen([candidate], 1)
    with pytest.raises(ValueError, match=r"validity\.smact"):
        assess([candidate], salt_reference())


def test_a_sample_screened_for_charges_first_can_be_counted_as_such() -> None:
    candidates = [Candidate(0, n, s) for n, s in enumerate([unbalanced(), rocksalt("K", "Cl", 6.3), overlapping()])]
    config = ScreeningConfig(exhaustive=True)
    Screener(config, relaxer=StillRelaxer(ENERGIES), reference=salt_reference()).screen(candidates, 3)
    quality = summarise(candidates, compare(candidates, salt_reference()), charges_first=True)
    assert (quality.valid, quality.smact, quality.valid_smact, quality.relaxed, quality.sun) == (2, 2, 1, 1, 1)
    assert quality.failures == {"smact": 1, "overlap": 1}


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    # Newcombe, Statistics in Medicine 17, 857 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_of_the_literature(count: int, total: int, low: float, high: float) -> None:
    assert wilson(count, total) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_interval_holds_the_share_and_mirrors(count: int, rest: int) -> None:
    total = count + rest
    low, high = wilson(count, total)
    assert 0 <= low <= high <= 1
    if total:
        assert low - 1e-12 <= count / total <= high + 1e-12
    assert wilson(rest, total) == pytest.approx((1 - high, 1 - low))


def test_impossible_share_is_refused() -> None:
    with pytest.raises(ValueError, match="5 of 4"):
        wilson(5, 4)


def test_spread_of_few_values_is_their_range_and_missing_ones_do_not_count() -> None:
    assert spread([3.0, None, 1.0, 8.0])[:5] == (3, 3.0, 1.0, 8.0, 4.0)
    empty = spread([None])
    assert empty.n == 0
    assert math.isnan(empty.median)
    assert len(empty.quantiles) == len(QUANTILES)
    assert all(map(math.isnan, empty.quantiles))


def test_quantiles_of_a_ramp_are_on_the_ramp() -> None:
    assert spread(float(rank) for rank in range(101)).quantiles == pytest.approx([100 * q for q in QUANTILES])


@pytest.mark.parametrize("n", [9, 20, 101, 1000])
def test_interval_of_the_median_covers_it_in_95_of_100_samples(n: int) -> None:
    values = spread(float(rank) for rank in range(1, n + 1))
    # The median lies between two order statistics when that many values of a fair coin fall below it.
    coverage = binom.cdf(values.high - 1, n, 0.5) - binom.cdf(values.low - 1, n, 0.5)
    assert 0.95 <= coverage < 0.98
    assert values.median == (n + 1) / 2
