"""From properties to one reward: aggregation, weights, and what must never become a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError, Failure
from matinvent.rewards.aggregation import AGGREGATIONS, normalise
from matinvent.rewards.model import RewardModel, Score

KINDS = ["weighted_mean", "geometric_mean", "product", "min", "chebyshev"]
CASES = st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), min_size=1, max_size=6)


def objective(name: str, weight: float = 1.0) -> ObjectiveConfig:
    """The score equals the value inside [0, 1]."""
    return ObjectiveConfig(property=name, kind="maximize", lo=0, hi=1, weight=weight)


def aggregate(kind: str, scores: list[float], weights: list[float]) -> float:
    return AGGREGATIONS[kind](scores, normalise(weights))


@pytest.mark.parametrize("kind", KINDS)
@given(CASES)
def test_rewards_lie_between_0_and_1_and_never_above_the_best_score(kind, cases):
    scores, weights = [list(part) for part in zip(*cases, strict=True)]
    assert 0 <= aggregate(kind, scores, weights) <= max(scores) + 1e-12 <= 1 + 1e-12


@pytest.mark.parametrize("kind", KINDS)
@given(CASES, st.floats(0.01, 100))
def test_only_the_ratio_of_weights_matters(kind, cases, factor):
    scores, weights = [list(part) for part in zip(*cases, strict=True)]
    one = aggregate(kind, scores, weights)
    two = aggregate(kind, scores, [factor * weight for weight in weights])
    assert one == pytest.approx(two, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@given(CASES)
def test_the_order_of_objectives_does_not_matter(kind, cases):
    scores, weights = [list(part) for part in zip(*cases, strict=True)]
    assert aggregate(kind, scores, weights) == pytest.approx(
        aggregate(kind, scores[::-1], weights[::-1]), rel=1e-9, abs=1e-12
    )


@pytest.mark.parametrize("kind", KINDS)
@given(CASES, st.data())
def test_a_better_score_never_lowers_the_reward(kind, cases, data):
    scores, weights = [list(part) for part in zip(*cases, strict=True)]
    which = data.draw(st.integers(0, len(scores) - 1))
    better = [*scores]
    better[which] = data.draw(st.floats(scores[which], 1))
    assert aggregate(kind, better, weights) >= aggregate(kind, scores, weights) - 1e-12


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("weighted_mean", 0.65),
        ("geometric_mean", math.sqrt(0.4)),
        ("product", 0.4),
        ("min", 0.5),
        ("chebyshev", 0.5),
    ],
)
def test_two_equal_weights(kind, expected):
    assert aggregate(kind, [0.5, 0.8], [1, 1]) == pytest.approx(expected)


def test_weights_count():
    # The paper's high-k task: 0.8, 0.1, 0.1.
    assert aggregate("weighted_mean", [1.0, 0.5, 0.0], [0.8, 0.1, 0.1]) == pytest.approx(0.85)
    assert aggregate("geometric_mean", [0.5, 1.0], [3, 1]) == pytest.approx(0.5**0.75)
    assert aggregate("product", [0.5, 1.0], [3, 1]) == pytest.approx(0.5**1.5)
    assert aggregate("chebyshev", [0.8, 0.1], [3, 1]) == pytest.approx(0.7)  # 1 - max(0.2, 0.9 / 3)


@given(st.tuples(st.floats(0, 1), st.floats(0, 1)), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_chebyshev_finds_every_point_of_a_front(one, two):
    """Of two crystals neither of which is better in both, some weights prefer either."""
    if not (one[0] > two[0] + 0.05 and one[1] < two[1] - 0.05 and min(*one, *two) > 0.01 and max(*one, *two) < 0.95):
        return
    for best, other in ((one, two), (two, one)):
        weights = [1 / (1 - score) for score in best]
        assert aggregate("chebyshev", list(best), weights) > aggregate("chebyshev", list(other), weights)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_objective_is_its_own_reward(kind):
    assert aggregate(kind, [0.3], [7.0]) == pytest.approx(0.3)


def test_weights_may_be_as_large_as_numbers_get():
    assert normalise([1e308, 1e308]) == [0.5, 0.5]


def test_weights_that_do_not_sum_to_one_keep_the_reward_in_bounds():
    # Known fault of the released code: weights 1 and 1 give a reward of 2, and the divergence changes sign.
    model = RewardModel([objective("a"), objective("b")], "weighted_mean")
    assert model.score({"a": 1.0, "b": 1.0}) == Score(1.0, {"a": 1.0, "b": 1.0}, hit=True)


@pytest.mark.parametrize("aggregation", KINDS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None])
def test_a_missing_or_infinite_property_fails_the_crystal(aggregation, bad):
    model = RewardModel([objective("a"), objective("b")], aggregation)
    result = model.score({"a": 1.0, "b": bad})
    assert isinstance(result, Failure)
    assert "b" in result.reason


def test_an_absent_property_is_not_left_out_of_the_mean():
    result = RewardModel([objective("a"), objective("b")], "weighted_mean").score({"a": 1.0})
    assert result == Failure("missing-property", "b was not evaluated")


def test_a_failed_evaluation_stays_what_it_is():
    failure = Failure("timeout", "no result within 5 s")
    assert RewardModel([objective("a")], "min").score(failure) is failure


def test_properties_without_objective_do_not_matter():
    model = RewardModel([objective("a")], "weighted_mean")
    assert model.score({"a": 0.25, "b": math.nan}) == Score(0.25, {"a": 0.25}, hit=False)


def test_scores_are_reported_per_objective():
    result = RewardModel([objective("a", 3), objective("b", 1)], "weighted_mean").score({"a": 0.5, "b": 2.0})
    assert result == Score(pytest.approx(0.625), {"a": 0.5, "b": 1.0}, hit=False)


@pytest.mark.parametrize(
    ("objectives", "aggregation", "message"),
    [
        ([], "min", "at least one"),
        ([objective("a")], "mean", "weighted_mean"),
        ([objective("a", 2), objective("b", 1)], "min", "weights"),
    ],
)
def test_reward_models_that_cannot_be(objectives, aggregation, message):
    with pytest.raises(ConfigError, match=message):
        RewardModel(objectives, aggregation)


def test_a_penalty_multiplies_the_reward_and_takes_no_weight():
    penalty = ObjectiveConfig(property="p", kind="minimize", lo=0, hi=1, role="penalty")
    model = RewardModel([objective("a", 3), objective("b", 1), penalty], "weighted_mean")
    assert model.score({"a": 0.5, "b": 0.5, "p": 0.2}) == Score(
        pytest.approx(0.4), {"a": 0.5, "b": 0.5, "p": 0.8}, hit=False
    )
    assert isinstance(model.score({"a": 0.5, "b": 0.5, "p": math.nan}), Failure)
    with pytest.raises(ConfigError, match="not a penalty"):
        RewardModel([penalty], "min")


def test_confidence_needs_and_uses_the_uncertainty():
    cautious = ObjectiveConfig(property="a", kind="maximize", lo=0, hi=1, confidence=2)
    with pytest.raises(ConfigError, match="a comes without an uncertainty"):
        RewardModel([cautious], "min")
    model = RewardModel([cautious], "min", {"a": "a_std"})
    assert model.score({"a": 0.9, "a_std": 0.1}) == Score(pytest.approx(0.7), {"a": pytest.approx(0.7)}, hit=False)
    assert isinstance(model.score({"a": 0.9}), Failure)
    assert isinstance(model.score({"a": 0.9, "a_std": math.inf}), Failure)


@pytest.mark.parametrize(
    ("values", "hit"),
    [
        ({"gap": 3.05, "k": 40}, True),
        ({"gap": 2.8, "k": 40}, False),
        ({"gap": 3.05, "k": 29}, False),
        ({"gap": 3.1, "k": 30}, True),
    ],
)
def test_a_hit_meets_every_objective_unless_a_penalty_forbids_it(values, hit):
    model = RewardModel(
        [
            ObjectiveConfig(property="gap", kind="target", target=3, hi=2, hit=(2.9, 3.1)),
            ObjectiveConfig(property="k", kind="maximize", lo=10, hi=100, hit=(30, None)),
            ObjectiveConfig(property="cost", kind="minimize", lo=0, hi=1, role="penalty"),
        ],
        "min",
    )
    score = model.score({**values, "cost": 0.75})
    assert isinstance(score, Score)
    assert score.hit is hit
    forbidden = model.score({**values, "cost": 10.0})
    assert isinstance(forbidden, Score)
    assert (forbidden.reward, forbidden.hit) == (0.0, False)


def test_a_hit_is_sure_where_confidence_is_asked_for():
    goal = ObjectiveConfig(property="gap", kind="range", range=(1.1, 1.7), hi=1, hit=(1.1, 1.7), confidence=1)
    model = RewardModel([goal], "weighted_mean", {"gap": "gap_std"})
    hits = [model.score({"gap": 1.4, "gap_std": spread}).hit for spread in (0.0, 0.2, 0.4, 2.0)]
    assert hits == [True, True, False, False]


def test_without_bounds_a_score_of_nine_tenths_is_a_hit():
    model = RewardModel([objective("a")], "min")
    hits = [model.score({"a": value}) for value in (0.85, 0.9, 1.5)]
    assert [score.hit for score in hits if isinstance(score, Score)] == [False, True, True]


def test_bounds_of_a_hit_have_an_order():
    with pytest.raises(ValueError, match=r"hit: 3\.0 must not exceed 2\.0"):
        ObjectiveConfig(property="a", kind="maximize", lo=0, hi=1, hit=(3, 2))
