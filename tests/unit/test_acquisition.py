"""Acquisition: the surrogate finds what is good from few evaluations, and never touches a reward."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Element, Lattice, Structure

from matinvent.acquisition import Acquisition
from matinvent.candidate import Candidate, Fate
from matinvent.config import AcquisitionConfig

METALS = ["Li", "Na", "K", "Mg", "Al", "Ti", "V", "Cr", "Fe", "Co", "Ni", "Cu", "Zn", "Mo", "W", "Pt", "Au", "Hf"]


def crystal(*elements: str) -> Structure:
    side = 2.8 * len(elements) ** (1 / 3)
    return Structure(Lattice.cubic(side), elements, [[i / len(elements)] * 3 for i in range(len(elements))])


def pairs(rng: np.random.Generator, n: int) -> list[Candidate]:
    return [Candidate(0, i, crystal(*rng.choice(METALS, 2, replace=False))) for i in range(n)]


def weight(candidate: Candidate) -> float:
    return sum(Element(site.specie.symbol).Z for site in candidate.structure) / 158


def evaluated(candidates: list[Candidate]) -> list[Candidate]:
    for candidate in candidates:
        candidate.fate, candidate.properties = Fate.SCORED, {"weight": weight(candidate)}
    return candidates


def make(**settings) -> Acquisition:
    return Acquisition(AcquisitionConfig(**settings), lambda properties, stage: properties["weight"])


def order(acquisition: Acquisition, candidates: list[Candidate], rng: np.random.Generator) -> list[Candidate]:
    promising, others = acquisition.order(candidates, np.ones(len(candidates)), 8, rng)
    return [*promising, *others]


def test_after_few_evaluations_the_good_ones_come_first():
    rng = np.random.default_rng(0)
    acquisition = make()
    acquisition.remember(evaluated(pairs(rng, 24)), 0)
    proposals = pairs(rng, 60)
    ordered = order(acquisition, proposals, rng)
    assert sorted(c.index for c in ordered) == list(range(60))
    first, last = (np.mean([weight(c) for c in part]) for part in (ordered[:15], ordered[-15:]))
    assert first > last + 0.25


@pytest.mark.parametrize("settings", [{"enabled": False}, {"min_evaluations": 25}])
def test_the_order_stays_without_surrogate(settings):
    rng = np.random.default_rng(0)
    acquisition = make(**settings)
    acquisition.remember(evaluated(pairs(rng, 24)), 0)
    proposals = pairs(rng, 10)
    assert order(acquisition, proposals, rng) == proposals


def test_the_first_survivors_are_chosen_or_any():
    survivors = pairs(np.random.default_rng(0), 20)
    chosen, left = make().choose(survivors, 12, np.random.default_rng(1))
    assert (chosen, left) == (survivors[:12], survivors[12:])
    chosen, left = make(enabled=False).choose(survivors, 12, np.random.default_rng(1))
    assert len(chosen) == 12
    assert chosen != survivors[:12]
    assert sorted(c.index for c in [*chosen, *left]) == list(range(20))


def test_failed_evaluations_teach_avoidance():
    rng = np.random.default_rng(0)
    acquisition = make(exploration=0.0)
    good, bad = crystal("Mg", "O"), crystal("Fe", "Al")
    for fate, structure in ((Fate.SCORED, good), (Fate.EVAL_FAILED, bad)):
        properties = {"weight": 0.5} if fate is Fate.SCORED else {}
        acquisition.remember([Candidate(0, i, structure, fate=fate, properties=properties) for i in range(10)], 0)
    proposals = [Candidate(1, 0, bad), Candidate(1, 1, good)]
    assert [c.index for c in order(acquisition, proposals, rng)] == [1, 0]


def test_a_goal_that_changes_changes_the_order():
    rng = np.random.default_rng(0)
    sign = [1.0]
    acquisition = Acquisition(AcquisitionConfig(), lambda properties, stage: (1 + sign[0] * properties["weight"]) / 2)
    acquisition.remember(evaluated(pairs(rng, 30)), 0)
    proposals = pairs(rng, 40)
    heavy = order(acquisition, proposals, np.random.default_rng(3))[:10]
    sign[0] = -1.0
    light = order(acquisition, proposals, np.random.default_rng(3))[:10]
    assert np.mean([weight(c) for c in heavy]) > np.mean([weight(c) for c in light]) + 0.2


def test_what_promises_too_little_is_not_paid_for():
    rng = np.random.default_rng(0)
    acquisition = make(exploration=0.0)
    acquisition.remember(evaluated(pairs(rng, 60)), 0)
    light = [Candidate(1, i, crystal("Li", name)) for i, name in enumerate(["Li", "Na", "Mg", "Al", "K", "Ti"])]
    heavy = [Candidate(1, 10 + i, crystal("Au", name)) for i, name in enumerate(["Pt", "Hf", "W"])]
    acquisition.order([*light, *heavy], np.ones(9), 8, rng)
    chosen, left = acquisition.choose([*light, *heavy], 8, rng)
    assert {c.index for c in heavy} <= {c.index for c in chosen}
    assert len(chosen) < 8
    assert sorted(c.index for c in [*chosen, *left]) == sorted(c.index for c in [*light, *heavy])
    # With nothing better at hand half are evaluated all the same, for the surrogate may be wrong.
    assert len(acquisition.choose(light, 8, rng)[0]) == 4
    generous = make(exploration=0.0, promise=0.0)
    generous.remember(evaluated(pairs(rng, 60)), 0)
    generous.order(light, np.ones(6), 8, rng)
    assert len(generous.choose(light, 8, rng)[0]) == 6


def test_what_promises_too_little_is_screened_last():
    rng = np.random.default_rng(0)
    acquisition = make(exploration=0.0)
    light = [Candidate(1, i, crystal("Li", name)) for i, name in enumerate(["Li", "Na", "Mg", "Al", "K", "Ti"])]
    heavy = [Candidate(1, 10 + i, crystal("Au", name)) for i, name in enumerate(["Pt", "Hf", "W"])]
    assert acquisition.order([*light, *heavy], np.ones(9), 8, rng) == ([*light, *heavy], [])  # nothing is known yet
    acquisition.remember(evaluated(pairs(rng, 60)), 0)
    promising, others = acquisition.order([*light, *heavy], np.ones(9), 8, rng)
    assert {c.index for c in heavy} <= {c.index for c in promising}
    assert {c.index for c in others} >= {0, 1}
    assert (acquisition.fewest(8), acquisition.fewest(9)) == (2, 3)


def test_evaluations_are_spread_over_chemical_systems():
    proposals = [*(Candidate(1, i, crystal("Au", "Pt")) for i in range(8)), Candidate(1, 8, crystal("Au", "Mo"))]
    ranks = {}
    for repeat in (1.0, 0.9):
        acquisition = make(exploration=0.0, promise=0.0, repeat=repeat)
        acquisition.remember(evaluated(pairs(np.random.default_rng(1), 60)), 0)
        ordered, _ = acquisition.order(proposals, np.ones(9), 8, np.random.default_rng(2))
        assert [c.index for c in ordered if c.index < 8] == list(range(8))
        ranks[repeat] = [c.index for c in ordered].index(8)
    assert ranks[1.0] == 8
    assert 0 < ranks[0.9] < 8


def test_what_is_hardly_stable_is_screened_later():
    rng = np.random.default_rng(0)
    acquisition = make(exploration=0.0, promise=0.0)
    heavy = [Candidate(1, i, crystal("Au", "Pt")) for i in range(4)]
    shares = np.array([0.1, 0.9, 0.0, 0.5])
    assert acquisition.order(heavy, shares, 8, rng)[0] == heavy  # nothing is known yet
    acquisition.remember(evaluated(pairs(rng, 60)), 0)
    assert [c.index for c in acquisition.order(heavy, shares, 8, rng)[0]] == [1, 3, 0, 2]


def test_switched_off_it_draws_at_random():
    acquisition = make(enabled=False)
    acquisition.remember(evaluated(pairs(np.random.default_rng(0), 60)), 0)
    survivors = pairs(np.random.default_rng(1), 30)
    draws = [acquisition.choose(survivors, 10, np.random.default_rng(seed)) for seed in range(40)]
    assert all(len(chosen) == 10 and len(left) == 20 for chosen, left in draws)
    assert {c.index for chosen, _ in draws for c in chosen} == set(range(30))
    assert len(acquisition.choose(survivors[:4], 10, np.random.default_rng(0))[0]) == 4


def cubic_crystals(rng: np.random.Generator, n: int) -> list[Candidate]:
    """Elements at random, so that only the lattice can tell them apart."""
    return [
        Candidate(0, i, Structure(Lattice.cubic(rng.uniform(2, 6)), [rng.choice(METALS)], [[0, 0, 0]]))
        for i in range(n)
    ]


def test_properties_of_the_lattice_are_seen_by_the_cell():
    rng = np.random.default_rng(0)

    def fit(candidate: Candidate) -> float:
        return max(0.0, 1 - abs(candidate.structure.lattice.a - 4))

    known = cubic_crystals(rng, 40)
    for candidate in known:
        candidate.fate, candidate.properties = Fate.SCORED, {"weight": fit(candidate)}
    proposals = cubic_crystals(rng, 60)
    acquisition = make(features="cell", exploration=0.0)
    acquisition.remember(known, 0)
    chosen = order(acquisition, proposals, np.random.default_rng(1))[:12]
    assert np.mean([fit(c) for c in chosen]) > np.mean([fit(c) for c in proposals]) + 0.3
    # A supercell is the same crystal.
    twins = [Candidate(1, i, c.structure.make_supercell([1, 1, 2], in_place=False)) for i, c in enumerate(proposals)]
    first, second = (order(acquisition, some, np.random.default_rng(1)) for some in (proposals, twins))
    assert [c.index for c in first] == [c.index for c in second]


def test_the_relaxed_crystal_is_what_was_evaluated():
    acquisition = make(features="cell", exploration=0.0)
    rng = np.random.default_rng(0)
    for candidate in (known := cubic_crystals(rng, 40)):
        candidate.relaxed = candidate.structure.copy()
        candidate.structure = cubic_crystals(rng, 1)[0].structure  # as drawn: something else
        candidate.fate, candidate.properties = Fate.SCORED, {"weight": candidate.relaxed.lattice.a / 6}
    acquisition.remember(known, 0)
    large = order(acquisition, cubic_crystals(rng, 40), rng)[:10]
    assert min(c.structure.lattice.a for c in large) > 4


def test_what_cannot_be_described_comes_last_and_is_not_lost():
    rng = np.random.default_rng(0)
    acquisition = make()
    acquisition.remember(evaluated(pairs(rng, 24)), 0)
    mixed = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Co": 0.5}], [[0, 0, 0]])
    odd = [Candidate(1, 90, None), Candidate(1, 91, mixed), Candidate(1, 92, crystal("Cm"))]
    ordered = order(acquisition, [*odd, *pairs(rng, 5)], rng)
    assert [c.index for c in ordered[-3:]] == [90, 91, 92]
    assert order(acquisition, odd, rng) == odd


def test_the_order_depends_on_the_seed_only():
    rng = np.random.default_rng(0)
    acquisition = make()
    acquisition.remember(evaluated(pairs(rng, 24)), 0)
    proposals = pairs(rng, 30)
    assert order(acquisition, proposals, np.random.default_rng(5)) == order(
        acquisition, proposals, np.random.default_rng(5)
    )


def test_the_prior_proposes_its_share_while_a_surrogate_chooses():
    assert make(from_prior=0.25).from_prior(80) == 20
    assert make(from_prior=0.25, enabled=False).from_prior(80) == 0
    assert make(from_prior=0.0).from_prior(80) == 0
