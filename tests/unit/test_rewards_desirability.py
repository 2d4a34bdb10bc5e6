"""Desirability: the paper's ramps, their bounds and symmetries, and values that are none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.config import ObjectiveConfig
from matinvent.rewards.desirability import desirability

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
