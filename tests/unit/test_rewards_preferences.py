"""Weights that move: where they are, that they repeat, and that with them a whole front is wanted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError, Failure
from matinvent.rewards.model import RewardModel, Score
from matinvent.rewards.preferences import Preferences

SEEDS = st.integers(0, 2**32 - 1)
KINDS = ["weighted_mean", "geometric_mean", "product", "chebyshev"]
SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=5)


def goal(name: str, weight: float = 1.0, role: str = "objective") -> ObjectiveConfig:
    """The score equals the value inside [0, 1]."""
    return ObjectiveConfig.model_validate(
        {"property": name, "kind": "maximize", "lo": 0, "hi": 1, "weight": weight, "role": role}
    )


def model(n: int, kind: str = "chebyshev", per_iteration: int = 4, seed: int = 0) -> RewardModel:
    return RewardModel([goal(f"g{i}") for i in range(n)], kind, preferences=Preferences(seed, per_iteration))


def named(scores: list[float]) -> dict[str, float]:
    return {f"g{i}": score for i, score in enumerate(scores)}


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 9))
def test_preferences_are_weights(seed, iteration, goals, per_iteration):
    weights = np.array(Preferences(seed, per_iteration).of(iteration, goals))
    assert weights.shape == (per_iteration, goals)
    assert np.isfinite(weights).all()
    assert (weights >= 0).all()
    assert weights.sum(axis=1) == pytest.approx(1)


@given(SEEDS, st.integers(0, 1000), st.integers(0, 1000))
def test_they_depend_on_seed_and_iteration_only(seed, iteration, other):
    used = Preferences(seed)
    used.of(other, 3)
    assert used.of(iteration, 3) == Preferences(seed).of(iteration, 3)
    assert Preferences(seed).of(iteration, 3) != Preferences(seed ^ 1).of(iteration, 3)
    if other != iteration:
        assert used.of(other, 3) != used.of(iteration, 3)


@given(SEEDS, st.integers(0, 1000), st.integers(1, 5))
def test_no_compromise_between_two_goals_is_left_out_for_long(seed, first, per_iteration):
    preferences = Preferences(seed, per_iteration)
    drawn = [w for step in range(-(-20 // per_iteration)) for w, _ in preferences.of(first + step, 2)]
    assert np.diff(sorted([0.0, *drawn, 1.0])).max() < 0.15  # 20 at random leave gaps of 0.17 on the average


@pytest.mark.parametrize("goals", [3, 4])
def test_nor_one_between_more_goals(goals):
    weights = np.array([w for step in range(50) for w in Preferences(1).of(step, goals)])
    assert weights.mean(axis=0) == pytest.approx(1 / goals, abs=0.03)
    corners = np.random.default_rng(0).dirichlet(np.ones(goals), 500)
    nearest = np.abs(corners[:, None] - weights[None]).max(axis=2).min(axis=1)
    assert nearest.max() < 0.2


@pytest.mark.parametrize("kind", KINDS)
@given(SCORES, st.integers(0, 100))
def test_worth_is_a_reward_no_goal_exceeds(kind, scores, iteration):
    worth = model(len(scores), kind).worth(named(scores), iteration)
    assert 0 <= worth <= max(scores) + 1e-12


@pytest.mark.parametrize("kind", KINDS)
@given(SCORES, st.integers(0, 100), st.data())
def test_a_better_score_is_never_worth_less(kind, scores, iteration, data):
    which = data.draw(st.integers(0, len(scores) - 1))
    better = [*scores]
    better[which] = data.draw(st.floats(scores[which], 1))
    rewards = model(len(scores), kind)
    assert rewards.worth(named(better), iteration) >= rewards.worth(named(scores), iteration) - 1e-12


@given(SCORES, st.integers(0, 100))
def test_without_preferences_the_worth_is_the_reward(scores, iteration):
    fixed = RewardModel([goal(f"g{i}", i + 1) for i in range(len(scores))], "chebyshev")
    score = fixed.score(named(scores))
    assert isinstance(score, Score)
    assert fixed.worth(score.scores, iteration) == score.reward


@given(SCORES)
def test_the_reward_itself_does_not_move(scores):
    moving, fixed = model(len(scores)), RewardModel([goal(f"g{i}") for i in range(len(scores))], "chebyshev")
    assert moving.score(named(scores)) == fixed.score(named(scores))


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_every_part_of_a_front_is_the_best_in_some_iteration(exponent):
    """Also of a front that is not convex (exponent 2), where weighted means want nothing but its ends."""
    front = [((i / 10) ** exponent, (1 - i / 10) ** exponent) for i in range(11)]
    found = {kind: set() for kind in ("chebyshev", "weighted_mean")}
    for kind, best in found.items():
        rewards = model(2, kind, per_iteration=1)
        for iteration in range(200):
            best.add(max(range(11), key=lambda i: rewards.worth(named(list(front[i])), iteration)))
    assert found["chebyshev"] >= set(range(1, 10))
    if exponent == 2:
        assert found["weighted_mean"] == {0, 10}


def test_with_fixed_weights_only_one_part_is():
    front = [((i / 10) ** 2, (1 - i / 10) ** 2) for i in range(11)]
    fixed = RewardModel([goal("g0"), goal("g1")], "chebyshev")
    assert {max(range(11), key=lambda i: fixed.worth(named(list(front[i])), n)) for n in range(50)} == {5}


def test_several_preferences_see_several_crystals():
    """A crystal is worth what the preference that likes it best says: more preferences, more worth."""
    one, many = model(2, per_iteration=1), model(2, per_iteration=16)
    mean = [np.mean([m.worth({"g0": 0.9, "g1": 0.1}, i) for i in range(64)]) for m in (one, many)]
    assert mean[1] > mean[0] + 0.1


def test_weights_of_the_objectives_still_count():
    heavy = RewardModel([goal("g0", 9), goal("g1", 1)], "weighted_mean", preferences=Preferences(0, 1))
    plain = model(2, "weighted_mean", per_iteration=1)
    worth = [np.mean([m.worth({"g0": 1.0, "g1": 0.0}, i) for i in range(64)]) for m in (heavy, plain)]
    assert worth[1] == pytest.approx(0.5, abs=0.02)
    assert worth[0] > 0.7


def test_a_penalty_multiplies_the_worth_and_is_no_goal():
    rewards = RewardModel([goal("g0"), goal("g1"), goal("p", role="penalty")], "chebyshev", preferences=Preferences(0))
    scores = {"g0": 0.8, "g1": 0.4}
    assert rewards.worth({**scores, "p": 0.5}, 7) == pytest.approx(0.5 * model(2).worth(scores, 7))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_what_is_not_finite_never_gets_a_score_to_be_worth_something(bad):
    assert isinstance(model(2).score({"g0": 1.0, "g1": bad}), Failure)


def test_preferences_that_cannot_be():
    with pytest.raises(ConfigError, match="two or more objectives"):
        RewardModel([goal("g0"), goal("p", role="penalty")], "chebyshev", preferences=Preferences(0))
    with pytest.raises(ConfigError, match="use 'chebyshev'"):
        RewardModel([goal("g0"), goal("g1")], "min", preferences=Preferences(0))
    with pytest.raises(ValueError, match="at least one"):
        Preferences(0, 0)
