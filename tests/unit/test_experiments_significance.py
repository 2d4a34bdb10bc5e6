"""Statistics of comparisons: against hand computation and textbook values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matinvent.experiments.significance import RateRatio, Spread, effect_size, permutation_p, welch_p

samples = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def test_spread_is_that_of_students_t():
    spread = Spread.of([1.0, 2.0, None, 3.0, math.nan])
    assert spread is not None
    assert (spread.n, spread.mean, spread.sd) == (3, 2.0, 1.0)
    half = 4.302653 / math.sqrt(3)  # t of 2 degrees of freedom, 97.5 %
    assert spread.low == pytest.approx(2 - half, abs=1e-5)
    assert spread.high == pytest.approx(2 + half, abs=1e-5)


def test_spread_of_one_and_of_none():
    assert Spread.of([0.5]) == Spread(1, 0.5)
    assert Spread.of([None]) is None


def test_effect_size_by_hand():
    # Variances 1 and 4, pooled 2.5.
    assert effect_size([1, 2, 3], [3, 5, 7]) == pytest.approx(3 / math.sqrt(2.5))
    assert effect_size([1, 1], [1, 1]) is None
    assert effect_size([1], [2, 3]) is None


def test_permutation_test_counts_relabellings():
    # Of the 20 ways to label six values, two separate them completely.
    assert permutation_p([0, 0, 0], [1, 1, 1]) == pytest.approx(2 / 20)
    assert permutation_p([1, 2], [1, 2]) == 1.0
    # Differences of means of {1, 2, 4} split 1 + 2: 1 | 2, 4: 2; 2 | 1, 4: 1/2; 4 | 1, 2: -5/2.
    assert permutation_p([1], [2, 4]) == pytest.approx(2 / 3)
    assert permutation_p([], [1]) is None


def test_drawn_relabellings_agree_with_all_of_them():
    before, after = [0.1, 0.3, 0.2, 0.5, 0.4, 0.3, 0.2], [0.4, 0.5, 0.3, 0.6, 0.7, 0.4, 0.5]
    exact = permutation_p(before, after)
    drawn = permutation_p(before * 2, after * 2)  # 28 over 14 relabellings, too many to try
    assert exact is not None
    assert drawn is not None
    assert 0 < drawn < exact < 0.05
    assert drawn == permutation_p(before * 2, after * 2)


@settings(deadline=None)
@given(samples, samples)
def test_permutation_p_is_a_probability_and_symmetric(first, second):
    p = permutation_p(first, second)
    assert p is not None
    assert 0 < p <= 1
    assert p == pytest.approx(permutation_p(second, first))


def test_welch_by_hand():
    from scipy.stats import t

    first, second = [1.0, 2.0, 3.0], [4.0, 6.0, 8.0]
    a, b = 1 / 3, 4 / 3  # variances of the means
    degrees = (a + b) ** 2 / (a**2 / 2 + b**2 / 2)
    expected = 2 * t.sf(4 / math.sqrt(a + b), degrees)
    assert welch_p(first, second) == pytest.approx(expected)
    assert welch_p([1.0], second) is None
    assert welch_p([1.0, 1.0], [2.0, 2.0]) is None
    assert welch_p([0.1 + 0.2, 0.3], [0.6, 0.6]) is None  # rounding is no spread


def test_a_ratio_of_rates_by_hand():
    # All of three events on one side: the share is at least 0.025^(1/3) (Clopper and Pearson).
    share = 0.025 ** (1 / 3)
    ratio = RateRatio.of(3, 137, 0, 240)
    assert (ratio.value, ratio.high) == (None, None)
    assert ratio.low == pytest.approx(share / (1 - share) * 240 / 137)
    assert ratio.low < 1  # three against none is not yet more often
    never = RateRatio.of(0, 137, 3, 240)
    assert (never.value, never.low) == (0.0, 0.0)
    assert never.high == pytest.approx(1 / RateRatio.of(3, 240, 0, 137).low)
    assert RateRatio.of(0, 10, 0, 10) is None
    assert RateRatio.of(1, 0, 1, 10) is None


def test_a_ratio_of_shares_by_hand():
    ratio = RateRatio.of_shares(76, 192, 384, 768)
    half = 1.96 * (1 / 76 - 1 / 192 + 1 / 384 - 1 / 768) ** 0.5  # of the logarithm (Katz)
    assert ratio.value == pytest.approx(76 / 192 / 0.5)
    assert (ratio.low, ratio.high) == pytest.approx(
        (ratio.value * math.exp(-half), ratio.value * math.exp(half)), rel=1e-4
    )
    assert RateRatio.of_shares(0, 10, 3, 10) == RateRatio(0.0, 0.0, None)
    assert RateRatio.of_shares(3, 10, 0, 10) == RateRatio(None, 0.0, None)
    assert RateRatio.of_shares(0, 10, 0, 10) is None
    assert RateRatio.of_shares(0, 0, 3, 10) is None


@pytest.mark.parametrize("share", [0.3, 0.55])
def test_the_interval_of_a_ratio_of_shares_covers_what_it_should(share):
    from scipy.stats import binom

    def chance(k: int) -> float:
        return float(binom.pmf(k, 64, share))

    likely = [k for k in range(65) if chance(k) > 1e-5]
    covered = sum(
        chance(a) * chance(b)
        for a in likely
        for b in likely
        if (ratio := RateRatio.of_shares(a, 64, b, 64)) is not None and ratio.low <= 1 <= ratio.high
    )
    assert 0.94 <= covered <= 0.97


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(1, 60), st.integers(60, 300))
def test_the_ratio_lies_within_its_interval(events, others, spent):
    ratio = RateRatio.of(events, spent, others, 240)
    assert ratio.value == pytest.approx(events / spent / (others / 240))
    assert ratio.low <= ratio.value <= ratio.high
    again = RateRatio.of(10 * events, 10 * spent, 10 * others, 2400)  # the same rates, better known
    assert again.low >= ratio.low
    assert again.high <= ratio.high


def test_the_interval_covers_what_it_should():
    from scipy.stats import binom

    # Both rates equal, 20 events in all: how often the interval has 1 in it.
    covered = sum(
        binom.pmf(k, 20, 0.5) for k in range(21) if (r := RateRatio.of(k, 100, 20 - k, 100)).low <= 1 <= (r.high or 2)
    )
    assert 0.95 <= covered < 0.99
