"""Fronts and hypervolumes: known ones, and what must hold for any."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matinvent.rewards.pareto import hypervolume, pareto_front

POINTS = st.integers(1, 4).flatmap(
    lambda d: st.lists(st.tuples(*[st.integers(0, 8).map(lambda k: k / 8)] * d), min_size=1, max_size=12)
)


def test_a_front_by_hand():
    scores = [(0.9, 0.1), (0.5, 0.5), (0.4, 0.5), (0.1, 0.9), (0.5, 0.5), (0.1, 0.2)]
    assert pareto_front(scores).tolist() == [True, True, False, True, True, False]


@given(POINTS)
def test_the_front_is_what_nobody_beats(points):
    array = np.array(points)
    expected = [not any((other >= point).all() and (other > point).any() for other in array) for point in array]
    assert pareto_front(array).tolist() == expected
    assert any(expected)


@given(POINTS)
def test_the_volume_is_counted_on_a_grid(points):
    """Scores are multiples of 1/8, so that cells of that size are inside or outside as a whole."""
    array = np.array(points)
    middles = np.array(list(itertools.product((np.arange(8) + 0.5) / 8, repeat=array.shape[1])))
    inside = (middles[:, None] <= array[None]).all(axis=2).any(axis=1)
    assert hypervolume(array) == pytest.approx(inside.mean(), abs=1e-12)


@given(POINTS, st.randoms())
def test_neither_order_nor_beaten_points_matter(points, random):
    array = np.array(points)
    shuffled = list(range(len(array)))
    random.shuffle(shuffled)
    assert hypervolume(array[shuffled]) == pytest.approx(hypervolume(array))
    assert hypervolume(array[pareto_front(array)]) == pytest.approx(hypervolume(array))
    assert hypervolume(np.vstack([array, array[:1] / 2])) == pytest.approx(hypervolume(array))
    assert hypervolume(array[:, ::-1]) == pytest.approx(hypervolume(array))


@given(POINTS, st.data())
def test_another_crystal_never_takes_ground_away(points, data):
    array = np.array(points)
    new = data.draw(st.tuples(*[st.floats(0, 1)] * array.shape[1]))
    assert hypervolume(np.vstack([array, new])) >= hypervolume(array) - 1e-12


def test_nothing_covers_nothing():
    assert hypervolume(np.zeros((0, 2))) == 0
    assert pareto_front(np.zeros((0, 3))).tolist() == []
    assert hypervolume([(-1.0, 5.0)]) == 0


@pytest.mark.parametrize("scores", [[0.5, 0.5], [[0.5, float("nan")]], [[float("inf"), 1]]])
def test_what_is_no_set_of_finite_points_is_refused(scores):
    with pytest.raises(ValueError, match="scores must"):
        hypervolume(scores)
