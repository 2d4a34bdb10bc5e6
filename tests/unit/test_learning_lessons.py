"""Lessons: what is learned from, and with how much of its reward."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from matinvent.candidate import Candidate, Fate
from matinvent.config import CampaignConfig
from matinvent.feasibility import Feasibility
from matinvent.learning.lessons import Lessons
from matinvent.memory.diversity import DiversityFilter
from matinvent.memory.replay import ReplayBuffer
from matinvent.rewards.model import RewardModel

SETTINGS = {
    "name": "lessons",
    "objectives": [{"property": "density", "kind": "maximize", "lo": 0, "hi": 10}],
    "learning": {"top_fraction": 0.5, "sharpness": 0},
    "replay": {"sample": 4},
}


def crystal(*elements: str) -> Structure:
    return Structure(Lattice.cubic(5), elements, [[i / len(elements)] * 3 for i in range(len(elements))])


def scored(index: int, structure: Structure, credit: float) -> Candidate:
    candidate = Candidate(5, index, structure, fate=Fate.SCORED, properties={"density": 10 * credit})
    candidate.reward = candidate.credit = credit
    return candidate


def taught(config: CampaignConfig) -> Feasibility:
    """Chlorides of sodium always come through, those of iron never."""
    feasibility = Feasibility(config.feasibility)
    for index in range(40):
        fate = Fate.SCORED if index % 2 else Fate.UNSTABLE
        structure = crystal("Na" if index % 2 else "Fe", "Cl")
        feasibility.remember([Candidate(0, index, structure, fate=fate)])
    feasibility.update(np.random.default_rng(0))
    return feasibility


def make(**changes: object) -> tuple[Lessons, ReplayBuffer, RewardModel]:
    config = CampaignConfig.model_validate({**SETTINGS, **changes})
    replay = ReplayBuffer(config.replay)
    lessons = Lessons(config, replay, DiversityFilter(config.diversity), taught(config))
    return lessons, replay, RewardModel(config.objectives, config.aggregation)


def test_what_is_never_stable_is_hardly_learned_and_keeps_its_reward():
    lessons, replay, rewards = make()
    candidates = [scored(0, crystal("Na", "Cl"), 0.5), scored(1, crystal("Fe", "Cl"), 0.9)]
    replay.add(crystal("Fe", "Fe", "Cl"), "Fe2Cl", 0.8)
    structures, shares = lessons.choose(candidates, rewards, 5, np.random.default_rng(0))
    learned = {s.composition.reduced_formula: credit for s, credit in zip(structures, shares, strict=True)}
    assert learned["NaCl"] == pytest.approx(0.5)  # the surest of them: in full, and the better half of the two
    assert "FeCl" not in learned
    assert learned["Fe2Cl"] < 0.1
    assert [c.credit for c in candidates] == [0.5, 0.9]


def test_without_feasibility_only_the_reward_counts():
    lessons, _, rewards = make(feasibility={"enabled": False})
    candidates = [scored(0, crystal("Na", "Cl"), 0.5), scored(1, crystal("Fe", "Cl"), 0.9)]
    structures, shares = lessons.choose(candidates, rewards, 5, np.random.default_rng(0))
    assert [s.composition.reduced_formula for s in structures] == ["FeCl"]
    assert shares == [0.9]


def test_where_all_kinds_are_alike_rewards_stay_as_they_are():
    lessons, replay, rewards = make()
    for name, reward in (("Na2Cl", 0.3), ("NaCl2", 0.6)):
        replay.add(crystal(*(["Na", "Na", "Cl"] if name == "Na2Cl" else ["Na", "Cl", "Cl"])), name, reward)
    _, shares = lessons.choose([scored(0, crystal("Na", "Cl"), 0.9)], rewards, 5, np.random.default_rng(0))
    assert sorted(shares) == pytest.approx([0.3, 0.6, 0.9], rel=0.2)


def test_nothing_to_learn_from_is_no_error():
    lessons, _, rewards = make()
    assert lessons.choose([], rewards, 0, np.random.default_rng(0)) == ([], [])


def test_the_surest_kind_leads_though_its_reward_is_smaller():
    def second_to_first(sharpness: float) -> float:
        lessons, replay, rewards = make(learning={"sharpness": sharpness})
        replay.add(crystal("Fe", "Fe", "Cl"), "Fe2Cl", 0.8)
        candidates = [scored(0, crystal("Na", "Cl"), 0.5)]
        structures, worth = lessons.choose(candidates, rewards, 5, np.random.default_rng(0))
        learned = {s.composition.reduced_formula: w for s, w in zip(structures, worth, strict=True)}
        return learned["Fe2Cl"] / learned["NaCl"]

    assert second_to_first(1.0) == pytest.approx(second_to_first(0.0) * np.exp(-2))  # two standard deviations


def sharpened(sharpness: float, *rewards: float) -> list[float]:
    lessons, _, model = make(learning={"top_fraction": 1, "sharpness": sharpness}, feasibility={"enabled": False})
    candidates = [scored(i, crystal("Na", "Cl"), reward) for i, reward in enumerate(rewards)]
    return lessons.choose(candidates, model, 5, np.random.default_rng(0))[1]


def test_the_best_lesson_counts_in_full_and_the_others_by_how_far_they_are_behind():
    assert sharpened(0, 0.8, 0.4) == pytest.approx([0.8, 0.4])
    assert sharpened(1, 0.8, 0.4) == pytest.approx([0.8, 0.4 * np.exp(-2)])  # two standard deviations behind


def test_sharpness_is_the_same_however_close_the_rewards_are():
    far, near = sharpened(1, 0.8, 0.6, 0.4), sharpened(1, 0.80, 0.79, 0.78)
    assert np.divide(far, [0.8, 0.6, 0.4]) == pytest.approx(np.divide(near, [0.80, 0.79, 0.78]))


@pytest.mark.parametrize("rewards", [(0.0,), (0.0, 0.0), (0.7,), (0.7, 0.7, 0.7), ()])
def test_lessons_that_are_alike_count_in_full_and_nothing_stays_nothing(rewards):
    assert sharpened(3, *rewards) == pytest.approx(list(rewards))
