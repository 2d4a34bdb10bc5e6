"""Feasibility: chances follow what became of earlier proposals."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.candidate import Candidate, Fate
from matinvent.config import FeasibilityConfig
from matinvent.feasibility import Feasibility

ANIONS = ["F", "Cl", "Br", "O", "S", "Se"]
STEADY, SHAKY = ["Li", "Na", "K", "Rb"], ["Ti", "V", "Cr", "Fe"]


def salt(cation: str, anion: str) -> Structure:
    return Structure(Lattice.cubic(5), [cation, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def screened(rng: np.random.Generator, n: int) -> list[Candidate]:
    """Salts of the alkali metals pass in nine cases of ten, those of transition metals in one."""
    candidates = []
    for index in range(n):
        steady = rng.random() < 0.5
        passes = rng.random() < (0.9 if steady else 0.1)
        fate = rng.choice([Fate.SCORED, Fate.DUPLICATE, Fate.KNOWN] if passes else [Fate.UNSTABLE, Fate.RELAX_FAILED])
        structure = salt(rng.choice(STEADY if steady else SHAKY), rng.choice(ANIONS))
        candidates.append(Candidate(0, index, structure, fate=Fate(fate)))
    return candidates


def taught(candidates: list[Candidate], **settings) -> Feasibility:
    feasibility = Feasibility(FeasibilityConfig(**settings))
    feasibility.remember(candidates)
    feasibility.update(np.random.default_rng(0))
    return feasibility


def test_chances_are_the_shares_that_came_through():
    feasibility = taught(screened(np.random.default_rng(0), 400))
    steady = feasibility.chances([salt(cation, "Cl") for cation in STEADY])
    shaky = feasibility.chances([salt(cation, "Cl") for cation in SHAKY])
    assert steady.mean() == pytest.approx(0.9, abs=0.1)
    assert shaky.mean() == pytest.approx(0.1, abs=0.1)
    assert steady.min() > shaky.max() + 0.3


def test_chances_do_not_depend_on_cell_or_orientation():
    feasibility = taught(screened(np.random.default_rng(0), 100))
    small = salt("Na", "Cl")
    turned = Structure(Lattice.from_parameters(5, 5, 5, 80, 90, 90), ["Cl", "Na"], [[0.5, 0.5, 0.5], [0, 0, 0]])
    assert feasibility.chances([small]) == feasibility.chances([turned])


@pytest.mark.parametrize("settings", [{"enabled": False}, {"min_screened": 101}])
def test_rewards_are_kept_while_too_little_is_known(settings):
    feasibility = taught(screened(np.random.default_rng(0), 100), **settings)
    asked = [salt("Fe", "O"), None]
    assert np.isnan(feasibility.chances(asked)).all()
    assert feasibility.shares(asked).tolist() == [1.0, 1.0]
    assert feasibility.shares([]).tolist() == []


def test_what_was_never_screened_teaches_nothing():
    silent = [
        Candidate(0, i, salt("Fe", "O"), fate=fate) for i, fate in enumerate([Fate.GENERATED, Fate.EXCLUDED] * 50)
    ]
    given = [Candidate(-1, i, salt("Fe", "O"), fate=Fate.UNSTABLE, source="mine.cif") for i in range(50)]
    assert np.isnan(taught([*silent, *given]).chances([salt("Fe", "O")])).all()


def test_kinds_that_are_never_screened_are_not_known_by_their_failures():
    """All proposals are checked for validity; what the surrogate leaves aside is not relaxed."""
    aside = [
        Candidate(0, i, salt("Fe", "O"), fate=Fate.INVALID if i % 4 == 0 else Fate.GENERATED, reason="aside")
        for i in range(80)
    ]
    judged = [Candidate(0, i, salt("K", "F"), fate=Fate.UNSTABLE if i % 2 else Fate.SCORED) for i in range(80)]
    [chance] = taught([*aside, *judged]).chances([salt("Fe", "O")])
    assert chance == pytest.approx(0.5, abs=0.2)


def test_what_has_no_features_keeps_its_reward_and_changes_no_other():
    feasibility = taught(screened(np.random.default_rng(0), 400))
    mixed = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    some = [salt("Fe", "O"), salt("Ti", "O")]
    assert feasibility.shares([*some, None, mixed]).tolist() == [*feasibility.shares(some), 1.0, 1.0]


def test_shares_compare_kinds_and_not_tasks():
    feasibility = taught(screened(np.random.default_rng(0), 400))
    shaky, steady = [salt(cation, "Cl") for cation in SHAKY], [salt(cation, "Cl") for cation in STEADY]
    assert feasibility.shares(shaky).max() == 1.0
    both = feasibility.shares([*shaky, *steady])
    assert both[: len(shaky)].max() < 0.4
    assert both.max() == 1.0


def test_of_kinds_that_are_stable_enough_none_is_preferred():
    asked = [salt(cation, "Cl") for cation in [*STEADY, *SHAKY]]
    feasibility = taught(screened(np.random.default_rng(0), 400), enough=0.6)
    shares, chances = feasibility.shares(asked), feasibility.chances(asked)
    assert shares[: len(STEADY)].tolist() == [1.0] * len(STEADY)
    assert shares[len(STEADY) :] == pytest.approx(chances[len(STEADY) :] / 0.6)


def test_where_nothing_is_stable_nothing_is_learned():
    hopeless = [Candidate(0, i, salt("Fe", anion), fate=Fate.UNSTABLE) for i, anion in enumerate(ANIONS * 10)]
    assert taught(hopeless).shares([salt("Fe", "O")]).tolist() == [0.0]


def test_the_same_seed_gives_the_same_chances():
    candidates = screened(np.random.default_rng(0), 60)
    asked = [salt(cation, "S") for cation in [*STEADY, *SHAKY]]
    assert (taught(candidates).chances(asked) == taught(candidates).chances(asked)).all()
