"""Curves over seeds whose iterations spend different numbers of evaluations."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from matinvent.experiments.curves import curve, hits_so_far, metric


def campaign(each: int, iterations: int, **columns: list[float]) -> SimpleNamespace:
    """A campaign that spends ``each`` evaluations in an iteration and finds a hit in every one."""
    spent = each * np.arange(1, iterations + 1)
    metrics = pd.DataFrame({"evaluations": spent, "hits": 1, **columns})
    return SimpleNamespace(record=SimpleNamespace(metrics=metrics))


def test_campaigns_are_averaged_at_equal_numbers_of_evaluations():
    fast, slow = campaign(12, 20), campaign(6, 30)
    line = curve([fast, slow], hits_so_far)
    assert (line.x[0], line.x[-1]) == (12, 180)  # the slow one ends there
    assert (np.diff(line.x) > 0).all()
    assert (np.diff(line.mean) > 0).all()
    at_60 = np.flatnonzero(line.x == 60)[0]
    assert line.mean[at_60] == pytest.approx((5 + 10) / 2)
    assert line.sd[at_60] == pytest.approx(math.sqrt(2 * 2.5**2))
    ((x, y),) = line.rest
    assert (x[0], y[0], x[-1], y[-1]) == (180, 15, 240, 20)


def test_iterations_without_a_value_are_bridged():
    line = curve([campaign(10, 4, reward=[0.1, math.nan, 0.3, 0.3])], metric("reward"))
    assert line.x.tolist() == [10, 30, 40]
    assert line.mean.tolist() == [0.1, 0.3, 0.3]
    assert (line.sd == 0).all()
    assert line.rest == ()


def test_iterations_that_evaluated_nothing_are_one_point():
    line = curve([campaign(0, 3, reward=[0.1, 0.2, 0.3])], metric("reward"))
    assert (line.x.tolist(), line.mean.tolist()) == ([0], [0.3])


def test_nothing_measured_is_no_curve():
    line = curve([campaign(10, 2)], metric("reward"))
    assert (len(line.x), line.rest, line.seeds) == (0, (), 1)


def test_a_campaign_that_begins_after_another_has_ended_is_still_shown():
    line = curve([campaign(10, 1), campaign(20, 2)], hits_so_far)
    assert len(line.x) == 0
    assert [x[-1] for x, _ in line.rest] == [40]
