"""Is a difference more than chance? The few statistics that comparisons of campaigns need."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

#: Relabellings drawn when there are too many to try them all.
_DRAWS = 10_000
#: Standard deviations below this share of the mean are rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Spread:
    """A quantity over seeds.

    Attributes:
        n: seeds for which it could be measured.
        mean: their mean.
        sd: standard deviation of a seed; None for one seed.
        low, high: 95 % confidence interval of the mean (Student's t); None for one seed.
    """

    n: int
    mean: float
    sd: float | None = None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Spread | None:
        """The spread of the values that there are; None if there are none."""
        known = [float(value) for value in values if value is not None and math.isfinite(value)]
        if not known:
            return None
        mean = math.fsum(known) / len(known)
        if len(known) == 1:
            return cls(1, mean)
        from scipy.stats import t

        sd = float(np.std(known, ddof=1))
        half = float(t.ppf(0.975, len(known) - 1)) * sd / math.sqrt(len(known))
        return cls(len(known), mean, sd, mean - half, mean + half)


@dataclass(frozen=True, slots=True)
class RateRatio:
    """How many times as often events of one kind come as those of another.

    Attributes:
        value: the ratio of the rates; None where the other events never came.
        low, high: 95 % confidence interval; no upper end where it has none.
    """

    value: float | None
    low: float
    high: float | None

    @classmethod
    def of(cls, events: int, spent: int, others: int, others_spent: int) -> RateRatio | None:
        """Compare two Poisson rates, given how many events there were in all.

        The interval is that of Clopper and Pearson for the share of the first kind (Przyborowski and Wilenski,
        Biometrika 31, 313 (1940)). Events are taken as independent.

        Args:
            events: of the first kind.
            spent: what they were found among, or at what cost.
            others: of the second kind.
            others_spent: what these were found among.

        Returns:
            None where nothing ever came, or nothing was spent.
        """
        if not (spent and others_spent and events + others):
            return None
        from scipy.stats import binomtest

        share = binomtest(events, events + others).proportion_ci(0.95, method="exact")

        def ratio(p: float) -> float | None:
            return p / (1 - p) * others_spent / spent if p < 1 else None

        low = ratio(share.low)
        assert low is not None  # a lower end of 1 takes infinitely many events
        return cls(ratio(events / (events + others)), low, ratio(share.high))

    @classmethod
    def of_shares(cls, events: int, drawn: int, others: int, others_drawn: int) -> RateRatio | None:
        """Compare two shares of independent draws.

        The interval is approximate, of the ratio's logarithm (Katz et al., Biometrics 34, 469 (1978)).

        Args:
            events: draws of the first kind that count.
            drawn: all of them.
            others: draws of the second kind that count.
            others_drawn: all of these.

        Returns:
            None where no draw counts, or none was made.
        """
        if not (drawn and others_drawn and events + others):
            return None
        if not (events and others):  # the logarithm has no end
            return cls(0.0 if others else None, 0.0, None)
        from scipy.stats.contingency import relative_risk

        risk = relative_risk(events, drawn, others, others_drawn)
        interval = risk.confidence_interval(0.95)
        return cls(float(risk.relative_risk), float(interval.low), float(interval.high))


def effect_size(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Cohen's d: difference of the means by the pooled standard deviation; None where that is 0 or undefined."""
    n, m = len(before), len(after)
    if n < 2 or m < 2:
        return None
    pooled = ((n - 1) * np.var(before, ddof=1) + (m - 1) * np.var(after, ddof=1)) / (n + m - 2)
    return float((np.mean(after) - np.mean(before)) / math.sqrt(pooled)) if pooled > 0 else None


def permutation_p(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Two-sided p value of the difference of means under relabelling; None if a side is empty.

    Exact where there are at most 10,000 relabellings, else from so many drawn ones with a fixed seed, the observed one
    counted among them (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9, 39 (2010)). Asks nothing of the
    distribution of rewards, which is skewed and bounded.
    """
    n = len(before)
    if n == 0 or len(after) == 0:
        return None
    pooled = np.array([*before, *after], dtype=np.float64)
    observed = abs(float(np.mean(after)) - float(np.mean(before)))
    exact = math.comb(len(pooled), n) <= _DRAWS
    if exact:
        chosen = np.array(list(combinations(range(len(pooled)), n)))
        sums = pooled[chosen].sum(axis=1)
    else:
        shuffled = np.random.default_rng(0).permuted(np.tile(pooled, (_DRAWS, 1)), axis=1)
        sums = shuffled[:, :n].sum(axis=1)
    differences = np.abs((pooled.sum() - sums) / len(after) - sums / n)
    as_large = int((differences >= observed - 1e-12 * max(1.0, observed)).sum())
    return as_large / len(sums) if exact else (as_large + 1) / (_DRAWS + 1)


def welch_p(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p value of Welch's t test: means of two groups of seeds of unequal spread.

    None if a group has fewer than two values, or neither varies by more than rounding.
    """
    if min(len(first), len(second)) < 2 or not (_varies(first) or _varies(second)):
        return None
    from scipy.stats import ttest_ind

    return float(ttest_ind(first, second, equal_var=False).pvalue)


def _varies(values: Sequence[float]) -> bool:
    return bool(np.std(values) > _ROUNDING * np.abs(values).max())
