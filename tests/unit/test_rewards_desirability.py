"""Desirability: the paper's ramps, their bounds and symmetries, and values that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.config_goals import ObjectiveConfig
from matinvent.errors import ConfigError
from matinvent.properties.evaluator import PropertyInfo
from matinvent.rewards.desirability import desirability, refuse_pointless

VALUES = st.floats(-1e6, 1e6)
BOUNDS = st.tuples(st.floats(-1e3, 1e3), st.floats(0.1, 1e3)).map(lambda pair: (pair[0], pair[0] + pair[1]))


def objective(kind: str, lo: float, hi: float, target: float | None = None) -> ObjectiveConfig:
    return ObjectiveConfig(property="x", kind=kind, lo=lo, hi=hi, target=target)


@pytest.mark.parametrize(
    ("kind", "lo", "hi", "target", "value", "expected"),
    [
        ("target", 0, 10, 18, 18.0, 1.0),  # density, g/cm^3
        ("target", 0, 10, 18, 13.0, 0.5),
        ("target", 0, 10, 18, 23.0, 0.5),
        ("target", 0, 10, 18, 5.0, 0.0),
        ("target", 0, 2, 3.0, 2.5, 0.75),  # band gap, eV
        ("target", 0.1, 2.1, 3.0, 3.1, 1.0),  # lo is the half width within which all is perfect
        ("minimize", 750, 3250, None, 750, 1.0),  # reserve-based HHI
        ("minimize", 750, 3250, None, 1250, 0.8),
        ("minimize", 750, 3250, None, 9000, 0.0),
        ("maximize", 0, 0.25, None, 0.2, 0.8),  # magnetic density, muB/A^3
        ("maximize", 0.25, 2.0, None, 0.25, 0.0),  # heat capacity, J/(g K)
        ("maximize", 0.25, 2.0, None, 3.0, 1.0),
        ("minimize", -3.5, -1.0, None, -3.5, 1.0),  # formation energy, eV/atom
    ],
)
def test_the_papers_tasks(kind, lo, hi, target, value, expected):
    assert desirability(value, objective(kind, lo, hi, target)) == pytest.approx(expected, abs=1e-12)


def test_an_integer_target_is_a_target():
    # Known fault of the released code: a target written as 18 instead of 18.0 crashes.
    assert desirability(18, objective("target", 0, 10, 18)) == 1.0


@pytest.mark.parametrize("kind", ["maximize", "minimize", "target"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_never_a_score(kind, value):
    # Known fault of the released code: an infinite property earns the reward 1.
    with pytest.raises(ValueError, match="finite"):
        desirability(value, objective(kind, 0, 1, 0.5 if kind == "target" else None))


@given(VALUES, BOUNDS, st.sampled_from(["maximize", "minimize"]))
def test_scores_lie_between_0_and_1(value, bounds, kind):
    assert 0 <= desirability(value, objective(kind, *bounds)) <= 1


@given(VALUES, VALUES, BOUNDS)
def test_maximize_never_falls_and_minimize_mirrors_it(one, two, bounds):
    up, down = objective("maximize", *bounds), objective("minimize", *bounds)
    low, high = sorted((one, two))
    assert desirability(low, up) <= desirability(high, up)
    assert desirability(one, down) == 1 - desirability(one, up)


@given(st.integers(-1000, 1000), st.integers(-1000, 1000))
def test_target_is_symmetric_and_best_at_the_target(target, distance):
    wanted = objective("target", 0, 100, target)
    assert desirability(target + distance, wanted) == desirability(target - distance, wanted)
    assert desirability(target + distance, wanted) <= desirability(target, wanted) == 1


SHAPES = st.sampled_from(["linear", "sigmoid", "step"])


def wanted(kind: str, **changes: object) -> ObjectiveConfig:
    """Something of each kind, with the ramp from 1 to 3."""
    extra = {"target": {"target": 5.0}, "range": {"range": (4.0, 6.0)}}.get(kind, {})
    return ObjectiveConfig.model_validate({"property": "x", "kind": kind, "lo": 1.0, "hi": 3.0, **extra, **changes})


@given(VALUES, st.sampled_from(["maximize", "minimize", "target", "range"]), SHAPES, st.floats(0.1, 100))
def test_every_shape_stays_between_0_and_1(value, kind, shape, steepness):
    assert 0 <= desirability(value, wanted(kind, shape=shape, steepness=steepness, hit=(-99, 99))) <= 1


@given(st.floats(-20, 20), st.floats(-20, 20), SHAPES)
def test_every_shape_is_monotonic(one, two, shape):
    low, high = sorted((one, two))
    up, down = wanted("maximize", shape=shape), wanted("minimize", shape=shape)
    assert desirability(low, up) <= desirability(high, up)
    assert desirability(low, down) >= desirability(high, down)
    band = wanted("range", shape=shape)
    near, far = sorted((one, two), key=lambda x: max(4 - x, x - 6, 0))
    assert desirability(near, band) >= desirability(far, band)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3.0, 1.0), (4.0, 1.0), (5.3, 1.0), (7.0, 1.0), (8.0, 0.5), (2.0, 0.5), (9.5, 0.0), (0.5, 0.0)],
)
def test_all_of_a_range_is_equally_good(value, expected):
    assert desirability(value, wanted("range")) == pytest.approx(expected)


@given(st.floats(-20, 20), SHAPES)
def test_a_target_is_a_range_without_width(value, shape):
    point = wanted("range", range=(5.0, 5.0), shape=shape)
    assert desirability(value, point) == desirability(value, wanted("target", shape=shape))


@pytest.mark.parametrize("kind", ["maximize", "minimize"])
def test_a_sigmoid_is_half_in_the_middle_and_keeps_its_slope(kind):
    smooth = wanted(kind, shape="sigmoid", steepness=8.0)
    assert desirability(2.0, smooth) == 0.5
    slope = (desirability(2.001, smooth) - desirability(1.999, smooth)) / 0.002
    assert abs(slope) == pytest.approx(8.0 / 4 / 2, rel=1e-4)  # a quarter of the steepness per length of the ramp
    assert 0 < desirability(0.0 if kind == "maximize" else 4.0, smooth) < 0.05


@given(VALUES, VALUES, st.floats(0.1, 10), st.sampled_from(["maximize", "minimize", "target", "range"]))
def test_an_exponent_keeps_order_and_ends(one, two, exponent, kind):
    plain, raised = wanted(kind), wanted(kind, exponent=exponent)
    scores, plain_scores = ([desirability(value, o) for value in (one, two)] for o in (raised, plain))
    assert scores == pytest.approx([score**exponent for score in plain_scores])
    assert all(0 <= score <= 1 for score in scores)
    assert (scores[0] < scores[1]) <= (plain_scores[0] < plain_scores[1])


@given(st.floats(-20, 20), st.sampled_from(["maximize", "minimize", "target", "range"]))
def test_a_step_is_where_the_ramp_is_perfect(value, kind):
    perfect = desirability(value, wanted(kind)) == 1
    assert desirability(value, wanted(kind, shape="step")) == perfect


@given(
    st.floats(-20, 20), st.floats(0, 5), st.floats(0, 3), st.sampled_from(["maximize", "minimize", "target", "range"]),
    st.floats(-1, 1),
)  # fmt: skip
def test_confidence_scores_the_worst_of_the_interval(value, uncertainty, confidence, kind, where):
    cautious = wanted(kind, confidence=confidence)
    inside = value + where * confidence * uncertainty
    assert desirability(value, cautious, uncertainty) <= desirability(inside, wanted(kind)) + 1e-9
    assert desirability(value, cautious) == desirability(value, wanted(kind))


@pytest.mark.parametrize("uncertainty", [math.inf, math.nan])
def test_an_infinite_uncertainty_is_never_a_score(uncertainty):
    with pytest.raises(ValueError, match="finite"):
        desirability(2.0, wanted("maximize"), uncertainty)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "range", "hi": 1}, "'range' must be given"),
        ({"kind": "maximize", "lo": 0, "hi": 1, "shape": "step", "exponent": 2}, "'exponent' is one of the linear"),
        ({"kind": "target", "hi": 1, "range": (1, 2)}, "'target' must be given"),
        ({"kind": "range", "hi": 1, "range": (3, 2)}, "must not exceed"),
        ({"kind": "maximize", "hi": 1}, "lo"),
        ({"kind": "maximize", "lo": 0, "hi": 1, "confidence": -1}, "confidence"),
        ({"kind": "maximize", "lo": 0, "hi": 1, "steepness": 0}, "steepness"),
        ({"kind": "target", "target": 1, "lo": -1, "hi": 1}, "is a distance from the target"),
        ({"kind": "target", "target": 1, "hi": 1, "shape": "step"}, "is never met"),
        ({"kind": "target", "target": 5, "hi": 1, "hit": (17, 19)}, "those from 5 to 5 do"),
        ({"kind": "range", "range": (1, 2), "lo": 1, "hi": 2, "hit": (3.5, None)}, "those from 0 to 3 do"),
        ({"kind": "maximize", "lo": 0, "hi": 3, "hit": (None, 1)}, "those from 3 to inf do"),
        ({"kind": "minimize", "lo": 0, "hi": 3, "hit": (1, None)}, "those from -inf to 0 do"),
        ({"kind": "minimize", "lo": 0, "hi": 3, "hit": (None, None)}, "makes a hit of every crystal"),
        ({"kind": "target", "target": 1, "hi": 1, "shape": "sigmoid", "steepness": 4}, "no value scores 0.9"),
        ({"kind": "maximize", "lo": 0, "hi": 1, "role": "penalty", "weight": 2}, "a penalty is no goal"),
    ],
)
def test_objectives_that_contradict_themselves(settings, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig.model_validate({"property": "x", **settings})


def test_target_and_range_need_no_lower_distance():
    assert ObjectiveConfig(property="x", kind="range", range=(1, 2), hi=1).lo == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "target", "target": 18_000, "hi": 5000}, "no possible value scores above 0"),
        ({"kind": "minimize", "lo": -20, "hi": 0}, "no possible value scores above 0"),
        ({"kind": "maximize", "lo": -20, "hi": -10}, "every possible value scores 1"),
        ({"kind": "target", "target": 18, "hi": 5}, ""),
        ({"kind": "maximize", "lo": 0, "hi": 100}, ""),
        ({"kind": "range", "range": (-5, 1), "hi": 1}, ""),
        ({"kind": "minimize", "lo": 0, "hi": 1e9}, ""),
    ],
)
def test_an_objective_in_a_wrong_unit_is_pointless(settings, message):
    density = PropertyInfo("density", "g/cm^3", "Mass per volume.", (0.0, 50.0), "instant", "")
    objective = ObjectiveConfig.model_validate({"property": "density", **settings})
    if message:
        with pytest.raises(ConfigError, match=f"density lies between 0 and 50 g/cm.3, so that {message}"):
            refuse_pointless(objective, density)
    else:
        refuse_pointless(objective, density)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "target", "target": 18, "hi": 5}, "x of 18"),
        ({"kind": "range", "range": (1.1, 1.7), "hi": 1}, "x from 1.1 to 1.7"),
        ({"kind": "maximize", "lo": 0, "hi": 1}, "high x"),
        ({"kind": "minimize", "lo": 0, "hi": 1, "hit": (None, 0.5)}, "x below 0.5"),
    ],
)
def test_goals_in_words(settings, words):
    assert ObjectiveConfig.model_validate({"property": "x", **settings}).in_words() == words
